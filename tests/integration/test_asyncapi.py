"""The bus's document is AsyncAPI, and real events are what it promises."""

import json
from pathlib import Path

import jsonschema
import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from sqlalchemy import Connection, text

from mes.events import asyncapi, incoming, snapshots
from mes.events.incoming import UnreadableEvent
from mes.orders import placing
from tests.callers import SHOP, add_model, new_order
from tests.senders import NOW, event

DOCUMENT = asyncapi.document()


def payload(message: str) -> dict[str, object]:
    found: dict[str, object] = DOCUMENT["components"]["messages"][message]["payload"]
    return found


def test_the_document_is_asyncapi() -> None:
    read = ApplicationSchema.model_validate(DOCUMENT)
    assert set(read.channels) == {"orders", "shop", "crm"}
    for message in DOCUMENT["components"]["messages"].values():
        jsonschema.Draft202012Validator.check_schema(message["payload"])


def test_an_event_of_ours_is_as_promised(conn: Connection) -> None:
    add_model(conn)
    snapshots.tell(conn, [placing.place(conn, SHOP, new_order("S-1")).order_id], "drift")
    told = conn.execute(text("select event from ops.outbox order by telling")).scalars().all()
    assert [each["type"] for each in told] == ["mes.order.submitted.v1", "mes.order.snapshot.v1"]
    for each in told:
        jsonschema.validate(each, payload("orderEvent"))


def test_an_event_that_the_document_allows_is_read_and_one_that_it_does_not_is_a_fault() -> None:
    said = event("1", "MANUFACTURING_APPROVED")
    jsonschema.validate(said, payload("crmEvent"))
    assert incoming.read("crm", json.dumps(said).encode(), now=NOW).fault is None
    wrong = event("1", "MELTED")
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, payload("crmEvent"))
    assert incoming.read("crm", json.dumps(wrong).encode(), now=NOW).fault is not None


@pytest.mark.data
def test_real_cloud_events_and_bodies_of_other_shops_are_told_apart(data_root: Path) -> None:
    """Samples of the specification, and webhooks of shops, none of which is about an order here."""
    files = [path for path in (data_root / "webhooks").rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        for bare in (False, True):
            with pytest.raises(UnreadableEvent):
                incoming.read("shop", path.read_bytes(), now=NOW, bare=bare)

"""The feed of events: all that a caller may see, each once, none skipped."""

from collections.abc import Callable

import httpx
import pytest

from mes.events import outbox
from tests.api_server import Api, new_key, place, problem


@pytest.fixture
def number(api: Api) -> Callable[[], None]:
    def number_all() -> None:
        with api.engine.begin() as conn:
            outbox.number(conn)

    return number_all


def read(client: httpx.Client, after: str | None = None, limit: int = 2) -> tuple[list[dict[str, object]], str]:
    answer = client.get("/v1/events", params={"limit": limit, **({"after": after} if after else {})})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    return said["events"], said["next_after"]


def test_a_caller_reads_all_its_events_page_by_page_and_goes_on_later(
    api: Api, shop: httpx.Client, partner: httpx.Client, crm: httpx.Client, number: Callable[[], None]
) -> None:
    mine = [place(shop, f"S-{n}")["order_id"] for n in range(3)]
    place(partner, "P-1")
    number()
    events, after = read(shop)
    assert [event["subject"] for event in events] == mine[:2]
    more, after = read(shop, after)
    assert [event["subject"] for event in more] == mine[2:]
    assert read(shop, after) == ([], after)
    moved = shop.post(f"/v1/orders/{mine[0]}/transitions", json={"to": "CANCELLED"})
    assert moved.status_code == 200
    number()
    (event,), _ = read(shop, after)
    assert (event["type"], event["sequence"], event["source"]) == ("mes.order.cancelled.v1", "2", "/mes")
    assert len(read(crm, limit=10)[0]) == 5
    assert len(read(partner)[0]) == 1


def test_what_has_no_position_yet_comes_later(shop: httpx.Client, number: Callable[[], None]) -> None:
    place(shop, "S-1")
    events, after = read(shop)
    assert events == []
    number()
    assert len(read(shop, after)[0]) == 1


@pytest.mark.parametrize("cursor", ["", "x", "W10", "eyJhIjogMX0", "WyJzaG9wIiwgLTFd", "WyJzaG9wIiwgInRocmVlIl0"])
def test_a_cursor_that_is_none_is_refused(shop: httpx.Client, cursor: str) -> None:
    problem(shop.get("/v1/events", params={"after": cursor}), 400, "bad_cursor")


def test_a_cursor_belongs_to_its_caller(shop: httpx.Client, crm: httpx.Client, number: Callable[[], None]) -> None:
    place(shop, "S-1")
    number()
    _, after = read(shop)
    problem(crm.get("/v1/events", params={"after": after}), 400, "bad_cursor")


def test_queries_are_read_strictly(shop: httpx.Client, api: Api) -> None:
    problem(shop.get("/v1/events", params={"limit": 0}), 422, "invalid_request")
    problem(shop.get("/v1/events", params={"since": "yesterday"}), 422, "invalid_request")
    problem(api.client(None).get("/v1/events", headers=new_key()), 401, "not_authenticated")

"""Lists of orders are complete, in order, and cost the same however many orders there are."""

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Connection, Engine, text

from mes.callers.model import Caller, Scope
from mes.lists import caller_orders
from mes.lists.caller_orders import Filter, Key
from mes.orders.life import Status
from tests.api_server import Api, place, problem

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
CRM = Caller("crm", Scope.CRM, "sales")
SHOP = Caller("shop", Scope.SHOP, "web shop")
SMALL = Caller("small-rings", Scope.PARTNER, "small")
MANY = 20_000


def test_a_page_follows_the_last_until_there_is_none(
    shop: httpx.Client, partner: httpx.Client, crm: httpx.Client
) -> None:
    expected = [place(client, f"B-{number}")["order_id"] for number in range(5) for client in (shop, partner)]
    for client, wanted in ((crm, expected), (shop, expected[::2]), (partner, expected[1::2])):
        assert list(ids_of_all(client, limit=3)) == wanted
        assert list(ids_of_all(client, limit=5)) == wanted
    assert list(ids_of_all(crm, limit=2, source="shop")) == expected[::2]


def test_filters_can_be_combined(shop: httpx.Client, crm: httpx.Client, partner: httpx.Client) -> None:
    first, second, third = (place(shop, f"B-{number}") for number in range(3))
    place(partner, "B-1")
    crm.post(f"/v1/orders/{first['order_id']}/transitions", json={"to": "CANCELLED"})

    def found(client: httpx.Client, **params: object) -> list[object]:
        answer = client.get("/v1/orders", params=params)  # type: ignore[arg-type]
        assert answer.status_code == 200, answer.text
        return [order["order_id"] for order in answer.json()["orders"]]

    assert found(shop, status="CANCELLED") == [first["order_id"]]
    assert found(shop, status="SUBMITTED") == [second["order_id"], third["order_id"]]
    everything = [second["order_id"], third["order_id"], first["order_id"]]  # it changed last
    assert found(shop, status=["SUBMITTED", "CANCELLED", "SUBMITTED"]) == everything
    assert found(shop, external_id="B-1") == [second["order_id"]]
    assert len(found(crm, external_id="B-1")) == 2
    assert found(crm, external_id="B-1", source="shop") == [second["order_id"]]
    assert found(crm, external_id="B-1", source="shop", status="SHIPPED") == []
    assert found(crm, external_id="B-1", source="shop", status=["SUBMITTED"]) == [second["order_id"]]
    assert found(shop, updated_since=third["updated_at"]) == everything[1:]
    assert found(shop, updated_since="2099-01-01T00:00:00Z") == []
    assert found(crm, source="nobody") == []


def test_an_order_that_changes_while_one_reads_comes_again(shop: httpx.Client) -> None:
    ids = [place(shop, f"B-{number}")["order_id"] for number in range(4)]
    first = shop.get("/v1/orders", params={"limit": 2}).json()
    shop.post(f"/v1/orders/{ids[0]}/transitions", json={"to": "CANCELLED"})
    rest = shop.get("/v1/orders", params={"limit": 9, "cursor": first["next_cursor"]}).json()
    assert [order["order_id"] for order in rest["orders"]] == [ids[2], ids[3], ids[0]]
    assert rest["next_cursor"] is None


def test_a_change_is_not_listed_before_an_earlier_one_that_is_still_being_written(shop: httpx.Client, api: Api) -> None:
    slow, quick = (str(place(shop, f"B-{number}")["order_id"]) for number in range(2))
    since = {"updated_since": shop.get(f"/v1/orders/{quick}").json()["updated_at"]}
    change = text("update ops.orders set changed_at = clock_timestamp() where order_id = :id")
    with api.engine.begin() as conn:
        conn.execute(change, {"id": slow})
        shop.post(f"/v1/orders/{quick}/transitions", json={"to": "CANCELLED"})
        assert shop.get("/v1/orders", params=since).json()["orders"] == []
        assert len(shop.get("/v1/orders").json()["orders"]) == 2
    listed = shop.get("/v1/orders", params=since).json()["orders"]
    assert [order["order_id"] for order in listed] == [slow, quick]


def test_what_cannot_be_asked_is_refused(shop: httpx.Client) -> None:
    for query, parameter in (
        ("colour=red", "colour"),
        ("status=LOST", "status"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=many", "limit"),
        ("limit=1&limit=2", "limit"),
        ("updated_since=2026-01-01", "updated_since"),
        ("updated_since=2026-01-01T00:00:00", "updated_since"),
        ("updated_since=1700000000", "updated_since"),
        ("external_id=%00", "external_id"),
        ("source=%00", "source"),
        ("cursor=" + "a" * 501, "cursor"),
    ):
        said = problem(shop.get(f"/v1/orders?{query}"), 422, "invalid_request")
        assert [fault["parameter"] for fault in said["errors"]] == [parameter], query  # type: ignore[attr-defined]


def test_a_cursor_belongs_to_its_list(shop: httpx.Client, partner: httpx.Client) -> None:
    for number in range(3):
        place(shop, f"B-{number}")
    cursor = shop.get("/v1/orders", params={"limit": 1, "status": "SUBMITTED"}).json()["next_cursor"]
    assert shop.get("/v1/orders", params={"limit": 2, "status": "SUBMITTED", "cursor": cursor}).status_code == 200
    problem(shop.get("/v1/orders", params={"cursor": cursor}), 400, "bad_cursor")
    problem(partner.get("/v1/orders", params={"cursor": cursor, "status": "SUBMITTED"}), 400, "bad_cursor")

    def forged(said: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()

    for garbage in (
        "",
        "x",
        "%00",
        "é",
        "====",
        forged([]),
        forged({}),
        forged(["a", "b", "c"]),
        forged([1, 2, 3]),
        forged(0),
    ):
        problem(shop.get("/v1/orders", params={"cursor": garbage}), 400, "bad_cursor")


@pytest.fixture
def crowded(engine: Engine) -> Iterator[Connection]:
    """20,000 orders of the shop and the CRM, one of a small partner; a minute apart."""
    with engine.begin() as conn:
        conn.execute(
            text("""
                insert into ops.customers (source, external_id) select source, 'C'
                from unnest(array['shop', 'crm', 'small-rings']) as source
            """)
        )
        conn.execute(
            text("""
                insert into ops.orders (source, external_id, customer_id, status, status_since, version, placed_at,
                    changed_at)
                select source, n::text, customer_id,
                    (case when n % 100 = 0 then 'SUBMITTED' else 'CLOSED' end)::ops.order_status, :began, 1, :began,
                    :began + make_interval(mins => n)
                from generate_series(1, :many) as n
                join ops.customers on source = case
                    when n = 7 then 'small-rings' when n % 3 = 0 then 'crm' else 'shop' end
            """),
            {"began": BEGAN, "many": MANY},
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.execute(text("vacuum analyze ops.orders"))
    with engine.begin() as conn:
        yield conn


@pytest.mark.parametrize(
    ("caller", "chosen", "after"),
    [
        (CRM, Filter(), None),
        (CRM, Filter(), Key(BEGAN + timedelta(minutes=MANY // 2), UUID(int=0))),
        (CRM, Filter(statuses=(Status.SUBMITTED,)), None),
        (CRM, Filter(statuses=tuple(Status), updated_since=BEGAN + timedelta(minutes=MANY - 5)), None),
        (CRM, Filter(external_id="777"), None),
        (CRM, Filter(external_id="777", statuses=(Status.CLOSED,), source="crm"), None),
        (SHOP, Filter(), None),
        (SHOP, Filter(statuses=(Status.SHIPPED,)), None),
        (SHOP, Filter(updated_since=BEGAN + timedelta(days=99999)), None),
        (SMALL, Filter(), None),
        (SMALL, Filter(statuses=(Status.SUBMITTED,)), Key(BEGAN, UUID(int=0))),
    ],
)
def test_a_page_reads_no_more_rows_however_many_there_are(
    crowded: Connection, caller: Caller, chosen: Filter, after: Key | None
) -> None:
    source = chosen.source if caller.sees_all else caller.name
    until = BEGAN + timedelta(days=9999) if chosen.updated_since is not None else None
    statement = caller_orders._statement(source, chosen, caller_orders._Window(after, until))
    values: dict[str, object] = {
        "source": source,
        "statuses": [status.value for status in caller_orders._statuses(chosen)],
        "external_id": chosen.external_id,
        "since": chosen.updated_since,
        "until": until,
        "limit": 51,
    }
    if after is not None:
        values |= {"after_at": after.changed_at, "after_id": after.order_id}
    plan = crowded.execute(text(f"explain (analyze, buffers, format json) {statement}"), values).scalar_one()
    shown = json.dumps(plan)
    assert "Seq Scan" not in shown
    buffers = plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"]
    removed = sum(int(rows) for rows in re.findall(r'"Rows Removed by Filter": (\d+)', shown))
    assert buffers < 400, shown
    assert removed < 60, shown


def test_pages_of_a_crowd_are_whole(crowded: Connection) -> None:
    chosen = Filter(statuses=(Status.SUBMITTED,))
    seen: list[str] = []
    after: Key | None = None
    while True:
        page = caller_orders.page(crowded, CRM, chosen, after=after, limit=77)
        seen += [order.external_id for order in page.orders]
        after = page.after
        if after is None:
            break
    assert seen == [str(number) for number in range(100, MANY + 1, 100)]


def ids_of_all(client: httpx.Client, **params: object) -> Iterator[object]:
    """Follow the cursors to the end."""
    cursor: dict[str, object] = {}
    while True:
        page = client.get("/v1/orders", params=params | cursor).json()  # type: ignore[arg-type]
        assert len(page["orders"]) <= int(str(params["limit"]))
        yield from (order["order_id"] for order in page["orders"])
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}

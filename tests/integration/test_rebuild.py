"""All events, applied anew, make the orders as they stand; where they would not, it is said which and how."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from mes import config
from mes.dispatch import claims, desk
from mes.events import rebuild
from mes.orders import placing, placing_many, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.pricing.quotes import order_quotes
from mes.runtime.cli import app
from mes.runtime.location import libpq_url
from tests.callers import SHOP, add_model, new_order
from tests.workshop import Workshop, some_orders

CRM = Actor(System.CRM, "crm")
MES = Actor(System.MES, "Vera")


@pytest.fixture
def shop(marts_engine: Engine) -> Iterator[Connection]:
    """A workshop with a model, rates, an operator and a manager."""
    with marts_engine.begin() as conn:
        add_model(conn)
        for name, role in (("Ada", "operator"), ("Mia", "manager")):
            conn.execute(
                text("insert into ops.users (user_name, role, password_hash) values (:name, :role, '-')"),
                {"name": name, "role": role},
            )
        yield conn


def priced(conn: Connection, number: str) -> UUID:
    order_id = placing.place(conn, SHOP, new_order(number, due_at="2026-12-24T12:00:00Z")).order_id
    order_quotes.quote_items(conn, [order_id])
    return order_id


def test_an_order_is_made_again_from_its_events_alone(shop: Connection) -> None:
    order_id = priced(shop, "S-1")
    service.hold(shop, order_id, MES, "thin wall")
    service.write_note(shop, order_id, MES, "call first")
    service.release(shop, order_id, MES)
    service.transition(shop, order_id, Status.MANUFACTURING_APPROVED, CRM)
    claims.claim(shop, "Ada", order_id)
    claims.give_back(shop, "Ada", order_id)
    desk.assign(shop, "Mia", order_id, "Ada")
    desk.assign(shop, "Mia", order_id, None)
    placing_many.place_many(shop, SHOP, [new_order("S-2", rush=True), new_order("S-3")])
    found = rebuild.compare(shop)
    assert found.differences == []
    assert (found.orders, found.events, found.untold) == (3, 12, {"total": 2})
    made = shop.execute(
        text("select status::text, note, given_back_by, due_at::text, total > 0 from rebuild.orders where note <> ''")
    ).one()
    assert tuple(made) == ("MANUFACTURING_APPROVED", "call first", "Ada", "2026-12-24 12:00:00+00", True)


@pytest.mark.parametrize(
    ("change", "column", "live", "rebuilt"),
    [
        ("update ops.orders set status = 'PACKAGING'", "status", "PACKAGING", "PRICE_CALCULATED"),
        ("update ops.orders set version = 9", "version", "9", "2"),
        ("update ops.orders set hold_reason = 'x', held_since = '2026-11-29'", "hold_reason", "x", None),
        ("update ops.orders set assigned_to = 'Ada'", "assigned_to", "Ada", None),
        ("update ops.orders set due_at = null", "due_at", None, "2026-12-24 12:00:00+00"),
        ("update ops.quotes set total = 1", "total", "1.00", None),
        ("update ops.order_items set quantity = 7", "item 1", None, None),
        ("delete from ops.order_items", "item 1", None, None),
    ],
)
def test_whatever_was_changed_without_an_event_is_named(
    shop: Connection, change: str, column: str, live: str | None, rebuilt: str | None
) -> None:
    order_id = priced(shop, "S-1")
    priced_id = priced(shop, "S-2")
    shop.execute(text(f"{change} where order_id = :id"), {"id": order_id})
    found = rebuild.differences(shop)
    assert {each.order_id for each in found} == {order_id}
    assert priced_id not in {each.order_id for each in found}
    first = next(each for each in found if each.column == column)
    assert (first.source, first.external_id) == ("shop", "S-1")
    if live is not None:
        assert first.live == live
    if rebuilt is not None:
        assert first.rebuilt == rebuilt


def test_a_lost_event_and_an_impossible_one_are_named(shop: Connection) -> None:
    order_id = priced(shop, "S-1")
    service.hold(shop, order_id, MES, "thin wall")
    shop.execute(text("set local session_replication_role = replica"))  # past the trigger that keeps events
    shop.execute(text("delete from ops.order_events where sequence = 2"))
    shop.execute(text("update ops.order_events set type = 'SHIPPED' where sequence = 3"))
    told = {each.column: each.rebuilt for each in rebuild.differences(shop)}
    assert told["events"] == (
        "event 2 is missing before event 3; event 3 moves from SUBMITTED to SHIPPED, which nobody may"
    )
    shop.execute(text("delete from ops.order_events"))
    assert [each.column for each in rebuild.differences(shop)] == ["order"]


def test_the_proof_sees_one_moment_beside_those_who_write(marts_engine: Engine, shop: Connection) -> None:
    order_id = priced(shop, "S-1")
    shop.commit()
    with rebuild.snapshot(marts_engine) as proving:
        assert proving.execute(text("select count(*) from ops.orders")).scalar_one() == 1
        with marts_engine.begin() as conn:
            service.hold(conn, order_id, MES, "while it is proved")
            priced(conn, "S-2")
        found = rebuild.compare(proving)
    assert (found.orders, found.events, found.differences) == (1, 2, [])
    with marts_engine.begin() as conn:
        assert conn.execute(text("select to_regnamespace('rebuild')")).scalar_one() is None
        assert repository.get(conn, order_id).held


def test_real_history_is_proved_and_goes_on_to_be(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    workshop.main(some_orders(data_root / "feeds", tmp_path / "feeds", step=10))
    with rebuild.snapshot(workshop.engine) as conn:
        found = rebuild.compare(conn)
    assert found.orders > 1000
    assert found.differences == []
    assert set(found.untold) == {"due_at", "rush", "paid", "customer", "items", "total"}


def test_the_command_says_what_it_found(
    marts_engine: Engine, marts_database_url: str, shop: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    order_id = priced(shop, "S-1")
    shop.commit()
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(marts_database_url))
    config.load.cache_clear()
    try:
        good = CliRunner().invoke(app, ["events", "rebuild"])
        with marts_engine.begin() as conn:
            conn.execute(text("update ops.orders set note = 'unheard of'"))
        bad = CliRunner().invoke(app, ["events", "rebuild", "--json", "--keep"])
    finally:
        config.load.cache_clear()
    assert (good.exit_code, bad.exit_code) == (0, 1), (good.output, bad.output)
    assert "1 orders made of 2 events; all are as their events make them." in good.output
    said = json.loads(bad.output)
    assert [(each["order_id"], each["column"], each["live"]) for each in said["differences"]] == [
        (str(order_id), "note", "unheard of")
    ]
    with marts_engine.begin() as conn:
        assert conn.execute(text("select count(*) from rebuild.orders")).scalar_one() == 1

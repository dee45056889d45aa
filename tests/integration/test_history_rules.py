"""Imports that come in pieces, late, twice or against each other end as the rules of history say."""

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from mes.feeds import apply as applying
from mes.feeds import land
from mes.feeds.catalogue import SHOP_ORDERS
from mes.feeds.files import FeedFolder
from mes.orders import anomalies, history, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.pricing.quotes import order_quotes
from mes.pricing.rates import rate_cards, rate_store
from tests.workshop import SINCE, Workshop, write_lines

RING = "meshes/jewelry/mit_ringshowcase_ring.stl"
OPERATOR = Actor(System.MES, "Ada")


def _order(number: str = "o1", **changes: Any) -> dict[str, Any]:
    return {
        "external_id": number,
        "placed_at": "2018-03-01T08:00:00Z",
        "due_at": "2018-04-01T00:00:00Z",
        "updated_at": "2018-03-02T08:00:00Z",
        "customer": {"external_id": "c1", "tier": "retail"},
        "currency": "USD",
        "paid": "100.00",
        "rush": False,
        "status": "MANUFACTURING_APPROVED",
        "items": [
            {
                "line": 1,
                "model": RING,
                "longest_side_mm": 20,
                "material": "silver925",
                "finish": "satin",
                "quantity": 1,
            }
        ],
    } | changes


def _fact(kind: str, day: int, number: str = "o1") -> dict[str, Any]:
    order = {"source": "shop", "external_id": number}
    return {"order": order, "type": kind, "occurred_at": f"2018-03-{day:02}T12:00:00Z"}


class Loads:
    """Loads one set of rows after the other, each from a folder of its own."""

    def __init__(self, workshop: Workshop, folder: Path) -> None:
        self.workshop = workshop
        self.folder = folder
        self.count = 0

    def __call__(self, *orders: dict[str, Any], facts: tuple[dict[str, Any], ...] = ()) -> applying.Report:
        self.land(*orders, facts=facts)
        return self.workshop.apply()

    def land(self, *orders: dict[str, Any], facts: tuple[dict[str, Any], ...] = ()) -> None:
        """Land them and measure their models; nothing is applied."""
        self.count += 1
        feeds = self.folder / str(self.count)
        write_lines(feeds / "shop/orders.jsonl", [json.dumps(order) for order in orders])
        write_lines(feeds / "legacy_mes/status_history.jsonl", [json.dumps(fact) for fact in facts])
        self.workshop.load(feeds)
        self.workshop.measure()

    def types(self) -> list[object]:
        """The events of the one order, in sequence; `late` ones in brackets."""
        rows = self.workshop.rows("select type, late from ops.order_events order by order_id, sequence")
        return [f"({kind})" if late else kind for kind, late in rows]

    def anomalies(self) -> set[str]:
        """Kinds of anomalies found."""
        with self.workshop.engine.begin() as conn:
            return set(anomalies.counts(conn))

    def status(self) -> object:
        """Of the one order."""
        ((status,),) = self.workshop.rows("select status::text from ops.orders")
        return status


@pytest.fixture
def loads(workshop: Workshop, tmp_path: Path) -> Loads:
    return Loads(workshop, tmp_path)


def test_rework_that_comes_in_a_later_load_is_told_in_order(loads: Loads) -> None:
    loads(_order())
    loads(
        facts=(
            _fact("MANUFACTURING_STARTED", 3),
            _fact("MANUFACTURING_COMPLETED", 4),
            _fact("MANUFACTURING_STARTED", 5),
            _fact("MANUFACTURING_COMPLETED", 6),
            _fact("PACKAGING", 7),
        )
    )
    assert loads.types()[3:] == [
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "PACKAGING",
    ]
    assert loads.status() == "PACKAGING"


def test_rework_of_an_order_in_production_goes_on_where_it_stands(loads: Loads) -> None:
    loads(_order(), facts=(_fact("MANUFACTURING_STARTED", 3),))
    assert loads.status() == "MANUFACTURING_STARTED"
    loads(
        facts=(
            _fact("MANUFACTURING_COMPLETED", 4),
            _fact("MANUFACTURING_STARTED", 5),
            _fact("MANUFACTURING_COMPLETED", 6),
        )
    )
    assert loads.types()[3:] == [
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
    ]


def test_a_mended_row_of_the_same_order_clears_the_bad_one(loads: Loads) -> None:
    wrong = _order()
    wrong["items"][0]["model"] = "typo.stl"
    assert loads(wrong).quarantined == 1
    report = loads(_order(updated_at="2018-03-03T08:00:00Z"))
    assert (report.applied.orders_new, report.quarantined) == (1, 0)
    assert loads.workshop.rows("select count(*) from ops.quarantine where resolved_at is null") == [(0,)]


def test_another_customer_is_an_edit(loads: Loads) -> None:
    loads(_order())
    loads(_order(customer={"external_id": "c2", "tier": "vip"}, updated_at="2018-03-03T08:00:00Z"))
    ((data,),) = loads.workshop.rows("select data from ops.order_events where type = 'edited'")
    assert data == {"customer": {"from": "c1", "to": "c2"}}
    assert loads.workshop.rows("select version from ops.orders") == [(4,)]


def test_an_older_export_does_not_set_the_customer_back(loads: Loads) -> None:
    loads(_order("new", customer={"external_id": "c1", "tier": "vip"}))
    loads(_order("old", placed_at="2018-01-01T00:00:00Z", updated_at="2018-01-02T00:00:00Z"))
    assert loads.workshop.rows("select tier from ops.customers") == [("vip",)]


def test_of_two_exports_of_the_same_time_the_one_that_came_last_counts(loads: Loads) -> None:
    first, second = _order(paid="100.00"), _order(paid="200.00")
    loads(first)
    loads(second)
    assert loads.workshop.rows("select paid::text from ops.orders") == [("200.00",)]
    loads(first, second)
    assert loads.workshop.rows("select paid::text, version from ops.orders") == [("200.00", 4)]


@pytest.mark.parametrize(
    ("before", "after", "stays"), [("CLOSED", "CANCELLED", "CLOSED"), ("CANCELLED", "SHIPPED", "CANCELLED")]
)
def test_cancelled_and_shipped_by_status_alone_is_a_contradiction(
    loads: Loads, before: str, after: str, stays: str
) -> None:
    loads(_order(status=before))
    loads(_order(status=after, updated_at="2018-03-03T08:00:00Z"))
    assert loads.status() == stays
    assert "cancelled_after_shipping" in loads.anomalies()
    assert "export_behind" not in loads.anomalies()


def test_what_is_inferred_stays_an_anomaly_whatever_a_later_export_says(loads: Loads) -> None:
    loads(_order(status="PACKAGING"))
    before = loads.anomalies()
    assert {"missing_approval", "missing_packing"} <= before
    loads(_order(status="SUBMITTED", updated_at="2018-03-03T08:00:00Z"))
    assert loads.anomalies() == before | {"export_behind"}


def test_an_import_that_moves_a_held_order_is_told_to_a_person(loads: Loads) -> None:
    loads(_order())
    engine = loads.workshop.engine
    with engine.begin() as conn:
        ((order_id,),) = conn.execute(text("select order_id from ops.orders")).all()
        service.hold(conn, order_id, OPERATOR, "stone is cracked")
    loads(_order(status="SHIPPED", updated_at="2018-03-09T08:00:00Z"))
    assert "moved_while_held" in loads.anomalies()
    assert loads.workshop.rows("select held_since from ops.orders") == [(None,)]
    # the order lives here since it was held: what follows is told, each with the status that it led to
    told = loads.workshop.rows("select sequence, event #>> '{data,status}' from ops.outbox order by sequence")
    assert told == [
        (4, "MANUFACTURING_APPROVED"),
        (5, "MANUFACTURING_STARTED"),
        (6, "MANUFACTURING_COMPLETED"),
        (7, "PACKAGING"),
        (8, "SHIPPED"),
    ]


def test_another_time_of_placement_is_told_to_a_person(loads: Loads) -> None:
    loads(_order())
    loads(_order(placed_at="2018-02-01T08:00:00Z", updated_at="2018-03-03T08:00:00Z"))
    assert loads.anomalies() == {"missing_approval", "placed_at_changed"}


def test_rows_that_land_while_others_are_applied_are_applied_later(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load waits; nothing is marked as applied that was not seen."""
    workshop = loads.workshop
    loads(_order("known"))
    write_lines(loads.folder / "late/shop/orders.jsonl", [json.dumps(_order("late"))])
    landed = threading.Event()

    def land_late() -> None:
        folder = FeedFolder(str(loads.folder / "late"))
        months = land.months_in(SHOP_ORDERS, folder, now=workshop.now, since=SINCE)
        with workshop.engine.begin() as conn:
            land.load(conn, SHOP_ORDERS, folder, workshop.store, months, now=workshop.now, since=SINCE)
        landed.set()

    thread = threading.Thread(target=land_late)

    def in_the_middle(conn: Connection) -> int:
        assert len(_held_locks(loads)) == 1
        thread.start()
        assert not landed.wait(0.5)
        return replace(conn)

    replace = anomalies.replace
    monkeypatch.setattr(anomalies, "replace", in_the_middle)
    loads.land(_order("other"))
    applying.apply(workshop.engine, now=workshop.now)
    monkeypatch.undo()
    thread.join(timeout=20)
    assert landed.is_set()
    assert workshop.apply().applied.orders_new == 1


def test_orders_are_the_same_however_many_are_applied_at_once(loads: Loads) -> None:
    orders = [_order(f"o{number}", customer={"external_id": f"c{number % 3}", "tier": "retail"}) for number in range(7)]
    facts = tuple(_fact("MANUFACTURING_STARTED", 4, f"o{number}") for number in range(0, 7, 2))
    loads.land(*orders, facts=facts)
    applied = history.apply(loads.workshop.engine, now=loads.workshop.now, at_once=2)
    assert (applied.orders_new, applied.orders_updated) == (7, 0)
    assert loads.workshop.rows("select count(*), count(distinct customer_id) from ops.orders") == [(7, 3)]
    assert loads.workshop.rows("select count(*) from ops.orders where status = 'MANUFACTURING_STARTED'") == [(4,)]
    nothing = history.apply(loads.workshop.engine, now=loads.workshop.now, at_once=2)
    assert nothing == history.Applied(0, 0, 0, 0)


def test_a_failing_batch_leaves_those_before_it_and_the_next_pass_goes_on(
    loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads.land(*(_order(f"o{number}") for number in range(5)))
    seen = iter(range(9))
    replace = anomalies.replace

    def fail_at_the_second(conn: Connection) -> int:
        if next(seen) == 1:
            raise ZeroDivisionError
        return replace(conn)

    monkeypatch.setattr(anomalies, "replace", fail_at_the_second)
    engine, now = loads.workshop.engine, loads.workshop.now
    with pytest.raises(ZeroDivisionError):
        history.apply(engine, now=now, at_once=2)
    assert _held_locks(loads) == []
    whole = "select count(*), (select count(distinct order_id) from ops.order_items) from ops.orders"
    assert loads.workshop.rows(whole) == [(2, 2)]
    assert history.apply(engine, now=now, at_once=2).orders_new == 3
    assert loads.workshop.rows(whole) == [(5, 5)]


def test_a_changed_urgency_or_tier_is_priced_again(marts_engine: Engine, data_root: Path, tmp_path: Path) -> None:
    loads = Loads(Workshop(marts_engine, tmp_path, data_root), tmp_path)
    loads(_order())
    with marts_engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        order_quotes.quote_items(conn)
    changed = _order(rush=True, customer={"external_id": "c1", "tier": "vip"}, updated_at="2018-03-03T08:00:00Z")
    loads(changed)
    with marts_engine.begin() as conn:
        order_quotes.quote_items(conn)
    assert loads.workshop.rows("""
        select quotes.rush, quotes.tier from ops.order_items join ops.quotes using (quote_id)
    """) == [(True, "vip")]
    assert loads.types()[-2:] == ["edited", "repriced"]


def test_an_export_takes_no_promised_price_away(marts_engine: Engine, data_root: Path, tmp_path: Path) -> None:
    """The caller was quoted as a VIP; the export knows the customer as retail."""
    loads = Loads(Workshop(marts_engine, tmp_path, data_root), tmp_path)
    loads(_order())
    with marts_engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        order_quotes.quote_items(conn)
        conn.execute(text("update ops.quotes set caller = 'shop', tier = 'vip', order_id = null, line = null"))
    loads(_order(updated_at="2018-03-03T08:00:00Z", paid="101.00"))
    assert loads.workshop.rows("select tier from ops.order_items join ops.quotes using (quote_id)") == [("vip",)]


def test_the_lock_of_an_import_is_left_with_it(loads: Loads) -> None:
    loads(_order())
    assert _held_locks(loads) == []


def _held_locks(loads: Loads) -> list[tuple[object, ...]]:
    """Whose the import's lock is; to try to take it would succeed in the session that has it."""
    return loads.workshop.rows(f"""
        select pid from pg_locks join pg_database on pg_database.oid = database
        where locktype = 'advisory' and objid = {history.IMPORT_LOCK} and datname = current_database()
    """)


def test_an_order_goes_on_living_here_after_its_import(loads: Loads) -> None:
    loads(_order())
    with loads.workshop.engine.begin() as conn:
        ((order_id,),) = conn.execute(text("select order_id from ops.orders")).all()
        service.transition(
            conn,
            order_id,
            Status.MANUFACTURING_STARTED,
            OPERATOR,
            clock=lambda: loads.workshop.now - timedelta(hours=1),
        )
    # an older fact and a stale export change nothing about where it stands
    loads(_order(updated_at="2018-03-05T08:00:00Z", paid="120.00"), facts=(_fact("MANUFACTURING_STARTED", 4),))
    assert loads.status() == "MANUFACTURING_STARTED"
    ((sequences,),) = loads.workshop.rows("select array_agg(sequence order by sequence) from ops.outbox")
    ((version,),) = loads.workshop.rows("select version from ops.orders")
    assert sequences == list(range(4, int(str(version)) + 1))


def test_an_import_marks_each_order_once(loads: Loads) -> None:
    loads(_order("o1"), _order("o2"))
    marked = "select external_id, count(*) from ops.dirty_orders join ops.orders using (order_id) group by 1 order by 1"
    assert loads.workshop.rows(marked) == [("o1", 1), ("o2", 1)]
    # a mark that waits already is not this import's
    loads(_order("o1", updated_at="2018-03-03T08:00:00Z", rush=True))
    assert loads.workshop.rows(marked) == [("o1", 2), ("o2", 1)]

"""Where shop or CRM say otherwise than we do, it is named, explained, and mended or handed to a person."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, text

from mes.db import engine as engines
from mes.events import applying, inbox, incoming
from mes.orders import placing, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.reconciliation import drift, explaining, runs
from mes.reconciliation.model import (
    Kind,
    NoSuchDrift,
    NotRepairable,
    Remedy,
    Rules,
    RunUnderWay,
    Scope,
    StatementMissing,
    StatementTooSmall,
    StatementUnusable,
)
from mes.reconciliation.statement import Statement
from tests.callers import SHOP, add_model, new_order
from tests.senders import NOW, event, later
from tests.statements import AT_ONCE, known_there, reconcile, states
from tests.workshop import Workshop, some_orders, write_lines

MES = Actor(System.MES, "Vera")


@pytest.fixture
def shop(engine: Engine) -> Engine:
    with engine.begin() as conn:
        add_model(conn)
    return engine


def place(engine: Engine, *numbers: str) -> list[UUID]:
    with engine.begin() as conn:
        return [placing.place(conn, SHOP, new_order(number)).order_id for number in numbers]


def move(engine: Engine, order_id: UUID, *path: Status) -> None:
    with engine.begin() as conn:
        for to in path:
            service.transition(conn, order_id, to, MES)


def found(engine: Engine, system: str = "shop") -> dict[str, drift.Drift]:
    with engine.begin() as conn:
        return {each.external_id: each for each in drift.listed(conn, system=system)}


def rows(engine: Engine, sql: str) -> list[tuple[Any, ...]]:
    with engine.begin() as conn:
        return [tuple(row) for row in conn.execute(text(sql))]


def there(engine: Engine, *, versions: bool = True) -> dict[str, dict[str, Any]]:
    with engine.begin() as conn:
        return {each["external_id"]: each for each in known_there(conn, versions=versions)}


def tell(conn: Connection, *events: dict[str, Any]) -> None:
    inbox.accept(conn, [incoming.read("crm", json.dumps(each).encode(), now=NOW) for each in events], "test")
    while applying.look(conn).orders:
        pass


def test_who_has_heard_all_does_not_differ(shop: Engine, tmp_path: Path) -> None:
    place(shop, "S-1", "S-2")
    outcome = reconcile(shop, states(tmp_path, *there(shop).values()))
    assert (outcome.stated, outcome.ours, outcome.found, outcome.differing_buckets) == (2, 2, {}, 0)


def test_who_has_missed_an_order_or_an_event_is_told_all_of_it(shop: Engine, tmp_path: Path) -> None:
    one, two, _ = place(shop, "S-1", "S-2", "S-3")
    heard = there(shop)
    move(shop, two, Status.PRICE_CALCULATED)
    del heard["S-1"]
    outcome = reconcile(shop, states(tmp_path, *heard.values()), any_size=True)
    assert (outcome.found, outcome.repaired) == ({"missing_there": 1, "behind_there": 1}, 2)
    told = {row[0]: row[1:] for row in rows(shop, "select order_id, sequence, event from ops.outbox where telling = 1")}
    assert set(told) == {one, two}
    sequence, snapshot = told[two]
    assert (sequence, snapshot["sequence"], snapshot["type"]) == (2, "2", "mes.order.snapshot.v1")
    assert snapshot["id"] == f"{two}/2/snapshot-1"
    assert (snapshot["data"]["status"], snapshot["data"]["version"]) == ("PRICE_CALCULATED", 2)
    details = snapshot["data"]["details"]
    assert (details["customer"]["external_id"], details["items"][0]["material"]) == ("c-1", "silver925")
    assert rows(shop, "select max(version) from ops.orders") == [(2,)]  # no change of the order
    again = reconcile(shop, states(tmp_path, *there(shop).values()))
    assert (again.found, again.closed) == ({}, 2)
    assert found(shop) == {}


def test_a_system_without_versions_is_compared_by_the_life_of_an_order(shop: Engine, tmp_path: Path) -> None:
    ids = dict(zip("ABCDE", place(shop, *"ABCDE"), strict=True))
    for number in "ABE":
        move(shop, ids[number], Status.PRICE_CALCULATED)
    with shop.begin() as conn:
        service.transition(conn, ids["E"], Status.CANCELLED, Actor(System.SHOP, "shop"))
    heard = there(shop, versions=False)
    heard["A"]["status"] = "SUBMITTED"  # behind
    heard["B"]["status"] = "MANUFACTURING_STARTED"  # only we set that
    heard["C"]["status"] = "CANCELLED"  # they set that
    heard["E"]["status"] = "SHIPPED"  # can't both be
    reconcile(shop, states(tmp_path, *heard.values()))
    assert {number: each.kind for number, each in found(shop).items()} == {
        "A": Kind.BEHIND_THERE,
        "B": Kind.AHEAD_THERE,
        "C": Kind.BEHIND_HERE,
        "E": Kind.STATUS_DIFFERS,
    }
    assert found(shop)["B"].explanation == (
        "The shop has this order as MANUFACTURING_STARTED; we have it as PRICE_CALCULATED, which comes later; they do "
        "not set that status."
    )
    assert {each.state for number, each in found(shop).items() if number != "A"} == {"person"}


def test_another_status_at_the_same_version_and_a_later_version_are_for_a_person(shop: Engine, tmp_path: Path) -> None:
    place(shop, "S-1", "S-2")
    heard = there(shop)
    heard["S-1"]["status"] = "PACKAGING"
    heard["S-2"]["version"] = 7
    outcome = reconcile(shop, states(tmp_path, *heard.values()))
    assert (outcome.found, outcome.repaired) == ({"status_differs": 1, "ahead_there": 1}, 0)
    assert "restored from a backup" in found(shop)["S-2"].explanation
    assert rows(shop, "select count(*) from ops.outbox where telling > 0") == [(0,)]


def test_events_that_never_came_are_named_and_asked_for_again(shop: Engine, tmp_path: Path) -> None:
    for order_id in place(shop, "S-1", "S-2", "S-3"):
        move(shop, order_id, Status.PRICE_CALCULATED)
    with shop.begin() as conn:
        tell(conn, event(1, "MANUFACTURING_APPROVED"), event(4, "CLOSED"))
        tell(conn, event(1, "SHIPPED", "S-3"))
    folder = states(tmp_path, system="crm", sent=[("S-1", 4), ("S-2", 2), ("S-3", 1)])
    outcome = reconcile(shop, folder, "crm")
    assert (outcome.found, outcome.repaired) == ({"behind_here": 3}, 1)
    by_number = found(shop, "crm")
    assert by_number["S-1"].explanation == (
        "The CRM has sent 4 events about this order; we have applied 1 of them. Never came: event 2 to 3. 1 later ones "
        "wait for them."
    )
    assert (by_number["S-1"].remedy, by_number["S-2"].remedy) == (Remedy.WAKE, Remedy.PERSON)
    assert "Never came: event 1 to 2. Have them sent again." in by_number["S-2"].explanation
    assert "The next event is parked, since the CRM never sets SHIPPED" in by_number["S-3"].explanation
    with shop.begin() as conn:
        later(conn, 10)
        assert [key.external_id for key in applying.look(conn).gaps] == ["S-1"]  # the bus is asked for what is missing


def test_an_order_that_we_do_not_know_is_explained_by_what_came_of_it(
    workshop: Workshop, data_root: Path, tmp_path: Path
) -> None:
    feeds = some_orders(data_root / "feeds", tmp_path / "feeds", step=600)
    lines = (feeds / "shop/orders.jsonl").read_text().splitlines()
    broken = json.loads(lines[0]) | {"due_at": "soon"}
    write_lines(feeds / "shop/orders.jsonl", [json.dumps(broken), *lines[1:]])
    workshop.main(feeds)
    unheard = {"external_id": "S-unheard", "status": "SUBMITTED", "updated_at": "2026-11-01T00:00:00Z"}
    write_lines(feeds / "shop/orders-2.jsonl", [json.dumps(unheard)])
    reconcile(workshop.engine, feeds, any_size=True)
    told = found(workshop.engine)
    assert {each.kind for each in told.values()} == {Kind.MISSING_HERE}
    assert told["S-unheard"].explanation == (
        "The shop has this order as SUBMITTED; we do not know it. Nothing of it came here: have it sent again, or "
        "exported."
    )
    assert "In quarantine: shop/orders.jsonl, line 1: " in told[broken["external_id"]].explanation


def test_real_exports_do_not_differ_from_what_was_loaded_of_them(
    workshop: Workshop, data_root: Path, tmp_path: Path
) -> None:
    feeds = some_orders(data_root / "feeds", tmp_path / "feeds", step=3)
    workshop.main(feeds)
    for system in ("shop", "crm"):
        outcome = reconcile(workshop.engine, feeds, system)
        assert outcome.stated > 700
        assert (outcome.bad_rows, found(workshop.engine, system)) == (0, {})


def test_what_changed_just_now_may_still_be_under_way(shop: Engine, tmp_path: Path) -> None:
    one, _ = place(shop, "S-1", "S-2")
    folder = states(tmp_path, *there(shop).values())
    move(shop, one, Status.PRICE_CALCULATED)
    patient = Rules(settle=timedelta(minutes=10))
    assert reconcile(shop, folder, rules=patient).found == {}
    with shop.begin() as conn:
        conn.execute(text("update ops.orders set changed_at = changed_at - interval '11 minutes'"))
    assert reconcile(shop, folder, rules=patient).found == {"behind_there": 1}


def test_history_that_nobody_was_told_is_not_missed_there(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    feeds = some_orders(data_root / "feeds", tmp_path / "feeds", step=600)
    workshop.main(feeds)
    lines = [json.loads(line) for line in (feeds / "shop/orders.jsonl").read_text().splitlines()]
    folder = states(tmp_path / "less", *(line | {"status": "SUBMITTED"} for line in lines[:-1]))
    outcome = reconcile(workshop.engine, folder, any_size=True)
    assert outcome.found == {}
    assert outcome.differing_buckets > 0


def test_a_repair_without_effect_ends_with_a_person(shop: Engine, tmp_path: Path) -> None:
    (order_id,) = place(shop, "S-1")
    folder = states(tmp_path, *there(shop).values())
    move(shop, order_id, Status.PRICE_CALCULATED)
    repaired = [reconcile(shop, folder).repaired for _ in range(5)]
    assert repaired == [1, 1, 1, 0, 0]
    assert (found(shop)["S-1"].state, found(shop)["S-1"].repairs) == ("person", 3)
    assert rows(shop, "select sequence, telling from ops.outbox where telling > 0 order by telling") == [
        (2, 1),
        (2, 2),
        (2, 3),
    ]
    with shop.begin() as conn:
        drift.repair(conn, found(shop)["S-1"].drift_id, "Mia")  # a person may try again
    assert rows(shop, "select max(telling) from ops.outbox") == [(4,)]


def test_no_more_is_repaired_at_once_than_is_right(shop: Engine, tmp_path: Path) -> None:
    place(shop, *(f"S-{number}" for number in range(7)))
    few = Rules(settle=timedelta(0), repairs_at_once=3)
    folder = states(tmp_path, {"external_id": "S-0", "status": "SUBMITTED"})
    assert [reconcile(shop, folder, rules=few, any_size=True).repaired for _ in range(2)] == [3, 3]


def test_what_a_person_accepted_is_silent_until_it_changes(shop: Engine, tmp_path: Path) -> None:
    place(shop, "S-1")
    heard = there(shop)
    heard["S-1"]["status"] = "PACKAGING"
    reconcile(shop, states(tmp_path, *heard.values()))
    one = found(shop)["S-1"]
    with shop.begin() as conn:
        with pytest.raises(NotRepairable):
            drift.repair(conn, one.drift_id, "Mia")
        drift.accept(conn, one.drift_id, "Mia", "agreed by telephone")
        with pytest.raises(NoSuchDrift):
            drift.accept(conn, one.drift_id, "Mia", "again")
    reconcile(shop, states(tmp_path, *heard.values()))
    assert found(shop) == {}
    with shop.begin() as conn:
        assert [each.accepted_reason for each in drift.listed(conn, accepted=True)] == ["agreed by telephone"]
    heard["S-1"]["status"] = "SHIPPED"
    reconcile(shop, states(tmp_path, *heard.values()))
    assert found(shop)["S-1"].state == "person"


def test_a_run_of_what_changed_lately_looks_at_no_more(shop: Engine, tmp_path: Path) -> None:
    one, two = place(shop, "S-1", "S-2")
    heard = there(shop)
    assert reconcile(shop, states(tmp_path, *heard.values()), scope=Scope.RECENT).scope is Scope.ALL  # the first run
    move(shop, one, Status.PRICE_CALCULATED)
    move(shop, two, Status.PRICE_CALCULATED)
    with shop.begin() as conn:
        conn.execute(
            text("update ops.orders set changed_at = now() - interval '1 day' where order_id = :id"), {"id": two}
        )
    recent = reconcile(shop, tmp_path, scope=Scope.RECENT)
    assert (recent.ours, recent.found) == (1, {"behind_there": 1})
    assert reconcile(shop, tmp_path).found == {"behind_there": 2}
    # a difference that is open is looked at again, whenever it changed
    assert reconcile(shop, states(tmp_path, *there(shop).values()), scope=Scope.RECENT).closed == 2


def test_the_night_that_was_missed_is_made_up_for(shop: Engine, tmp_path: Path) -> None:
    place(shop, "S-1")
    states(tmp_path, *there(shop).values())
    assert [reconcile(shop, tmp_path, scope=Scope.RECENT).scope for _ in range(2)] == [Scope.ALL, Scope.RECENT]
    with shop.begin() as conn:
        conn.execute(text("update ops.reconciliation_runs set started_at = now() - interval '26 hours'"))
    assert reconcile(shop, tmp_path, scope=Scope.RECENT).scope is Scope.ALL


def test_more_differences_than_one_statement_takes_are_all_kept(
    shop: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift, "_NOTED_AT_ONCE", 3)
    monkeypatch.setattr(explaining, "_EXPLAINED_AT_ONCE", 2)
    unknown = [{"external_id": f"X-{number}", "status": "SUBMITTED"} for number in range(8)]
    assert reconcile(shop, states(tmp_path, *unknown)).found == {"missing_here": 8}
    assert set(found(shop)) == {f"X-{number}" for number in range(8)}


def test_who_has_not_heard_of_rework_is_behind(shop: Engine, tmp_path: Path) -> None:
    (one,) = place(shop, "S-1")
    made = (Status.PRICE_CALCULATED, Status.MANUFACTURING_APPROVED, Status.MANUFACTURING_STARTED)
    with shop.begin() as conn:
        for to in (*made, Status.MANUFACTURING_COMPLETED, Status.MANUFACTURING_STARTED):
            by = Actor(System.CRM, "sales") if to is Status.MANUFACTURING_APPROVED else MES
            service.transition(conn, one, to, by, reason="a stone is loose")
    stated = {"external_id": "S-1", "status": "MANUFACTURING_COMPLETED"}
    assert reconcile(shop, states(tmp_path, stated)).found == {"behind_there": 1}


def _empty(folder: Path) -> None:
    write_lines(folder / "shop/orders.jsonl", [])


def _half(folder: Path) -> None:
    path = folder / "shop/orders.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _gone(folder: Path) -> None:
    (folder / "shop/orders.jsonl").unlink()


def _no_rows(folder: Path) -> None:
    (folder / "shop/orders.jsonl").write_bytes(b"\x89PNG\r\n" + b"\0\xff" * 100)


def _no_parquet(folder: Path) -> None:
    (folder / "shop/orders.parquet").write_bytes(b"PAR1 and no more")


def _wide(folder: Path) -> None:
    header = "external_id,status,updated_at," + ",".join(f"c{number}" for number in range(1_000_000))
    (folder / "shop/orders.csv").write_text(header + "\nS-1,SHIPPED,\n")
    (folder / "shop/orders.jsonl").unlink()


@pytest.mark.parametrize(
    ("harm", "error"),
    [
        (_empty, StatementTooSmall),
        (_half, StatementTooSmall),
        (_gone, StatementMissing),
        (_no_rows, StatementUnusable),
        (_no_parquet, StatementUnusable),
        (_wide, (StatementUnusable, StatementTooSmall)),
    ],
)
def test_a_statement_that_is_none_repairs_nothing(
    shop: Engine, tmp_path: Path, harm: Callable[[Path], None], error: type[Exception]
) -> None:
    place(shop, *(f"S-{number}" for number in range(20)))
    states(tmp_path, *there(shop).values())
    for first in (True, False):
        if not first:  # also where an earlier run has been well
            states(tmp_path, *there(shop).values())
            for path in (tmp_path / "shop").glob("orders.[cp]*"):
                path.unlink()
            reconcile(shop, tmp_path)
        harm(tmp_path)
        with pytest.raises(error):
            reconcile(shop, tmp_path)
        state, told = rows(shop, "select state, error from ops.reconciliation_runs order by run_id desc limit 1")[0]
        assert (state, bool(told)) == ("failed", True)
        assert found(shop) == {}
    assert rows(shop, "select count(*) from ops.outbox where telling > 0") == [(0,)]


def test_bad_rows_are_told_and_the_others_count(shop: Engine, tmp_path: Path) -> None:
    place(shop, *(f"S-{number:02}" for number in range(20)))
    good = [json.dumps(order) for order in there(shop).values()]
    bad = [
        '{"external_id": "S-20", "status": "SOLD"}',
        '{"external_id": "S-20", "status": "SHIPPED", "version": -1}',
        '{"external_id": "S-20", "status": "SHIPPED", "updated_at": "yesterday"}',
        '{"external_id": "", "status": "SHIPPED"}',
        '{"status": "SHIPPED"}',
        '{"external_id": "S-\\u0000", "status": "SHIPPED"}',
        '{"external_id": {"no": "text"}}',
        '{"external_id": "S-20", "version": 99999999999999999999}',
        "not json",
    ]
    write_lines(tmp_path / "shop/orders.jsonl", [*good, *bad])
    outcome = reconcile(shop, tmp_path)
    assert (outcome.stated, outcome.bad_rows, outcome.found) == (20, len(bad), {})
    assert any("`status` must be one of" in fault for fault in outcome.first_faults)


def test_of_an_order_whose_row_is_bad_nobody_knows_what_is_stated(shop: Engine, tmp_path: Path) -> None:
    place(shop, *(f"S-{number:02}" for number in range(20)))
    heard = there(shop)
    lines = [json.dumps(order) for order in heard.values()]
    lines[3] = '{"external_id": "S-03", "status": "ON_HOLD"}'  # the shop has it, whatever that means
    lines += ['{"external_id": "S-04", "status": "SOLD", "version": 7, "updated_at": "2026-11-29T11:00:00Z"}']
    write_lines(tmp_path / "shop/orders.jsonl", lines)
    outcome = reconcile(shop, tmp_path)
    assert (outcome.bad_rows, outcome.found, outcome.repaired) == (2, {}, 0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_tables_state_the_same_as_lines(shop: Engine, tmp_path: Path, suffix: str) -> None:
    one, _ = place(shop, "S-1", "S-2")
    frame = pl.DataFrame(list(there(shop).values())).drop("source")
    (tmp_path / "shop").mkdir()
    path = tmp_path / f"shop/orders-2026.{suffix}"
    frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    assert reconcile(shop, tmp_path).found == {}
    move(shop, one, Status.PRICE_CALCULATED)
    assert reconcile(shop, tmp_path).found == {"behind_there": 1}


class _Slow:
    """A statement that takes long, or never comes."""

    def __init__(self, statement: Callable[[], Statement]) -> None:
        self._statement = statement

    def read(self, *_: object) -> Statement:
        return self._statement()


def test_two_runs_at_once_are_one(shop: Engine, tmp_path: Path) -> None:
    place(shop, "S-1")
    states(tmp_path, *there(shop).values())
    reading, go_on = threading.Event(), threading.Event()

    def slowly() -> Statement:
        reading.set()
        assert go_on.wait(30)
        raise StatementMissing

    def first() -> None:
        with pytest.raises(StatementMissing):
            runs.run(shop, _Slow(slowly), "shop", Scope.ALL, rules=AT_ONCE)

    running = threading.Thread(target=first)
    running.start()
    assert reading.wait(30)
    try:
        with pytest.raises(RunUnderWay):
            reconcile(shop, tmp_path)
        with pytest.raises(StatementMissing):
            reconcile(shop, tmp_path, "crm")  # the other system's turn is another one
    finally:
        go_on.set()
        running.join()
    assert reconcile(shop, tmp_path).found == {}


def test_a_run_that_was_cut_short_leaves_nothing_half_done(shop: Engine, database_url: str, tmp_path: Path) -> None:
    (order_id,) = place(shop, "S-1")
    folder = states(tmp_path, *there(shop).values())
    move(shop, order_id, Status.PRICE_CALCULATED)
    doomed = engines.connect(database_url, application="doomed", ping=False)
    kill = text("""
        select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'doomed' and datname = current_database()
    """)

    def dying() -> Statement:
        with shop.begin() as conn:
            conn.execute(kill)
        raise KeyboardInterrupt

    with pytest.raises(Exception, match=r".*"), pytest.raises(KeyboardInterrupt):
        runs.run(doomed, _Slow(dying), "shop", Scope.ALL, rules=AT_ONCE)
    doomed.dispose()
    with shop.begin() as conn:  # as one that is killed leaves it
        conn.execute(text("update ops.reconciliation_runs set state = 'running', finished_at = null, error = null"))
    assert (found(shop), rows(shop, "select count(*) from ops.outbox where telling > 0")) == ({}, [(0,)])
    assert reconcile(shop, folder).repaired == 1
    assert rows(shop, "select state, error from ops.reconciliation_runs order by run_id") == [
        ("failed", "It was cut short."),
        ("done", None),
    ]

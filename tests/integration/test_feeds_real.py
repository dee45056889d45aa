"""The real feeds land completely, and end where their senders say that they end."""

import io
import json
from collections import Counter
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from mes.feeds.catalogue import CRM_ORDER_EVENTS, FEEDS, LEGACY_STATUS_HISTORY, SHOP_ORDERS
from mes.orders import anomalies
from tests.feeds_dirt import to_csv, to_parquet
from tests.workshop import Workshop, some_orders, write_lines

# counted in the files themselves, and by hand where they contradict each other
STATUSES = {"CLOSED": 9718, "CANCELLED": 113, "SHIPPED": 106, "MANUFACTURING_APPROVED": 60, "SUBMITTED": 2}
ANOMALIES = {
    "shipped_before_approved": 146,
    "closed_before_shipped": 2,
    "shipped_before_placed": 18,
    "cancelled_after_shipping": 9,
    "missing_closing": 1,
    "missing_approval": 1,
    "missing_hand_over": 1,
}


def test_all_orders_end_in_their_declared_status_with_their_anomalies(workshop: Workshop, data_root: Path) -> None:
    landed = workshop.load(data_root / "feeds")
    assert {name: load.rows for name, load in landed.items()} == {
        "shop_orders": 7711,
        "crm_orders": 2288,
        "crm_order_events": 19810,
        "legacy_status_history": 38887,
    }
    report = workshop.apply()
    assert report.applied.orders_new == 9999
    assert (report.quarantined, report.waiting) == (0, 0)
    assert workshop.statuses() == STATUSES
    with workshop.engine.begin() as conn:
        assert anomalies.counts(conn) == ANOMALIES

    # versions count events without gaps, and history is not told
    assert (
        workshop.rows("""
        select orders.order_id from ops.orders
        join lateral (
            select count(*) as events, min(sequence) as first, max(sequence) as last
            from ops.order_events where order_events.order_id = orders.order_id
        ) as counted on true
        where (version, 1, version) is distinct from (events, first, last)
    """)
        == []
    )
    assert workshop.rows("select count(*) from ops.outbox") == [(0,)]
    assert workshop.rows("select count(*) from ops.orders where live_from is not null") == [(0,)]

    # the first order of the CRM's events, with the times as they stand in the files
    told = workshop.rows("""
        select type, to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), system, inferred
        from ops.order_events join ops.orders using (order_id)
        where external_id = 'cd3b8574c82b42fc8129f6d502690c3e' order by sequence
    """)
    assert [row[0] for row in told][:4] == [
        "SUBMITTED",
        "PRICE_CALCULATED",
        "MANUFACTURING_APPROVED",
        "MANUFACTURING_STARTED",
    ]
    assert told[1][3] is True
    assert told[2] == ("MANUFACTURING_APPROVED", "2016-10-04 10:19", "crm", False)
    assert told[3] == ("MANUFACTURING_STARTED", "2016-10-05 05:34", "mes", False)

    # loading again changes nothing
    before = workshop.content()
    landed = workshop.load(data_root / "feeds")
    assert all(load.new == 0 and load.changed == 0 for load in landed.values())
    report = workshop.apply()
    assert (report.applied.orders_new, report.applied.orders_updated, report.applied.events) == (0, 0, 0)
    assert workshop.content() == before


def _declared(feeds: Path) -> dict[str, int]:
    lines = [line for source in ("shop", "crm") for line in (feeds / source / "orders.jsonl").read_text().splitlines()]
    return dict(Counter(json.loads(line)["status"] for line in lines))


def test_month_by_month_ends_where_the_exports_say(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    """Facts that come with a later month take the next versions, marked late, and move no status back."""
    feeds = some_orders(data_root / "feeds", tmp_path / "feeds", step=60)
    for month in range(9, 9 + 26):
        workshop.load(feeds, months={date(2016 + (month - 1) // 12, (month - 1) % 12 + 1, 1)})
        workshop.apply()
    assert workshop.statuses() == _declared(feeds)
    ((late,),) = workshop.rows("select count(*) from ops.order_events where late")
    assert late > 0
    assert workshop.rows("""
        select count(*) from ops.orders
        where version <> (select count(*) from ops.order_events where order_events.order_id = orders.order_id)
    """) == [(0,)]


def test_facts_before_orders_wait_for_them(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    feeds = some_orders(data_root / "feeds", tmp_path / "feeds", step=20)
    landed = workshop.load(feeds, only=[CRM_ORDER_EVENTS, LEGACY_STATUS_HISTORY])
    report = workshop.apply()
    assert (report.applied.orders_new, report.waiting) == (0, sum(load.rows for load in landed.values()))
    kept = workshop.rows("select kind, count(*) from ops.quarantine where resolved_at is null group by kind")
    assert kept == [("order_unknown", report.waiting)]
    workshop.load(feeds)
    assert workshop.apply().waiting == 0
    assert workshop.rows("select count(*) from ops.quarantine where resolved_at is null") == [(0,)]
    assert workshop.statuses() == _declared(feeds)


@pytest.mark.parametrize("form", ["csv", "parquet", "parquet with native times"])
def test_csv_and_parquet_say_the_same_as_json_lines(
    workshop: Workshop, data_root: Path, tmp_path: Path, form: str
) -> None:
    lines = some_orders(data_root / "feeds", tmp_path / "lines", step=10)
    if form == "csv":
        to_csv(lines, tmp_path / "feeds")
    else:
        to_parquet(lines, tmp_path / "feeds", native_times=form.endswith("times"))
    workshop.main(tmp_path / "feeds")
    assert workshop.statuses() == _declared(lines)
    assert workshop.rows("select count(*) from ops.quarantine") == [(0,)]
    # the same rows as JSON lines are the same rows
    landed = workshop.load(lines)
    assert {name: load.new for name, load in landed.items()} == {feed.name: 0 for feed in FEEDS}


def test_each_month_is_kept_as_parquet(workshop: Workshop, data_root: Path) -> None:
    landed = workshop.load(data_root / "feeds", only=[SHOP_ORDERS])
    months = landed["shop_orders"].months
    assert sum(months.values()) == 7711
    kept = pl.read_parquet(io.BytesIO(workshop.store.get("raw/shop_orders/2017-05.parquet")))
    assert kept.height == months["2017-05-01"]
    assert json.loads(kept["raw"][0])["external_id"] == kept["external_id"][0]


def test_a_load_is_profiled(workshop: Workshop, data_root: Path) -> None:
    landed = workshop.load(data_root / "feeds", only=[SHOP_ORDERS])["shop_orders"]
    profile = {entry["column"]: entry for entry in landed.profile}
    assert profile["customer_name"]["nulls_percent"] == "100.00"
    assert profile["placed_at"]["min"].startswith("2016-09-04 21:15:00")


def _order(data_root: Path, **changes: object) -> dict[str, object]:
    with (data_root / "feeds/shop/orders.jsonl").open() as lines:
        first = json.loads(next(line for line in lines if "MANUFACTURING_APPROVED" in line))
    return first | changes


def test_a_later_export_updates_the_order(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = _order(data_root)
    write_lines(tmp_path / "a/shop/orders.jsonl", [json.dumps(order)])
    workshop.main(tmp_path / "a")
    later = order | {"due_at": "2018-12-24T00:00:00Z", "updated_at": "2018-11-01T00:00:00Z", "rush": True}
    write_lines(tmp_path / "b/shop/orders.jsonl", [json.dumps(later)])
    report = workshop.main(tmp_path / "b")
    assert (report.applied.orders_new, report.applied.orders_updated, report.applied.events) == (0, 1, 1)
    ((due, rush, version),) = workshop.rows("select due_at::date::text, rush, version from ops.orders")
    assert (due, rush, version) == ("2018-12-24", True, 4)
    ((data,),) = workshop.rows("select data from ops.order_events where type = 'edited'")
    assert set(data) == {"due_at", "rush"}
    # an older export that comes late changes nothing
    stale = order | {"due_at": "2017-01-01T00:00:00Z", "placed_at": "2016-10-01T00:00:00Z"}
    stale["updated_at"] = "2016-10-02T00:00:00Z"
    write_lines(tmp_path / "c/shop/orders.jsonl", [json.dumps(stale)])
    report = workshop.main(tmp_path / "c")
    assert (report.applied.orders_updated, report.applied.events) == (0, 0)


def test_a_later_export_moves_the_order_on_and_never_back(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = _order(data_root)
    for number, (status, updated_at) in enumerate(
        [
            ("SUBMITTED", "2018-11-01T00:00:00Z"),
            ("MANUFACTURING_STARTED", "2018-11-02T00:00:00Z"),
            ("MANUFACTURING_APPROVED", "2018-11-03T00:00:00Z"),
        ]
    ):
        changed = order | {"status": status, "updated_at": updated_at}
        write_lines(tmp_path / f"{number}/shop/orders.jsonl", [json.dumps(changed)])
        workshop.main(tmp_path / str(number))
    assert workshop.rows("select status::text from ops.orders") == [("MANUFACTURING_STARTED",)]
    with workshop.engine.begin() as conn:
        assert "export_behind" in anomalies.counts(conn)
    moves = workshop.rows("select type, inferred from ops.order_events order by sequence")
    assert moves == [
        ("SUBMITTED", False),
        ("PRICE_CALCULATED", True),
        ("MANUFACTURING_APPROVED", True),
        ("MANUFACTURING_STARTED", True),
    ]


def _event(order: dict[str, object], sequence: int, kind: str, occurred_at: str) -> str:
    return json.dumps(
        {
            "event_id": f"e{sequence}-{kind}",
            "order": {"source": "shop", "external_id": order["external_id"]},
            "sequence": sequence,
            "type": kind,
            "occurred_at": occurred_at,
        }
    )


def test_a_fact_newer_than_the_export_moves_the_order_on(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = _order(data_root, status="SUBMITTED", updated_at="2018-11-01T00:00:00Z")
    write_lines(tmp_path / "a/shop/orders.jsonl", [json.dumps(order)])
    workshop.main(tmp_path / "a")
    write_lines(
        tmp_path / "b/crm/order_events.jsonl", [_event(order, 1, "MANUFACTURING_APPROVED", "2018-11-05T00:00:00Z")]
    )
    workshop.main(tmp_path / "b")
    assert workshop.rows("select status::text, version from ops.orders") == [("MANUFACTURING_APPROVED", 3)]


def test_a_fact_that_comes_after_the_order_moved_on_is_late(
    workshop: Workshop, data_root: Path, tmp_path: Path
) -> None:
    order = _order(data_root, status="SHIPPED", updated_at="2018-11-10T00:00:00Z")
    write_lines(tmp_path / "a/shop/orders.jsonl", [json.dumps(order)])
    workshop.main(tmp_path / "a")
    ((version,),) = workshop.rows("select version from ops.orders")
    write_lines(
        tmp_path / "b/crm/order_events.jsonl", [_event(order, 1, "MANUFACTURING_APPROVED", "2018-11-05T00:00:00Z")]
    )
    workshop.main(tmp_path / "b")
    assert workshop.rows("select status::text, version from ops.orders") == [("SHIPPED", version + 1)]
    assert workshop.rows("select type, late, inferred from ops.order_events where sequence > :v", v=version) == [
        ("MANUFACTURING_APPROVED", True, False)
    ]


def test_an_id_that_stands_for_two_events_is_refused(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = _order(data_root)
    first = _event(order, 1, "MANUFACTURING_APPROVED", "2018-11-05T00:00:00Z")
    second = first.replace("2018-11-05", "2018-11-06")
    write_lines(tmp_path / "a/crm/order_events.jsonl", [first, second])
    landed = workshop.load(tmp_path / "a")["crm_order_events"]
    assert (landed.new, landed.quarantined) == (1, 1)
    assert workshop.rows("select kind, line from ops.quarantine") == [("event_id_reused", 2)]


def test_rework_in_history_is_told_in_order(workshop: Workshop, data_root: Path, tmp_path: Path) -> None:
    order = _order(data_root, status="SHIPPED", updated_at="2018-11-20T00:00:00Z")
    key = {"source": "shop", "external_id": order["external_id"]}
    facts = [
        ("MANUFACTURING_STARTED", "2018-11-11T00:00:00Z"),
        ("MANUFACTURING_COMPLETED", "2018-11-12T00:00:00Z"),
        ("MANUFACTURING_STARTED", "2018-11-13T00:00:00Z"),
        ("MANUFACTURING_COMPLETED", "2018-11-14T00:00:00Z"),
        ("SHIPPED", "2018-11-15T00:00:00Z"),
    ]
    write_lines(tmp_path / "a/shop/orders.jsonl", [json.dumps(order)])
    write_lines(
        tmp_path / "a/legacy_mes/status_history.jsonl",
        [json.dumps({"order": key, "type": kind, "occurred_at": at}) for kind, at in facts],
    )
    workshop.main(tmp_path / "a")
    moves = [row[0] for row in workshop.rows("select type from ops.order_events order by sequence")]
    assert moves == [
        "SUBMITTED",
        "PRICE_CALCULATED",
        "MANUFACTURING_APPROVED",
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "MANUFACTURING_STARTED",
        "MANUFACTURING_COMPLETED",
        "PACKAGING",
        "SHIPPED",
    ]

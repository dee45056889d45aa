"""Loads that look wrong as a whole are stopped before anything is made of them; sound ones pass."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from assets.expectations.batches import Scope
from assets.expectations.suites import ENOUGH_ROWS, SUITES, suite
from assets.expectations.validation import MOST_EXAMPLES, Verdict, validate
from mes.feeds.catalogue import CRM_ORDER_EVENTS, FEEDS, LEGACY_STATUS_HISTORY, SHOP_ORDERS, Feed
from mes.runtime.location import libpq_url
from mes.samples import shop
from tests.conftest import REPOSITORY
from tests.workshop import SINCE, Workshop, write_lines

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLACED = datetime(2026, 9, 1, 8, tzinfo=UTC)

ORDERS = """
insert into raw.shop_orders (external_id, row_hash, placed_at, due_at, updated_at, customer_external_id, customer_name,
    tier, currency, paid, rush, status, items, month, file, line)
select 'S-' || n, 'first', placed_at, placed_at + interval '30 days', placed_at + interval '1 day', 'c' || n,
    'Ada ' || n, 'retail', 'USD', 120, false, 'SUBMITTED',
    jsonb_build_array(jsonb_build_object('line', 1, 'model', n % 7 || '.stl')),
    '2026-09-01', 'shop/orders.jsonl', n
from generate_series(1, 100) as n
cross join lateral (select timestamptz '2026-09-01 08:00Z' + n * interval '1 minute' as placed_at) as times
"""
CRM_EVENTS = """
insert into raw.crm_order_events (event_id, source, external_id, sequence, type, occurred_at, month, file, line)
select n || '-' || sequence, 'shop', 'S-' || n, sequence,
    (case sequence when 1 then 'MANUFACTURING_APPROVED' else 'CLOSED' end)::ops.order_status,
    timestamptz '2026-09-01 08:00Z' + n * interval '1 minute' + sequence * interval '1 day',
    '2026-09-01', 'crm/order_events.jsonl', 2 * n + sequence
from generate_series(1, 50) as n cross join generate_series(1, 2) as sequence
"""
HISTORY = """
insert into raw.legacy_status_history (source, external_id, type, occurred_at, month, file, line)
select 'shop', 'S-' || n, type::ops.order_status,
    timestamptz '2026-09-01 08:00Z' + n * interval '1 minute' + step * interval '1 day',
    '2026-09-01', 'legacy_mes/status_history.jsonl', 2 * n + step
from generate_series(1, 50) as n
cross join (values (1, 'MANUFACTURING_STARTED'), (2, 'MANUFACTURING_COMPLETED')) as steps (step, type)
"""


def verdict(url: str, feed: Feed, months: tuple[date, date] | None = None, *, reported: int | None = None) -> Verdict:
    scope = Scope(months, SINCE, NOW)
    return validate(libpq_url(url), suite(feed), scope, reported=reported)


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(libpq_url(url), autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement.encode())


def failed(found: Verdict) -> dict[str, bool]:
    """What does not hold, and whether it blocks."""
    return {failure.expectation.words: failure.blocks for failure in found.failures}


def test_real_feeds_are_sound_and_only_what_was_loaded_is_looked_at(workshop: Workshop, data_root: Path) -> None:
    url = workshop.engine.url.render_as_string(hide_password=False)
    landed = workshop.load(data_root / "feeds")
    for each in SUITES:
        assert verdict(url, each.feed) == Verdict(landed[each.feed.name].rows)
    for feed in FEEDS:
        execute(url, f"update {feed.table} set applied_at = now()")
    may = date(2017, 5, 1)
    for each in SUITES:
        assert verdict(url, each.feed, (may, may)) == Verdict(landed[each.feed.name].months["2017-05-01"])


def test_the_generated_shop_is_sound(engine: Engine, database_url: str, tmp_path: Path) -> None:
    shop.generate(tmp_path / "shop", seed=7, orders=400, now=NOW)
    landed = Workshop(engine, tmp_path, tmp_path, now=NOW).load(tmp_path / "shop/feeds")
    assert all(load.rows > ENOUGH_ROWS for load in landed.values())
    assert {each.feed.name: failed(verdict(database_url, each.feed)) for each in SUITES} == {
        feed.name: {} for feed in FEEDS
    }


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
def test_a_workshop_without_a_feed_is_sound_unless_its_rows_vanished(database_url: str, feed: Feed) -> None:
    assert verdict(database_url, feed, (date(2026, 9, 1), date(2026, 9, 1)), reported=0) == Verdict(0)
    vanished = verdict(database_url, feed, (date(2026, 9, 1), date(2026, 9, 1)), reported=12)
    assert failed(vanished) == {"What the load reported is in the table.": True}


@pytest.mark.parametrize(
    ("feed", "spoil", "words", "blocks"),
    [
        (SHOP_ORDERS, "update raw.shop_orders set due_at = null", "At least half of the orders have a due date.", True),
        (SHOP_ORDERS, "update raw.shop_orders set status = 'CANCELLED' where line > 40", "At most half of the", True),
        (SHOP_ORDERS, "update raw.shop_orders set updated_at = '2026-08-01Z' where line > 90", "An order is upd", True),
        (SHOP_ORDERS, "update raw.shop_orders set tier = 'gold' where line = 3", "Tiers are those", True),
        (SHOP_ORDERS, "update raw.shop_orders set currency = 'EUR' where line = 3", "Amounts are in USD", True),
        (SHOP_ORDERS, "update raw.shop_orders set items = '[]' where line = 3", "Every order has between", True),
        (SHOP_ORDERS, "update raw.shop_orders set updated_at = '2027-01-01Z' where line = 3", "All times lie", True),
        (SHOP_ORDERS, "update raw.shop_orders set month = '2026-08-01' where line = 3", "Every row stands", True),
        (SHOP_ORDERS, "update raw.shop_orders set paid = null", "At least half of the orders say", False),
        (SHOP_ORDERS, "update raw.shop_orders set paid = paid * 1000", "The median of what was paid", False),
        (SHOP_ORDERS, "update raw.shop_orders set due_at = placed_at", "Half of the orders are promised", False),
        (SHOP_ORDERS, """update raw.shop_orders set items = '[{"line": 1, "model": "x"}]'""", "The orders name", False),
        (SHOP_ORDERS, "update raw.shop_orders set external_id = 's-4 ' where line = 3", "No two orders differ", False),
        (SHOP_ORDERS, ORDERS.replace("'first'", "'second'"), "Two exports of an order tell", False),
        (SHOP_ORDERS, "update raw.shop_orders set placed_at = '2026-09-01Z'", "At least a tenth of the rows", False),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set sequence = 1", "No two events of an order", True),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set sequence = sequence + 1", "Each event's pred", False),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set sequence = 3 - sequence", "Times grow with", True),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set sequence = 0 where line = 3", "Sequences count", True),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set type = 'SHIPPED' where line > 90", "The CRM tells", True),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set type = 'CANCELLED'", "At most half of the rows", True),
        (CRM_ORDER_EVENTS, "update raw.crm_order_events set source = 'fair' where line = 3", "Events are about", True),
        (LEGACY_STATUS_HISTORY, "update raw.legacy_status_history set type = 'CLOSED'", "The old system tells", True),
        (
            LEGACY_STATUS_HISTORY,
            "update raw.legacy_status_history set type = 'SHIPPED' where type = 'MANUFACTURING_STARTED'",
            "Steps follow each other",
            True,
        ),
    ],
)
def test_each_expectation_is_broken_by_the_fault_that_it_is_for(
    database_url: str, feed: Feed, spoil: str, words: str, blocks: bool
) -> None:
    execute(database_url, ORDERS, CRM_EVENTS, HISTORY)
    assert verdict(database_url, feed) == Verdict(100)
    execute(database_url, spoil)
    found = failed(verdict(database_url, feed))
    assert [told for told in found if told.startswith(words)], found
    assert {blocking for told, blocking in found.items() if told.startswith(words)} == {blocks}


def test_shares_of_a_few_rows_warn_and_single_faults_block(database_url: str) -> None:
    execute(database_url, ORDERS, f"delete from raw.shop_orders where line >= {ENOUGH_ROWS}")
    execute(database_url, "update raw.shop_orders set due_at = null")
    few = verdict(database_url, SHOP_ORDERS)
    assert not few.blocks
    assert failed(few)["At least half of the orders have a due date."] is False
    execute(
        database_url,
        "update raw.shop_orders set due_at = placed_at + '1 day', tier = case line when 3 then 'gold' else tier end",
    )
    one = verdict(database_url, SHOP_ORDERS)
    assert one.blocks
    assert len(one.failures) == 1
    assert one.failures[0].found == "1 of 49 rows differ"
    assert one.failures[0].examples == ("shop/orders.jsonl:3: external_id S-3, tier gold",)


def test_examples_are_few_and_name_no_customer(database_url: str) -> None:
    execute(
        database_url, ORDERS, "update raw.shop_orders set tier = 'gold', currency = 'EUR', due_at = null, items = '[]'"
    )
    found = verdict(database_url, SHOP_ORDERS)
    assert {len(failure.examples) for failure in found.failures} <= set(range(MOST_EXAMPLES + 1))
    assert max(len(failure.examples) for failure in found.failures) == MOST_EXAMPLES
    assert "Ada" not in str(found)


def test_a_corrected_export_mends_the_load_and_one_that_waits_is_looked_at_by_every_run(database_url: str) -> None:
    execute(database_url, ORDERS, "update raw.shop_orders set due_at = null")
    other = (date(2026, 11, 1), date(2026, 11, 1))
    assert verdict(database_url, SHOP_ORDERS, other).blocks  # not applied yet: the next step would take it
    execute(database_url, ORDERS.replace("'first'", "'second'").replace("'1 day'", "'2 days'"))
    assert verdict(database_url, SHOP_ORDERS, other) == Verdict(200)
    execute(database_url, "update raw.shop_orders set applied_at = now()")
    assert verdict(database_url, SHOP_ORDERS, other) == Verdict(0)


def test_nothing_is_made_of_a_load_that_is_not_sound(marts_database_url: str, tmp_path: Path) -> None:
    feeds = tmp_path / "feeds"
    write_lines(feeds / "shop/orders.jsonl", [_row(number) for number in range(2 * ENOUGH_ROWS)])
    done = _main_job(marts_database_url, feeds, tmp_path)
    assert done.returncode == 1
    told = [json.loads(line) for line in done.stdout.splitlines()]
    steps = {record["step"]: record for record in told if "step" in record}
    assert steps["raw__shop_orders"]["state"] == "done"
    stopped = steps["raw__shop_orders_load_is_sound"]
    assert stopped["state"] == "failed"
    assert "Expected: At least half of the orders have a due date. Found: 0." in stopped["why"]
    assert "whether the column was renamed" in stopped["why"]
    assert {"raw__crm_orders", "ops__rate_cards"} < steps.keys()  # what does not stand on the feed is made
    assert not {"ops__geometries", "apply_feeds", "pricing_inputs", "ops__quotes", "read_models"} & steps.keys()
    with psycopg.connect(libpq_url(marts_database_url)) as conn:
        counts = conn.execute("select (select count(*) from raw.shop_orders), (select count(*) from ops.orders)")
        assert counts.fetchone() == (2 * ENOUGH_ROWS, 0)


def _row(number: int) -> str:
    placed = PLACED + timedelta(minutes=number)
    item = {"line": 1, "model": f"{number % 3}.stl", "material": "gold585", "finish": "polished", "quantity": 1}
    order = {
        "external_id": f"S-{number}",
        "placed_at": placed.isoformat(),
        "updated_at": placed.isoformat(),
        "customer": {"external_id": f"c{number}"},
        "paid": "120.00",
        "status": "SUBMITTED",
        "items": [item],
    }
    return json.dumps(order)  # without due date: the sender renamed the column


def _main_job(url: str, feeds: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    dagster_home = folder / "dagster"
    dagster_home.mkdir()
    (dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    environment = {
        "DAGSTER_HOME": str(dagster_home),
        "MES_DATABASE_URL": libpq_url(url),
        "MES_HOME": str(folder / "home"),
        "MES_FEEDS_URL": str(feeds),
        "MES_MODELS_ROOT": str(folder),
    }
    return subprocess.run(
        [sys.executable, "-m", "pipelines.main_job"],
        cwd=REPOSITORY,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )

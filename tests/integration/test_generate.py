"""A generated history: the same again for the same numbers, lawful, whole, and beside what is there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.engine import make_url

from mes.db import engine as engines
from mes.db import migrate, set_aside
from mes.db.query import number
from mes.events import rebuild
from mes.models.store import ObjectStore
from mes.orders import life
from mes.orders.life import Status, System
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.location import libpq_url
from mes.samples import history, history_plan
from mes.samples.history_plan import History
from tests.conftest import REPOSITORY, _clone, _made_once
from tests.workshop import LIMITS

WANTED = History(2_000, 3, datetime(2026, 6, 1, tzinfo=UTC), open_share=0.05, operators=8)
TABLES = {"customers": "customer_id", "orders": "order_id", "order_items": "order_id, line", "quotes": "quote_id"}


def _write(connections: Engine, home: Path, wanted: History = WANTED, **options: Any) -> history.Written:
    return history.write(connections, wanted, ObjectStore(str(home / "objects")), LIMITS, **options)


@pytest.fixture(scope="session")
def generated_template(server: EmbeddedPostgres, shared_folder: Path, marts_template: str) -> str:
    """Name of a database with dbt's models and a generated history, marked for the order list."""

    def fill(url: str) -> None:
        connections = engines.connect(url)
        _write(connections, shared_folder / "generated", mark=True)
        connections.dispose()

    return _made_once(server, shared_folder, "template_generated", fill, marts_template)


@pytest.fixture
def generated(server: EmbeddedPostgres, generated_template: str) -> Iterator[Engine]:
    """Connections to a database of the test's own that holds the history."""
    with ExitStack() as stack:
        connections = engines.connect(_clone(server, generated_template, stack))
        yield connections
        connections.dispose()


def _digest(connections: Engine) -> dict[str, str]:
    every = {**TABLES, "order_events": "order_id, sequence"}
    with connections.begin() as conn:
        return {
            table: str(
                conn.execute(
                    text(f"select md5(string_agg(rows::text, ' ' order by {key})) from ops.{table} as rows")
                ).scalar_one()
            )
            for table, key in every.items()
        }


def _take_measures(source: Engine, target: Engine) -> None:
    """What was measured of the models need not be again."""
    with source.begin() as there, target.begin() as here:
        for table in ("models", "geometries", "rate_cards"):
            for row in there.execute(text(f"select to_jsonb(rows)::text from ops.{table} as rows")).scalars():
                here.execute(
                    text(f"insert into ops.{table} select * from jsonb_populate_record(null::ops.{table}, :row)"),
                    {"row": row},
                )


def test_the_same_numbers_give_the_same_rows(generated: Engine, marts_engine: Engine, tmp_path: Path) -> None:
    _take_measures(generated, marts_engine)
    _write(marts_engine, tmp_path)
    assert _digest(marts_engine) == _digest(generated)


def test_the_open_share_is_exact_and_orders_are_whole(generated: Engine) -> None:
    with generated.begin() as conn:
        unfinished = "status not in ('SHIPPED', 'CLOSED', 'CANCELLED')"
        assert number(conn, "select count(*) from ops.orders") == 2_000
        assert number(conn, f"select count(*) from ops.orders where {unfinished}") == 100
        assert number(conn, "select count(*) from ops.orders where live_from is not null") == 0
        assert number(conn, "select count(*) from ops.order_events where live or occurred_at > '2026-06-01'") == 0
        assert not number(
            conn,
            "select count(*) from ops.orders where order_id not in (table only_ids)".replace(
                "table only_ids", "select order_id from ops.order_items"
            ),
        )
        assert not number(conn, f"select count(*) from ops.orders where held_since is not null and not ({unfinished})")
        assert not number(conn, f"select count(*) from ops.orders where claimed_by is not null and not ({unfinished})")
        assert not number(
            conn,
            f"select count(*) from ops.orders where overdue is distinct from ({unfinished} and due_at < '2026-06-01')",
        )


def test_versions_count_events_and_every_move_is_lawful(generated: Engine) -> None:
    with generated.begin() as conn:
        rows = conn.execute(
            text("""
                select order_id, orders.status::text, status_since, version, sequence, type, occurred_at, system, reason
                from ops.orders join ops.order_events using (order_id) order by order_id, sequence
            """)
        ).all()
    lives: dict[object, list] = {}
    for row in rows:
        lives.setdefault(row.order_id, []).append(row)
    assert len(lives) == 2_000
    for events in lives.values():
        assert [event.sequence for event in events] == list(range(1, events[0].version + 1))
        assert [event.occurred_at for event in events] == sorted(event.occurred_at for event in events)
        moves = [event for event in events if event.type in set(Status)]
        assert (moves[-1].type, moves[-1].occurred_at) == (events[0].status, events[0].status_since)
        assert moves[0].type == Status.SUBMITTED
        for before, after in pairwise(moves):
            move = life.find_move(Status(before.type), Status(after.type))
            assert move is not None
            assert move.may_be_made_by(System(after.system))
            assert after.reason or not move.needs_reason


def test_a_quotes_lines_come_to_its_total(generated: Engine) -> None:
    with generated.begin() as conn:
        assert number(conn, "select count(*) from ops.quotes") > 2_000
        assert not number(
            conn,
            """
            select count(*) from ops.quotes where total <> (
                select sum((said ->> 'amount')::numeric) from jsonb_array_elements(breakdown) as lines (said)
            )
            """,
        )
        # what has no price waits for a person
        assert not number(
            conn,
            """
            select count(*) from ops.order_items join ops.orders using (order_id)
            where quote_id is null and (status <> 'SUBMITTED' or held_since is null)
            """,
        )


def test_foreign_keys_hold(generated: Engine) -> None:
    with generated.begin() as conn:
        for table, key, parent in (
            ("orders", "customer_id", "customers"),
            ("order_items", "model_id", "models"),
            ("order_items", "quote_id", "quotes"),
            ("order_items", "order_id", "orders"),
            ("quotes", "rate_card_id", "rate_cards"),
            ("quotes", "model_id", "geometries"),
        ):
            missing = f"select count(*) from ops.{table} where {key} not in (select {key} from ops.{parent})"
            assert not number(conn, missing), (table, key)


def test_it_is_refused_the_second_time_and_touches_nothing(generated: Engine, tmp_path: Path) -> None:
    before = _digest(generated)
    with pytest.raises(history.HistoryExists):
        _write(generated, tmp_path)
    with pytest.raises(history.OtherHistory):
        _write(generated, tmp_path, History(1_000, 3, WANTED.until))
    assert _digest(generated) == before


def test_another_seed_comes_beside_it(generated: Engine, tmp_path: Path) -> None:
    before = """
        select md5(string_agg(rows::text, ' ' order by order_id)) from ops.orders as rows
        where external_id like 'G3-%'
    """
    with generated.begin() as conn:
        conn.execute(text("delete from ops.dirty_orders"))
        others = conn.execute(text(before)).scalar_one()
    _write(generated, tmp_path, History(500, 4, WANTED.until))
    with generated.begin() as conn:
        assert conn.execute(text(before)).scalar_one() == others
        assert number(conn, "select count(*) from ops.orders") == 2_500
        assert number(conn, "select count(*) from ops.dirty_orders") == 0


@pytest.mark.timeout(300)
def test_dbts_tests_hold(generated: Engine, tmp_path: Path) -> None:
    url = libpq_url(generated.url.render_as_string(hide_password=False))
    environment = {**os.environ, "MES_DATABASE_URL": url, "MES_HOME": str(tmp_path)}
    build = (
        "from assets import dbt_project; dbt_project.run('build', '--quiet', '--exclude-resource-type', 'unit_test')"
    )
    subprocess.run([sys.executable, "-c", build], cwd=REPOSITORY, env=environment, check=True, timeout=280)
    with generated.begin() as conn:
        assert number(conn, "select count(*) from marts.order_list") == 2_000


class _Cut(Exception):
    """Whoever generated was killed here."""


def _cut_after(orders: int) -> history.Progress:
    def progress(done: int, _of: int) -> None:
        if done >= orders:
            raise _Cut

    return progress


def _schema(connections: Engine) -> list[tuple[str, ...]]:
    with connections.begin() as conn:
        return [
            tuple(row)
            for row in conn.execute(
                text("""
                    select indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid::text from pg_index
                    where indrelid::regclass::text like 'ops.%' and indrelid::regclass::text not like 'ops.order_ev%'
                    union all
                    select conrelid::regclass::text || conname, pg_get_constraintdef(oid), convalidated::text
                    from pg_constraint where conrelid::regclass::text like 'ops.%'
                        and (conrelid::regclass::text not like 'ops.order_ev%' or conname = 'pk_order_events')
                    order by 1, 2
                """)
            )
        ]


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_plan, "BATCH", 300)


@pytest.fixture
def migrated(engine: Engine, generated: Engine) -> Engine:
    """Connections to a migrated database without orders, whose models are measured."""
    _take_measures(generated, engine)
    return engine


@pytest.mark.usefixtures("small_batches")
def test_cut_short_without_indexes_it_goes_on_and_ends_the_same(
    migrated: Engine, marts_engine: Engine, tmp_path: Path
) -> None:
    before = _schema(migrated)
    _take_measures(migrated, marts_engine)
    _write(marts_engine, tmp_path)  # with its indexes
    with pytest.raises(_Cut):
        _write(migrated, tmp_path, bare_from=1, progress=_cut_after(900))
    with migrated.begin() as conn:
        assert set_aside.any_is(conn)
        there = number(conn, "select count(*) from ops.orders")
        assert 900 <= there < 2_000
        assert there % 300 == 0
    assert _schema(migrated) != before
    written = _write(migrated, tmp_path, bare_from=1)
    assert (written.resumed_from, written.orders) == (there, 2_000 - there)
    assert _schema(migrated) == before
    assert _digest(migrated) == _digest(marts_engine)
    with pytest.raises(history.HistoryExists):
        _write(migrated, tmp_path, bare_from=1)


@pytest.mark.usefixtures("small_batches")
def test_the_next_start_puts_back_what_a_killed_one_has_set_aside(
    migrated: Engine, database_url: str, tmp_path: Path
) -> None:
    before = _schema(migrated)
    with pytest.raises(_Cut):
        _write(migrated, tmp_path, bare_from=1, progress=_cut_after(600))
    with set_aside.alone(migrated), pytest.raises(set_aside.TablesBeingFilled):
        migrate.upgrade(database_url)
    migrate.upgrade(database_url)
    assert _schema(migrated) == before
    with migrated.begin() as conn:
        assert not set_aside.any_is(conn)
    # and what is missing comes with its indexes kept
    assert _write(migrated, tmp_path, bare_from=1).resumed_from >= 600
    assert _schema(migrated) == before


def test_beside_another_program_indexes_stay(migrated: Engine, database_url: str, tmp_path: Path) -> None:
    seen = []

    def look(_done: int, _of: int) -> None:
        with migrated.begin() as conn:
            seen.append(set_aside.any_is(conn))

    other = engines.connect(database_url, application="mes-api")
    with other.connect() as conn:
        conn.execute(text("select 1"))
        _write(migrated, tmp_path, bare_from=1, progress=look)
    other.dispose()
    assert seen == [False]


def test_a_user_without_privileges_gets_his_indexes_back(engine: Engine, database_url: str) -> None:
    """As on a managed server, whose users own their tables and may set little."""
    tables = ("ops.orders", "ops.order_items", "ops.order_events")
    before = _schema(engine)
    with engine.begin() as conn:
        conn.execute(text("create role plain login"))
        conn.execute(text("grant usage, create on schema ops to plain"))
        conn.execute(text("grant all on all tables in schema ops to plain"))
        partitions = conn.execute(text("select relid::text from pg_partition_tree('ops.order_events')")).scalars()
        for table in (*tables, *partitions):
            conn.execute(text(f"alter table {table} owner to plain"))
    plain = engines.connect(make_url(database_url).set(username="plain").render_as_string(hide_password=False))
    try:
        with plain.begin() as conn:
            assert set_aside.set_aside(conn, tables) > 10
        set_aside.mend(plain)
    finally:
        plain.dispose()
        with engine.begin() as conn:
            conn.execute(text("reassign owned by plain to current_user"))
            conn.execute(text("drop owned by plain"))
            conn.execute(text("drop role plain"))
    assert _schema(engine) == before


def test_the_events_make_the_orders_as_they_are(generated: Engine) -> None:
    with rebuild.snapshot(generated) as conn:
        found = rebuild.compare(conn)
    assert (found.orders, found.differences) == (2_000, [])

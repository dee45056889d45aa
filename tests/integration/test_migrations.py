"""Migrations and tables say the same, up and down."""

from datetime import date
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from procrastinate.schema import SchemaManager
from sqlalchemy import Engine, text

from mes.db import migrate, tables
from mes.orders.life import Status


def test_migrations_make_exactly_the_tables(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "compare_type": True,
                "compare_server_default": True,
                "include_name": lambda name, kind, _parents: kind != "schema" or name in {tables.OPS, tables.RAW},
                "include_object": lambda _object, name, kind, _reflected, _other: (
                    not (kind == "table" and name.startswith("order_events_"))
                ),
            },
        )
        assert compare_metadata(context, tables.metadata) == []


def test_down_to_the_base_leaves_nothing_and_up_again_works(engine: Engine, database_url: str) -> None:
    with engine.begin() as conn:
        conn.execute(text("insert into ops.customers (source, external_id) values ('shop', 'c')"))
    migrate.downgrade(database_url, "base")
    with engine.begin() as conn:
        left = conn.execute(
            text("""
                select nspname from pg_namespace where nspname in ('ops', 'raw')
                union all
                select typname from pg_type where typname = 'order_status' or typname like '%procrastinate%'
                union all
                select proname from pg_proc where proname like 'procrastinate%'
            """)
        ).all()
    assert left == []
    assert migrate.current(database_url) is None
    migrate.upgrade(database_url)
    assert migrate.current(database_url) == migrate.head()


def test_an_upgrade_of_an_upgraded_database_does_nothing(database_url: str) -> None:
    migrate.upgrade(database_url)
    assert migrate.current(database_url) == migrate.head()


def test_the_database_sorts_statuses_by_the_life_of_an_order(engine: Engine) -> None:
    with engine.connect() as conn:
        sorted_by_database = conn.execute(text("select unnest(enum_range(null::ops.order_status))::text")).scalars()
        assert list(sorted_by_database) == [status.value for status in Status]


def test_the_job_queue_has_the_schema_of_the_installed_library() -> None:
    """Revision 0003 installs what is current: a newer library needs its later scripts in a revision of its own."""
    newest = max(path.name for path in Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    assert newest == "03.04.00_50_post_add_retry_failed_job_procedure.sql"


def test_partitions_are_made_by_month_and_take_over_what_waits_in_the_default(engine: Engine) -> None:
    with engine.begin() as conn:
        conn.execute(
            text("""
                insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, live)
                values (uuidv7(), 1, 'SUBMITTED', '2031-02-28 23:59:59+00', 'shop', 'test', false),
                       (uuidv7(), 1, 'SUBMITTED', '2031-03-01 00:00:00+00', 'shop', 'test', false)
            """)
        )
        assert migrate.ensure_event_partitions(conn, date(2031, 2, 10), date(2031, 3, 1)) == 2
        assert migrate.ensure_event_partitions(conn, date(2031, 2, 10), date(2031, 3, 1)) == 0
        held = conn.execute(
            text("select tableoid::regclass::text as part from ops.order_events order by occurred_at")
        ).scalars()
        assert list(held) == ["ops.order_events_203102", "ops.order_events_203103"]

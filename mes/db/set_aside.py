"""Sets the indexes of empty tables aside while these are filled, and puts them back, whoever was killed meanwhile.

Building an index of a full table is sorting; keeping it while the table fills is a search of its pages, and a record in
the write-ahead log, for each row. What was set aside stands in `ops.set_aside_indexes` with the statement that makes it
again, in the transaction that dropped it. Keys that foreign keys point to stay.

Others must not write meanwhile: a unique constraint may be missing. So it is for databases that nobody else is
connected to, and every migration, hence every start of the system, puts back first what it finds.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, Engine, text

from mes.db import query
from mes.errors import MesError

log = structlog.get_logger(__name__)

_LOCK = 7_203_402  # one that fills tables at a time; the number is arbitrary and ours
_THREADS = 2
_FIRST_TO_ANALYSE_ONLY = 180000  # version of the server

Told = Callable[[str, float], None]


class TablesBeingFilled(MesError):
    """Another process is generating orders in this database; wait until it has ended."""

    code, http_status = "tables_being_filled", 409


@contextmanager
def alone(engine: Engine) -> Iterator[None]:
    """Be the only one who fills tables or puts indexes back.

    Raises:
        TablesBeingFilled: somebody else does.
    """
    with engine.connect() as conn:
        if not query.flag(conn, "select pg_try_advisory_lock(:key)", key=_LOCK):
            raise TablesBeingFilled
        conn.commit()
        try:
            yield
        finally:
            conn.execute(text("select pg_advisory_unlock(:key)"), {"key": _LOCK})
            conn.commit()


def any_is(conn: Connection) -> bool:
    """Whether an index is set aside; false in databases older than that."""
    known = query.flag(conn, "select to_regclass('ops.set_aside_indexes') is not null")
    return known and query.flag(conn, "select exists (select from ops.set_aside_indexes)")


def can_be(conn: Connection, tables: Sequence[str]) -> bool:
    """Whether all these tables are empty and no other program is connected to the database."""
    if not query.flag(
        conn,
        """
        select not exists (
            select from pg_stat_activity
            where datname = current_database() and backend_type = 'client backend'
                and application_name <> current_setting('application_name')
        )
        """,
    ):
        return False
    return not any(query.flag(conn, f"select exists (select from {table})") for table in tables)


def set_aside(conn: Connection, tables: Sequence[str]) -> int:
    """Drop the indexes of these tables, but for keys that are referred to; gives how many. The caller commits."""
    constraints = conn.execute(
        text("""
            select constraints.conname as name, constraints.conrelid::regclass::text as table_name,
                format(
                    'alter table %s add constraint %I %s',
                    constraints.conrelid::regclass, constraints.conname, pg_get_constraintdef(constraints.oid)
                ) as definition,
                format('alter table %s drop constraint %I', constraints.conrelid::regclass, constraints.conname) as gone
            from pg_constraint as constraints
            where constraints.conrelid = any(cast(:tables as regclass[])) and constraints.contype in ('p', 'u')
                and not exists (
                    select from pg_constraint as referring
                    where referring.conindid = constraints.conindid and referring.contype = 'f'
                )
        """),
        {"tables": list(tables)},
    ).all()
    indexes = conn.execute(
        text("""
            select names.relname as name, indexes.indrelid::regclass::text as table_name,
                pg_get_indexdef(indexes.indexrelid) as definition,
                format('drop index %s', indexes.indexrelid::regclass) as gone
            from pg_index as indexes join pg_class as names on names.oid = indexes.indexrelid
            where indexes.indrelid = any(cast(:tables as regclass[]))
                and not exists (select from pg_constraint where conindid = indexes.indexrelid)
        """),
        {"tables": list(tables)},
    ).all()
    for row in (*constraints, *indexes):
        conn.execute(
            text("insert into ops.set_aside_indexes (name, table_name, definition) values (:name, :table_name, :made)"),
            {"name": row.name, "table_name": row.table_name, "made": row.definition},
        )
        conn.exec_driver_sql(row.gone)
    return len(constraints) + len(indexes)


def tidy(engine: Engine, tables: Sequence[str]) -> None:
    """Freeze what was committed in these tables, while its pages are still in memory.

    Whoever reads a row first notes on its page that it is committed. Left to the building of the indexes, that writes
    the whole table once more, and its pages to the log: 600,000 orders' events took 10.7 s then and 3 s after this.
    """
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        was_set = _log_as_it_is(conn, "set")
        try:
            conn.exec_driver_sql(f"vacuum (freeze, truncate off, parallel 0) {', '.join(tables)}")
        finally:
            if was_set:  # who may not set it may not reset it either
                conn.execute(text("reset wal_compression"))


def put_back(engine: Engine, tables: Sequence[str] = (), told: Told = lambda _name, _seconds: None) -> None:
    """Make again what is set aside; these tables get their statistics too. Two tables are worked on at once.

    Each index comes back, and is forgotten here, in a transaction of its own: what is killed goes on where it ended.
    """
    with engine.begin() as conn:
        rows = conn.execute(
            text("select table_name, name, definition from ops.set_aside_indexes order by definition, name")
        ).all()
    work: dict[str, list[tuple[str, str]]] = {table: [] for table in tables}
    for row in rows:
        work.setdefault(row.table_name, []).append((row.name, row.definition))
    with ThreadPoolExecutor(_THREADS, "indexes") as threads:
        list(threads.map(lambda each: _finish(engine, each, work, told), _largest_first(engine, work)))


def mend(engine: Engine) -> None:
    """Put back what somebody who was cut short has set aside.

    Raises:
        TablesBeingFilled: he is still at it.
    """
    with engine.connect() as conn:
        if not any_is(conn):
            return
    with alone(engine):
        log.warning("indexes that rested while orders were generated are built now")
        put_back(engine, told=lambda name, seconds: log.info("index built", name=name, seconds=round(seconds, 1)))


def _largest_first(engine: Engine, tables: Mapping[str, object]) -> list[str]:
    """So that the threads end together."""
    with engine.begin() as conn:
        return list(
            conn.execute(
                text("""
                    select name from unnest(cast(:tables as text[])) as names (name) order by (
                        select sum(pg_table_size(relid)) from pg_partition_tree(name::regclass)
                    ) desc nulls last
                """),
                {"tables": list(tables)},
            ).scalars()
        )


def _finish(engine: Engine, table: str, work: Mapping[str, Sequence[tuple[str, str]]], told: Told) -> None:
    tidy(engine, [table])
    for name, definition in work[table]:
        started = time.monotonic()
        with engine.begin() as conn:
            _prepare(conn)
            conn.exec_driver_sql(definition)
            conn.execute(text("delete from ops.set_aside_indexes where name = :name"), {"name": name})
        told(name, time.monotonic() - started)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql(f"analyze {_whole(conn, table)}")


def _prepare(conn: Connection) -> None:
    """Let the sort have memory; a second process for it would only take the core of the other thread."""
    conn.execute(text("set local maintenance_work_mem = '512MB'"))
    conn.execute(text("set local max_parallel_maintenance_workers = 0"))
    _log_as_it_is(conn, "set local")


def _log_as_it_is(conn: Connection, how: str) -> bool:
    """Write pages to the log uncompressed, if this user may: pglz took two thirds of the processor's time."""
    may = query.flag(conn, "select has_parameter_privilege('wal_compression', 'set')")
    if may:
        conn.execute(text(f"{how} wal_compression = off"))
    return may


def _whole(conn: Connection, table: str) -> str:
    """The table, of a partitioned one what its partitions have together: each one's own the server gathers itself."""
    version = query.number(conn, "select current_setting('server_version_num')::integer")
    return f"only {table}" if version >= _FIRST_TO_ANALYSE_ONLY else table

"""What Prometheus is told of the database server itself: connections, locks, bloat, slow statements, its clock."""

from datetime import datetime

from sqlalchemy import Connection, text

from mes.clock import utc_now
from mes.db import query
from mes.observability.gauge_groups import Gauge, Group, Samples, age

# of the tables that change most; all of them would be a series each
WATCHED = (
    *("ops.orders", "ops.order_items", "ops.order_events", "ops.outbox", "ops.dirty_orders", "ops.inbox"),
    *("ops.webhook_deliveries", "marts.order_list", "public.procrastinate_jobs"),
)
# a statement that is so slow on average, however often it runs, is one that somebody waits for
_SLOW_MS, _OFTEN = 1_000, 5


def _server(conn: Connection) -> Samples:
    states = conn.execute(
        text("""
            select coalesce(state, 'other') as state, count(*) as connections,
                extract(epoch from clock_timestamp() - min(xact_start) filter (where state <> 'idle')) as oldest_s,
                count(*) filter (where wait_event_type = 'Lock') as waiting
            from pg_stat_activity where backend_type = 'client backend' group by 1
        """)
    ).all()
    row = conn.execute(
        text("""
            select deadlocks, blks_hit, blks_read, current_setting('max_connections')::int as most,
                pg_database_size(current_database()) as bytes
            from pg_stat_database where datname = current_database()
        """)
    ).one()
    by_state = {"active": 0.0, "idle": 0.0, "idle in transaction": 0.0, "other": 0.0}
    for state in states:
        by_state[state.state if state.state in by_state else "other"] += state.connections
    return [
        *(("mes_postgres_connections", (state,), number) for state, number in by_state.items()),
        ("mes_postgres_connections_max", (), float(row.most)),
        ("mes_postgres_oldest_transaction_seconds", (), max((age(state.oldest_s) for state in states), default=0.0)),
        ("mes_postgres_waiting_for_locks", (), float(sum(state.waiting for state in states))),
        ("mes_postgres_deadlocks", (), float(row.deadlocks)),
        ("mes_postgres_blocks", ("hit",), float(row.blks_hit)),
        ("mes_postgres_blocks", ("read",), float(row.blks_read)),
        ("mes_postgres_database_bytes", (), float(row.bytes)),
    ]


def _bloat(conn: Connection) -> Samples:
    """Partitions count with the table that they are of."""
    rows = conn.execute(
        text("""
            select watched.name, coalesce(sum(stat.n_dead_tup), 0) as dead, coalesce(sum(stat.n_live_tup), 0) as live
            from unnest(cast(:tables as text[])) as watched (name)
            left join pg_partition_tree(to_regclass(watched.name)) as part on true
            left join pg_stat_user_tables as stat on stat.relid = part.relid
            group by watched.name
        """),
        {"tables": list(WATCHED)},
    ).all()
    return [
        sample
        for row in rows
        for sample in (
            ("mes_postgres_dead_rows", (row.name,), float(row.dead)),
            ("mes_postgres_live_rows", (row.name,), float(row.live)),
        )
    ]


def _statements(conn: Connection) -> Samples:
    """Nothing where the extension is not installed: that is for whoever runs the server to decide.

    Without the texts, which lie in a file of some megabytes.
    """
    if not query.flag(conn, "select to_regclass('pg_stat_statements') is not null"):
        return []
    row = conn.execute(
        text("""
            select count(*) filter (where mean_exec_time > :slow_ms and calls >= :often) as slow,
                coalesce(sum(total_exec_time), 0) / 1000 as seconds, coalesce(sum(calls), 0) as calls
            from pg_stat_statements(showtext => false)
            where dbid = (select oid from pg_database where datname = current_database())
        """),
        {"slow_ms": _SLOW_MS, "often": _OFTEN},
    ).one()
    return [
        ("mes_postgres_slow_statements", (), float(row.slow)),
        ("mes_postgres_statements_seconds", (), float(row.seconds)),
        ("mes_postgres_statements", (), float(row.calls)),
    ]


def _clock(conn: Connection) -> Samples:
    """Ours is read before and after the database's, so that the way there and back counts half."""
    before = utc_now()
    theirs: datetime = conn.execute(text("select clock_timestamp()")).scalar_one()
    ours = before + (utc_now() - before) / 2
    return [("mes_clock_offset_seconds", (), (ours - theirs).total_seconds())]


GROUPS = (
    Group(
        "postgres",
        (
            Gauge("mes_postgres_connections", "Connections of clients, by what they do.", ("state",)),
            Gauge("mes_postgres_connections_max", "So many there can be."),
            Gauge("mes_postgres_oldest_transaction_seconds", "How long the oldest transaction under way has lasted."),
            Gauge("mes_postgres_waiting_for_locks", "Connections that wait for a lock."),
            Gauge("mes_postgres_blocks", "Blocks asked of its cache since then: hits, and what was read.", ("state",)),
            Gauge("mes_postgres_deadlocks", "Deadlocks since the server's statistics began."),
            Gauge("mes_postgres_database_bytes", "Size of our database."),
        ),
        _server,
    ),
    Group(
        "bloat",
        (
            Gauge("mes_postgres_dead_rows", "Rows that are gone and not yet cleared away, about.", ("table",)),
            Gauge("mes_postgres_live_rows", "Rows, about.", ("table",)),
        ),
        _bloat,
    ),
    Group(
        "statements",
        (
            Gauge("mes_postgres_slow_statements", "Statements that take more than a second on average."),
            Gauge("mes_postgres_statements_seconds", "Time that all statements took since the statistics began."),
            Gauge("mes_postgres_statements", "How many they were."),
        ),
        _statements,
    ),
    Group(
        "clock",
        (Gauge("mes_clock_offset_seconds", "How far this process's clock is ahead of the database's."),),
        _clock,
    ),
)

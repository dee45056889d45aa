"""Applies what the feeds landed to the orders: exports first, then the facts of each order's life.

Everything is set-based: a pass over all orders that have something new, some thousand in each transaction, so that the
first are listed while others are applied, and nobody waits long for a lock. An order's facts are sorted by its life; a
status that its export declares beats facts that contradict it; what is missing is recorded as inferred; what comes
after the order has moved on is recorded late, at the next version.
"""

from dataclasses import astuple, dataclass
from datetime import datetime

from sqlalchemy import Connection, Engine, text

from mes.db import scripts
from mes.db.migrate import ensure_event_partitions
from mes.orders import anomalies

# each builds a temporary table from those before it; the SQL files say what
_PREPARE = (
    "1_exports",
    "2_affected",
    "3_facts",
    "4_targets",
    "5_chain",
    "6_late_facts",
    "7_edits",
    "8_customers",
)
_PREPARED = (
    "batch",
    "exported",
    "unusable",
    "export",
    "affected",
    "fact",
    "target",
    "chain",
    "late_fact",
    "exported_item",
    "edit",
)
# one import at a time; the number is arbitrary and ours
IMPORT_LOCK = 7_203_393
# a transaction of some two seconds
_ORDERS_AT_ONCE = 10_000


@dataclass(frozen=True)
class Applied:
    """What one pass changed."""

    orders_new: int
    orders_updated: int
    events: int
    anomalies: int

    def __add__(self, other: "Applied") -> "Applied":
        """What two batches changed: no order is in both."""
        return Applied(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))


def apply(database: Engine, *, now: datetime, at_once: int = _ORDERS_AT_ONCE) -> Applied:
    """Apply all landed rows that were not applied yet; rows whose order or model is unknown go on waiting.

    Each batch is a transaction. When one fails, those before it stay, and the next pass goes on from there.
    """
    total = Applied(0, 0, 0, 0)
    with database.connect() as conn:
        with conn.begin():
            conn.execute(text("select pg_advisory_lock(:key)"), {"key": IMPORT_LOCK})
        try:
            with conn.begin():
                batches = scripts.run(conn, __package__, "0_pending", orders=at_once).scalar_one()
            for batch in range(batches):
                with conn.begin():
                    total += _apply(conn, batch, now)
        finally:
            if not conn.invalidated:
                with conn.begin():
                    conn.execute(text("drop table if exists pending"))
                    conn.execute(text("select pg_advisory_unlock(:key)"), {"key": IMPORT_LOCK})
    return total


def _apply(conn: Connection, batch: int, now: datetime) -> Applied:
    conn.execute(text(_STAND_STILL))
    for step in _PREPARE:
        scripts.run(conn, __package__, step, batch=batch)
    _make_partitions(conn)
    changed = scripts.run(conn, __package__, "9_orders", now=now).one()
    scripts.run(conn, __package__, "10_items")
    events = scripts.run(conn, __package__, "11_events").scalar_one()
    conn.execute(text(_ONE_MARK_EACH))
    found = anomalies.replace(conn)
    for statement in (*_MARK_EXPORTS, *_MARK_FACTS):
        conn.execute(text(statement))
    conn.execute(text(f"drop table {', '.join(_PREPARED)}"))
    return Applied(changed.created, changed.updated, events, found)


def _make_partitions(conn: Connection) -> None:
    span = conn.execute(
        text("""
            select min(occurred_at)::date as first, max(occurred_at)::date as last
            from (
                select occurred_at from chain
                union all select occurred_at from late_fact
                union all select declared_at from edit join affected using (order_id)
            ) as times
        """)
    ).one()
    if span.first is not None:
        ensure_event_partitions(conn, span.first, span.last)


# What is read at the start is what is marked as applied at the end: no row may land in between, or it would be marked
# without having been seen. Loads wait for seconds; readers do not.
_STAND_STILL = """
lock table raw.shop_orders, raw.crm_orders, raw.crm_order_events, raw.legacy_status_history, raw.model_files
in share mode
"""

# Orders and items mark alike, some 10,000 marks apart, so the refresher would merge each new order twice. A batch
# ends with its transaction, so of its own marks the newest says all.
_ONE_MARK_EACH = """
delete from ops.dirty_orders using (
    select mark_id, row_number() over (partition by order_id order by mark_id desc) as nth
    from ops.dirty_orders where xmin = pg_current_xact_id()::xid
) as own
where dirty_orders.mark_id = own.mark_id and own.nth > 1
"""

# Rows with an unusable model stay unapplied: they wait for the model, and are tried again with every load, unless a
# newer export of the order has been applied.
_MARK_EXPORTS = tuple(
    f"""
    update raw.{table} as landed set applied_at = now()
    from batch
    where batch.source = '{source}' and batch.external_id = landed.external_id
        and applied_at is null and (
        not exists (
            select from unusable
            where unusable.source = '{source}' and unusable.external_id = landed.external_id
                and unusable.row_hash = landed.row_hash)
        or exists (
            select from ops.orders
            where orders.source = '{source}' and orders.external_id = landed.external_id
                and orders.exported_at >= landed.updated_at))
    """
    for table, source in (("shop_orders", "shop"), ("crm_orders", "crm"))
)
_MARK_FACTS = tuple(
    f"""
    update raw.{table} as landed set applied_at = now()
    from affected
    where landed.applied_at is null
        and landed.source = affected.source and landed.external_id = affected.external_id
    """
    for table in ("crm_order_events", "legacy_status_history")
)

"""Tells how long changes have been waiting for the reports and the order list to count them."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Waiting:
    """The marks of one queue: the number of the newest, and how long the oldest has waited."""

    newest: int
    oldest_age: timedelta


def changed_days(conn: Connection) -> Waiting | None:
    """Marks of days that the throughput reports have to count again; None when there are none."""
    return _waiting(conn, "ops.changed_days")


def dirty_orders(conn: Connection) -> Waiting | None:
    """Marks of orders that the order list has to merge; None when there are none."""
    return _waiting(conn, "ops.dirty_orders")


def _waiting(conn: Connection, queue: str) -> Waiting | None:
    """From both ends of the queue's key, so that its length costs nothing."""
    row = conn.execute(
        text(f"""
            select newest.mark_id, greatest(clock_timestamp() - oldest.marked_at, interval '0') as age
            from (select mark_id from {queue} order by mark_id desc limit 1) as newest,
                (select marked_at from {queue} order by mark_id limit 1) as oldest
        """)
    ).one_or_none()
    return Waiting(row.mark_id, row.age) if row is not None else None

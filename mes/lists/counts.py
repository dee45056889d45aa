"""Counts the work in progress; only open orders are read, so that it costs the same however many are finished."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.orders.life import OPEN_STATUSES, Status


@dataclass(frozen=True)
class OpenCounts:
    """Open orders by status (every open status is a key), and how many of all of them are late or on hold."""

    by_status: dict[Status, int]
    late: int
    held: int

    @property
    def open(self) -> int:
        """All open orders."""
        return sum(self.by_status.values())


def open_orders(conn: Connection) -> OpenCounts:
    """Count the open orders of the list."""
    rows = conn.execute(
        text("""
            select status, count(*) as orders,
                count(*) filter (where late) as late, count(*) filter (where held) as held
            from marts.order_list where is_open group by status
        """)
    ).all()
    found = {Status(row.status): row.orders for row in rows}
    return OpenCounts(
        by_status={status: found.get(status, 0) for status in OPEN_STATUSES},
        late=sum(row.late for row in rows),
        held=sum(row.held for row in rows),
    )

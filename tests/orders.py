"""Makes orders for tests the way the shop does, directly in the tables."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, text

from mes.orders.life import Status

PLACED_AT = datetime(2026, 11, 1, 9, 0, tzinfo=UTC)


def add_order(
    conn: Connection,
    number: str = "S-1",
    *,
    status: Status = Status.SUBMITTED,
    tier: str = "retail",
    rush: bool = False,
    placed_at: datetime = PLACED_AT,
    due_in: timedelta | None = timedelta(days=14),
) -> UUID:
    """One order without items, at version 1, its events being one that says it stands where it stands."""
    customer = conn.execute(
        text("""
            insert into ops.customers (source, external_id, tier) values ('shop', 'customer of ' || :number, :tier)
            returning customer_id
        """),
        {"number": number, "tier": tier},
    ).scalar_one()
    order_id: UUID = conn.execute(
        text("""
            insert into ops.orders (source, external_id, customer_id, status, status_since, version,
                placed_at, due_at, rush)
            values ('shop', :number, :customer, cast(:status as ops.order_status), :placed_at, 1,
                :placed_at, :due_at, :rush)
            returning order_id
        """),
        {
            "number": number,
            "customer": customer,
            "status": status.value,
            "placed_at": placed_at,
            "due_at": placed_at + due_in if due_in is not None else None,
            "rush": rush,
        },
    ).scalar_one()
    conn.execute(
        text("""
            insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, live)
            values (:order_id, 1, :status, :placed_at, 'shop', 'test', false)
        """),
        {"order_id": order_id, "status": status.value, "placed_at": placed_at},
    )
    return order_id

"""Tells what of the inbox waits for a person."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from mes.events.inbox import Key


@dataclass(frozen=True)
class ParkedOrder:
    """An order of which a sender's next event cannot be applied; `waiting` counts those behind it."""

    sender: str
    source: str
    external_id: str
    order_id: UUID | None
    since: datetime
    reason: str
    event_type: str | None
    sequence: int | None
    waiting: int

    @property
    def key(self) -> Key:
        """By which it is continued."""
        return Key(self.sender, self.source, self.external_id)


@dataclass(frozen=True)
class RejectedMessage:
    """A message that belongs to no order."""

    message_id: int
    sender: str
    carrier: str
    subject: str
    reason: str
    received_at: datetime
    bytes: int


def orders(conn: Connection, limit: int = 200) -> Sequence[ParkedOrder]:
    """Parked orders, the longest parked first; by the partial index, which holds no others."""
    rows = conn.execute(
        text("""
            select parked.sender, parked.source, parked.external_id, orders.order_id,
                parked.parked_at as since, parked.parked_reason as reason,
                head.type as event_type, head.sequence, coalesce(behind.events, 0) as waiting
            from ops.inbox_orders as parked
            left join ops.orders on orders.source = parked.source and orders.external_id = parked.external_id
            left join lateral (
                select type, sequence from ops.inbox
                where inbox.sender = parked.sender and inbox.source = parked.source
                    and inbox.external_id = parked.external_id and state in ('waiting', 'parked')
                order by state = 'parked' desc, sequence nulls last, inbox_id limit 1
            ) as head on true
            left join lateral (
                select count(*) - 1 as events from ops.inbox
                where inbox.sender = parked.sender and inbox.source = parked.source
                    and inbox.external_id = parked.external_id and state in ('waiting', 'parked')
            ) as behind on true
            where parked.parked_at is not null order by parked.parked_at limit :limit
        """),
        {"limit": limit},
    )
    return [ParkedOrder(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name


def messages(conn: Connection, limit: int = 200) -> Sequence[RejectedMessage]:
    """Messages that were set aside, the newest first."""
    rows = conn.execute(
        text("""
            select message_id, sender, carrier, subject, reason, received_at, bytes
            from ops.rejected_messages order by received_at desc, message_id desc limit :limit
        """),
        {"limit": limit},
    )
    return [RejectedMessage(**row._mapping) for row in rows]  # noqa: SLF001 - as above

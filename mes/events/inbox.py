"""Keeps what shop and CRM tell by a bus; a message that is kept may be acknowledged."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import structlog
from sqlalchemy import Connection, text

from mes.db import query
from mes.errors import MesError
from mes.events.incoming import Incoming

_KEPT_OF_REJECTED = 64 * 1024

log = structlog.get_logger(__name__)


class NothingParked(MesError):
    """Nothing of this order is parked: its events go on by themselves."""

    code: ClassVar[str] = "nothing_parked"
    http_status: ClassVar[int] = 409


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The events of one sender about one order."""

    sender: str
    source: str
    external_id: str


@dataclass(frozen=True)
class Rejected:
    """A message of which nobody can tell what it is about."""

    sender: str
    subject: str
    body: bytes
    reason: str


def accept(conn: Connection, events: Sequence[Incoming], carrier: str) -> int:
    """Keep what is new of these, in the caller's transaction; gives how many. What is kept may be acknowledged."""
    if not events:
        return 0
    rows = [
        {
            "sender": event.sender,
            "event_source": event.event_source,
            "event_id": event.event_id,
            "source": event.source,
            "external_id": event.external_id,
            "sequence": event.sequence,
            "type": event.type,
            "occurred_at": event.occurred_at.isoformat(),
            "reason": event.reason,
            "fault": event.fault,
            "event": event.event,
        }
        for event in events
    ]
    return query.number(conn, _ACCEPT, rows=json.dumps(rows), carrier=carrier)


def reject(conn: Connection, message: Rejected, carrier: str) -> None:
    """Set aside a message that belongs to no order, for a person to look at."""
    conn.execute(
        text("""
            insert into ops.rejected_messages (sender, carrier, subject, body, bytes, reason)
            values (:sender, :carrier, :subject, :body, :bytes, :reason)
        """),
        {
            "sender": message.sender,
            "carrier": carrier,
            "subject": message.subject,
            "body": message.body[:_KEPT_OF_REJECTED],
            "bytes": len(message.body),
            "reason": message.reason,
        },
    )


def wake(conn: Connection) -> int:
    """Have those looked at again whose order has changed to what they wait for; gives how many."""
    woken = conn.execute(
        text("""
            update ops.inbox_orders as waiting set due_at = clock_timestamp(), seen_version = null
            where (sender, source, external_id) in (
                select mine.sender, mine.source, mine.external_id
                from ops.inbox_orders as mine
                inner join ops.orders on orders.source = mine.source and orders.external_id = mine.external_id
                where mine.seen_version is not null and orders.version <> mine.seen_version
                    and (mine.wakes_at is null or orders.status = any(mine.wakes_at))
                for update of mine skip locked
            )
        """)
    )
    return woken.rowcount


def replay(conn: Connection, key: Key, *, skip: bool, by: str) -> int:
    """Go on with a parked order: try its event again, or leave that out with `skip`; gives the event's number.

    Raises:
        NothingParked: the order is not parked.
    """
    values = {"sender": key.sender, "source": key.source, "external_id": key.external_id, "by": by, "skip": skip}
    parked = query.flag(
        conn,
        """
        select exists (
            select from ops.inbox_orders
            where sender = :sender and source = :source and external_id = :external_id and parked_at is not null
            for update
        )
        """,
        sender=key.sender,
        source=key.source,
        external_id=key.external_id,
    )
    event = conn.execute(_CONTINUE, values).one_or_none() if parked else None
    if event is None:
        raise NothingParked(sender=key.sender, source=key.source, external_id=key.external_id)
    conn.execute(
        text("""
            update ops.inbox_orders set
                parked_at = null, parked_reason = null, attempts = 0, due_at = clock_timestamp(),
                next_sequence = case
                    when :skip then greatest(next_sequence, coalesce(:sequence, 0) + 1) else next_sequence
                end
            where sender = :sender and source = :source and external_id = :external_id
        """),
        values | {"sequence": event.sequence},
    )
    log.info("parked event continued", inbox_id=event.inbox_id, skipped=skip, by=by, external_id=key.external_id)
    return int(event.inbox_id)


_CONTINUE = text("""
    update ops.inbox set
        state = case when :skip then 'ignored' else 'waiting' end,
        outcome = case when :skip then 'left out by ' || :by else 'tried again by ' || :by end,
        decided_at = case when :skip then clock_timestamp() end
    where inbox_id = (
        select inbox_id from ops.inbox
        where sender = :sender and source = :source and external_id = :external_id and state in ('waiting', 'parked')
        order by state = 'parked' desc, sequence nulls last, inbox_id limit 1
    )
    returning inbox_id, sequence
""")

# `do update`, not `do nothing`: whoever looks at the order just now has not seen the new event, and must come again
_ACCEPT = """
with told as (
    select * from jsonb_to_recordset(cast(:rows as jsonb)) as told(
        sender text, event_source text, event_id text, source text, external_id text, sequence integer, type text,
        occurred_at timestamptz, reason text, fault text, event jsonb
    )
), kept as (
    insert into ops.inbox (
        sender, event_source, event_id, source, external_id, sequence, type, occurred_at, reason, fault, event, carrier
    )
    select
        sender, event_source, event_id, source, external_id, sequence, type, occurred_at, reason, fault, event, :carrier
    from told order by sender, event_source, event_id
    on conflict (sender, event_source, event_id) do nothing
    returning sender, source, external_id
), due as (
    insert into ops.inbox_orders as known (sender, source, external_id, due_at)
    select sender, source, external_id, clock_timestamp()
    from (select distinct sender, source, external_id from kept) as told_of order by sender, source, external_id
    on conflict (sender, source, external_id) do update
        set due_at = least(coalesce(known.due_at, 'infinity'), excluded.due_at)
)
select count(*) from kept
"""

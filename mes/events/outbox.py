"""Gives committed events their positions, and hands them out in that order.

`outbox_id` is given when a row is written, so a row may appear below others that were read already; a position is given
after the commit, so whoever has read up to one has missed nothing. An order's events are written under the lock of its
row, so their positions are in their sequence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from mes.db import query
from mes.events import leases
from mes.events.leases import Lease

BATCH = 500
"""Events that a carrier takes at a time: all of them are carried before the next ones are begun."""

NUMBERED_AT_ONCE = 4 * BATCH

_NUMBERED = "outbox"


@dataclass(frozen=True, slots=True)
class Told:
    """An event as it is told to others: a CloudEvent, and where it stands among all."""

    position: int
    order_id: UUID
    sequence: int
    event: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class Progress:
    """How far a carrier has got, and on which stream of its bus."""

    position: int
    stream: str | None = None
    stream_sequence: int = 0


class LeaseLost(Exception):
    """Another process has taken over: what this one did since is not counted."""


def number(conn: Connection, limit: int = NUMBERED_AT_ONCE) -> int:
    """Give positions to up to `limit` committed events; gives how many.

    The counter's row is locked first, so that the rows are read after whoever numbered before has committed.
    """
    last = query.number(conn, "select position from ops.carriers where name = :name for update", name=_NUMBERED)
    return query.number(
        conn,
        """
        with due as materialized (
            select outbox_id, row_number() over (order by outbox_id) as nth from (
                select outbox_id from ops.outbox where position is null order by outbox_id limit :limit
            ) as first
        ), numbered as (
            update ops.outbox set position = :last + due.nth from due where outbox.outbox_id = due.outbox_id
            returning outbox.position
        ), counted as (
            update ops.carriers set position = :last + numbered.events, changed_at = clock_timestamp()
            from (select count(*) as events from numbered) as numbered
            where name = :name and numbered.events > 0
        )
        select count(*) from numbered
        """,
        last=last,
        limit=limit,
        name=_NUMBERED,
    )


def progress(conn: Connection, carrier: str) -> Progress:
    """How far the carrier has got; a new one begins before the first event."""
    row = conn.execute(
        text("""
            insert into ops.carriers (name, position) values (:name, 0) on conflict (name) do nothing
            returning position, stream, stream_sequence
        """),
        {"name": carrier},
    ).one_or_none()
    row = (
        row
        or conn.execute(
            text("select position, stream, stream_sequence from ops.carriers where name = :name"), {"name": carrier}
        ).one()
    )
    return Progress(row.position, row.stream, row.stream_sequence or 0)


def after(conn: Connection, position: int, limit: int = BATCH) -> Sequence[Told]:
    """The next events, by position."""
    rows = conn.execute(
        text("""
            select position, order_id, sequence, event, created_at from ops.outbox
            where position > :position order by position limit :limit
        """),
        {"position": position, "limit": limit},
    )
    return [Told(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping


def causes(conn: Connection, order_ids: Sequence[UUID]) -> Sequence[str | None]:
    """The `traceparent` of what made the last event of each of these orders."""
    rows = conn.execute(
        text("""
            select last.event ->> 'traceparent' as traceparent
            from unnest(cast(:order_ids as uuid[])) as asked (order_id)
            cross join lateral (
                select event from ops.outbox where outbox.order_id = asked.order_id
                order by sequence desc, telling desc limit 1
            ) as last
        """),
        {"order_ids": list(order_ids)},
    )
    return list(rows.scalars())


def note(conn: Connection, lease: Lease, carried: Progress) -> None:
    """Remember how far the lease's carrier has got; back, too, when its bus has lost what it had.

    Raises:
        LeaseLost: another process carries now.
    """
    if not leases.holds(conn, lease):
        raise LeaseLost(lease.name)
    conn.execute(
        text("""
            update ops.carriers set position = :position, stream = :stream, stream_sequence = :stream_sequence,
                changed_at = clock_timestamp()
            where name = :name
        """),
        {
            "name": lease.name,
            "position": carried.position,
            "stream": carried.stream,
            "stream_sequence": carried.stream_sequence,
        },
    )


def position_at(conn: Connection, since: datetime) -> int:
    """The position before the first event that was written at `since` or later."""
    return query.number(
        conn,
        """
        select coalesce(
            (
                select position - 1 from ops.outbox
                where position is not null and created_at >= :since order by position limit 1
            ),
            (select position from ops.carriers where name = :name)
        )
        """,
        since=since,
        name=_NUMBERED,
    )

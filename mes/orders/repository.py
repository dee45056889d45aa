"""Reads and writes orders and their events; the only SQL that changes an order one at a time."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Row, text

from mes.observability import traces
from mes.orders.life import FINISHED_STATUSES, Status
from mes.orders.model import Event, NewEvent, NoSuchOrder, Order, VersionConflict

_COLUMNS = (
    "order_id, source, external_id, status, status_since, version, hold_reason, held_by, held_since, assigned_to, "
    "claimed_by, lease_until, given_back_by, note"
)

log = structlog.get_logger(__name__)

_LOCK = text(f"select {_COLUMNS} from ops.orders where order_id = :order_id for no key update")
_GET = text(f"select {_COLUMNS} from ops.orders where order_id = :order_id")

# State, event and outbox row in one statement, so that one round trip is one fact; the dirty mark is the table's own
# trigger. `where version = ...` makes a lost update impossible even for a caller that forgot to lock.
_CHANGE = text(f"""
with changed as (
    update ops.orders set
        status = cast(:status as ops.order_status), status_since = :status_since, version = version + 1,
        hold_reason = :hold_reason, held_by = :held_by, held_since = :held_since,
        assigned_to = :assigned_to, claimed_by = :claimed_by, lease_until = :lease_until,
        given_back_by = :given_back_by, note = :note,
        overdue = overdue and cast(:status as ops.order_status) <> all (cast(:finished as ops.order_status[])),
        live_from = coalesce(live_from, version + 1), changed_at = clock_timestamp()
    where order_id = :order_id and version = :version
    returning {_COLUMNS}
), recorded as (
    insert into ops.order_events
        (order_id, sequence, type, occurred_at, system, actor, reason, live, source_event_id, data)
    select
        order_id, version, :type, :occurred_at, :system, :actor, :reason, true, :source_event_id, cast(:data as jsonb)
    from changed
), told as (
    insert into ops.outbox (order_id, sequence, event)
    select order_id, version, ops.cloud_event(
        order_id, source, external_id, status, version, held_since is not null,
        :type, :occurred_at, :system, :actor, :reason, cast(:data as jsonb), cast(:traceparent as text))
    from changed
)
select {_COLUMNS}, (
    select event ->> 'traceparent' from ops.outbox where order_id = :order_id and sequence = :version and telling = 0
) as led_to from changed
""")


def lock(conn: Connection, order_id: UUID) -> Order:
    """The order, locked against other writers until the transaction ends.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    return _order(conn.execute(_LOCK, {"order_id": order_id}).one_or_none(), order_id)


def get(conn: Connection, order_id: UUID) -> Order:
    """The order as it stands.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    return _order(conn.execute(_GET, {"order_id": order_id}).one_or_none(), order_id)


def change(conn: Connection, before: Order, after: Order, event: NewEvent) -> Order:
    """Write `after` over `before` with its event and outbox row; gives the order at its next version.

    Raises:
        VersionConflict: the order is no longer at `before.version`.
    """
    about: dict[str, str | int] = {traces.ORDER: str(before.order_id), traces.VERSION: before.version + 1}
    with traces.span(f"order {event.type.value}", attributes=about) as span:
        row = _write(conn, before, after, event)
        if row is None:
            raise VersionConflict(order_id=before.order_id, expected_version=before.version)
        traces.follow(span, [row.led_to])
    changed = _order(row, before.order_id)
    log.info(
        "order changed",
        order_id=str(changed.order_id),
        sequence=changed.version,
        type=event.type.value,
        system=event.actor.system.value,
        actor=event.actor.name,
    )
    return changed


def _write(conn: Connection, before: Order, after: Order, event: NewEvent) -> Row[Any] | None:
    return conn.execute(
        _CHANGE,
        {
            "order_id": before.order_id,
            "version": before.version,
            "status": after.status.value,
            "status_since": after.status_since,
            "hold_reason": after.hold_reason,
            "held_by": after.held_by,
            "held_since": after.held_since,
            "assigned_to": after.assigned_to,
            "claimed_by": after.claimed_by,
            "lease_until": after.lease_until,
            "given_back_by": after.given_back_by,
            "note": after.note,
            "finished": [status.value for status in FINISHED_STATUSES],
            "type": event.type.value,
            "occurred_at": event.occurred_at,
            "system": event.actor.system.value,
            "actor": event.actor.name,
            "reason": event.reason,
            "source_event_id": event.source_event_id,
            "data": json.dumps(event.data) if event.data is not None else None,
            "traceparent": traces.traceparent(),
        },
    ).one_or_none()


def events(conn: Connection, order_id: UUID) -> Sequence[Event]:
    """All events of an order, in sequence."""
    rows = conn.execute(
        text("""
            select sequence, type, occurred_at, recorded_at, system, actor, reason, live, inferred, late, data
            from ops.order_events where order_id = :order_id order by sequence
        """),
        {"order_id": order_id},
    )
    return [Event(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping


def _order(row: Row[Any] | None, order_id: UUID) -> Order:
    if row is None:
        raise NoSuchOrder(order_id=order_id)
    fields = {name: value for name, value in row._mapping.items() if name != "led_to"}  # noqa: SLF001 - as above
    return Order(**(fields | {"status": Status(fields["status"])}))

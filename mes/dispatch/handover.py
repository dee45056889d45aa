"""Puts many orders into queues, or takes them out, in one statement with all of their events."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, text

from mes.dispatch.model import DISPATCHER
from mes.observability import traces
from mes.orders.life import EventType


@dataclass(frozen=True)
class HandOver:
    """An order at the version that was decided on, and whose it becomes; None for nobody's."""

    order_id: UUID
    version: int
    to: str | None = None


# As `repository._CHANGE`, for many; a row that moved on since it was read stays as it is.
_HAND_OVER = text("""
with wanted as (
    select * from unnest(cast(:order_ids as uuid[]), cast(:versions as integer[]), cast(:names as text[]))
        as wanted (order_id, version, name)
), changed as (
    update ops.orders set
        assigned_to = wanted.name, claimed_by = null, lease_until = null,
        given_back_by = case when :gives_back then orders.claimed_by else orders.given_back_by end,
        version = orders.version + 1, live_from = coalesce(orders.live_from, orders.version + 1),
        changed_at = clock_timestamp()
    from wanted
    where orders.order_id = wanted.order_id and orders.version = wanted.version
    returning orders.order_id, orders.source, orders.external_id, orders.status, orders.version, orders.held_since,
        jsonb_build_object(
            'from', old.assigned_to, 'to', new.assigned_to, 'given_back_by', new.given_back_by
        ) as data
), recorded as (
    insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, reason, live, data)
    select order_id, version, :type, :occurred_at, :system, :actor, :reason, true, data from changed
), told as (
    insert into ops.outbox (order_id, sequence, event)
    select order_id, version, ops.cloud_event(
        order_id, source, external_id, status, version, held_since is not null,
        :type, :occurred_at, :system, :actor, :reason, data,
        cast(:traceparent as text))
    from changed
)
select order_id, (
    select event ->> 'traceparent' from ops.outbox as before
    where before.order_id = changed.order_id and before.sequence = changed.version - 1 and before.telling = 0
) as led_to
from changed
""")


def hand_over(
    conn: Connection,
    orders: Sequence[HandOver],
    type_: EventType,
    occurred_at: datetime,
    *,
    reason: str | None = None,
    gives_back: bool = False,
) -> Sequence[UUID]:
    """Put locked orders into queues and end their claims; gives those that were.

    With `gives_back`, whoever had claimed one does not get it again when it is shared out.
    """
    if not orders:
        return []
    values = {
        "order_ids": [order.order_id for order in orders],
        "versions": [order.version for order in orders],
        "names": [order.to for order in orders],
        "gives_back": gives_back,
        "type": type_.value,
        "occurred_at": occurred_at,
        "system": DISPATCHER.system.value,
        "actor": DISPATCHER.name,
        "reason": reason,
    }
    with traces.span(f"orders {type_.value}", attributes={"mes.orders": len(orders)}) as span:
        rows = conn.execute(_HAND_OVER, values | {"traceparent": traces.traceparent()}).all()
        traces.follow(span, (row.led_to for row in rows))
    return [row.order_id for row in rows]

"""Tells others how an order stands as a whole, when they have missed what happened to it."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, text

from mes.observability import traces

TYPE = "snapshot"
"""Of the event `mes.order.snapshot.v1`: no event of the order's life, so it raises no version."""

ACTOR = "reconciliation"


def tell(conn: Connection, order_ids: Sequence[UUID], reason: str) -> Sequence[UUID]:
    """Write a snapshot of each of these orders into the outbox, in the caller's transaction; gives those told of.

    It goes the way of all events: numbered after the commit, to the bus, RabbitMQ, webhooks and the feed. Its sequence
    is the order's version, so that whoever is at that version or a later one leaves it out. The orders are locked, so
    that no event of a later version can come before it. An order that is all history is left out.
    """
    if not order_ids:
        return []
    conn.execute(_LOCK, {"order_ids": list(order_ids)})
    about = {"reason": reason, "type": TYPE, "actor": ACTOR, "traceparent": traces.traceparent()}
    return list(conn.execute(_TELL, {"order_ids": list(order_ids), **about}).scalars())


_LOCK = text("""
    select from ops.orders where order_id = any(cast(:order_ids as uuid[])) order by order_id for no key update
""")

_TELL = text("""
with standing as (
    select orders.*, customers.external_id as customer, customers.tier, coalesce(last.telling, 0) + 1 as telling,
        clock_timestamp() as told_at, content.items, content.total
    from ops.orders inner join ops.customers using (customer_id)
    cross join lateral (
        select max(telling) as telling from ops.outbox as told
        where told.order_id = orders.order_id and told.sequence = orders.version
    ) as last
    cross join lateral (
        select
            jsonb_agg(jsonb_build_object(
                'line', item.line, 'model_id', item.model_id, 'material', item.material, 'finish', item.finish,
                'quantity', item.quantity, 'longest_side_mm', item.longest_side_mm, 'stones', item.stones,
                'engraving', item.engraving, 'price', quotes.total
            ) order by item.line) as items,
            case when bool_and(quotes.total is not null) then sum(quotes.total) end as total
        from ops.order_items as item left join ops.quotes using (quote_id)
        where item.order_id = orders.order_id
    ) as content
    where orders.order_id = any(cast(:order_ids as uuid[])) and orders.live_from is not null
)
insert into ops.outbox (order_id, sequence, telling, event)
select order_id, version, telling,
    ops.cloud_event(
        order_id, source, external_id, status, version, held_since is not null, :type, told_at, 'mes', :actor, :reason,
        jsonb_build_object(
            'status_since', status_since, 'hold_reason', hold_reason, 'placed_at', placed_at, 'due_at', due_at,
            'rush', rush, 'currency', currency, 'paid', paid, 'total', total,
            'customer', jsonb_build_object('external_id', customer, 'tier', tier), 'items', coalesce(items, '[]')
        ), cast(:traceparent as text)
    ) || jsonb_build_object('id', order_id || '/' || version || '/snapshot-' || telling)
from standing
order by order_id
returning order_id
""")

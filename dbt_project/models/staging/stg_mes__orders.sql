-- one row per order; statuses as text, with their position in the life of an order
select
    orders.order_id,
    orders.source,
    orders.external_id,
    orders.customer_id,
    orders.status::text as status,
    array_position(enum_range(null::ops.order_status), orders.status) as status_rank,
    orders.status not in ('SHIPPED', 'CLOSED', 'CANCELLED') as is_open,
    orders.status_since,
    orders.version,
    orders.live_from,
    orders.placed_at,
    orders.due_at,
    orders.rush,
    orders.currency,
    orders.overdue,
    orders.held_since is not null as held,
    orders.hold_reason,
    orders.held_by,
    orders.held_since,
    orders.assigned_to,
    orders.note
from {{ source('ops', 'orders') }} as orders

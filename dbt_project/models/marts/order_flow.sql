-- one row per order and thing that the throughput reports count of it: that it was placed, finished or cancelled
--
-- Weeks begin on Monday, days at midnight, UTC. Both are written as the indexes of ops.orders and ops.order_ends have
-- them, so that a filter on week, or on week and day, reads what happened then and nothing else. No part is a CTE: one
-- that is read twice is made whole before it is filtered.
{{ config(materialized='view') }}

select
    orders.order_id,
    'placed' as what,
    date_trunc('week', orders.placed_at at time zone 'UTC')::date as week,
    (orders.placed_at at time zone 'UTC')::date as day,
    null::boolean as late,
    null::double precision as cycle_days
from {{ ref('stg_mes__orders') }} as orders
union all
select
    ends.order_id,
    'finished' as what,
    date_trunc('week', ends.shipped_at at time zone 'UTC')::date as week,
    (ends.shipped_at at time zone 'UTC')::date as day,
    coalesce(ends.shipped_at > orders.due_at, false) as late,
    case
        when ends.shipped_at >= orders.placed_at
            then (extract(epoch from ends.shipped_at - orders.placed_at) / 86400)::double precision
    end as cycle_days
from {{ ref('stg_mes__order_ends') }} as ends
inner join {{ ref('stg_mes__orders') }} as orders on ends.order_id = orders.order_id
where ends.shipped_at is not null and orders.status <> 'CANCELLED'
union all
select
    ends.order_id,
    'cancelled' as what,
    date_trunc('week', ends.cancelled_at at time zone 'UTC')::date as week,
    (ends.cancelled_at at time zone 'UTC')::date as day,
    null::boolean as late,
    null::double precision as cycle_days
from {{ ref('stg_mes__order_ends') }} as ends
inner join {{ ref('stg_mes__orders') }} as orders on ends.order_id = orders.order_id
where ends.cancelled_at is not null and orders.status = 'CANCELLED'

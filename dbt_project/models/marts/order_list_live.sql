-- one row per order, as an operator sees it; the one definition of the order list
--
-- A filter on order_id must reach every part, since the refresher asks for the few orders that changed: per-order parts
-- are lateral, nothing asks the clock. The order of statuses is asked for once, in a subquery of its own: enum_range
-- reads the catalog, and for each step of each order took two thirds of the view's time.
{{ config(materialized='view') }}

with orders as (select * from {{ ref('stg_mes__orders') }})

select
    orders.order_id,
    orders.source,
    orders.external_id,
    orders.version,
    orders.status,
    orders.status_rank,
    orders.status_since,
    orders.is_open,
    orders.held,
    orders.hold_reason,
    orders.assigned_to,
    orders.claimed_by,
    orders.note,
    orders.rush,
    orders.placed_at,
    orders.due_at,
    customers.tier,
    orders.customer_id,
    customers.external_id as customer_external_id,
    customers.name as customer_name,
    items.lines,
    items.pieces,
    items.materials,
    items.model_id,
    items.total,
    orders.currency,
    work.remaining_h,
    orders.is_open and orders.overdue as late,
    coalesce(orders.due_at, orders.placed_at + {{ var('lead_days') }} * interval '1 day')
    - interval '1 hour' * (
        work.remaining_h
        + case customers.tier
            when 'vip' then {{ var('vip_hours') }} when 'b2b' then {{ var('b2b_hours') }} else 0
        end
        + case when orders.rush then {{ var('rush_hours') }} else 0 end
    ) as latest_start_at,
    search.search_text,
    -- what of it fits an index beside the order of the list, whatever the note's length
    left(search.search_text, {{ var('search_start') }}) as search_start
from orders
inner join {{ ref('stg_mes__customers') }} as customers on orders.customer_id = customers.customer_id
left join lateral (
    select
        count(*)::integer as lines,
        sum(items.quantity)::integer as pieces,
        string_agg(distinct items.material, ', ' order by items.material) as materials,
        (array_agg(items.model_id order by items.line))[1] as model_id,
        -- unknown while any item has no price
        case when bool_and(quotes.quote_id is not null) then sum(quotes.total) end as total
    from {{ ref('stg_mes__items') }} as items
    left join {{ ref('stg_mes__quotes') }} as quotes on items.quote_id = quotes.quote_id
    where items.order_id = orders.order_id
) as items on true
left join lateral (
    select coalesce(sum(steps.fixed_h + steps.per_piece_h * coalesce(items.pieces, 1)), 0) as remaining_h
    from {{ ref('stage_work') }} as steps
    where
        orders.is_open
        and array_position((select enum_range(null::ops.order_status)::text[]), steps.leads_to) > orders.status_rank
) as work on true
cross join lateral (
    -- finished orders are found by their number and customer; a word begins after a space
    values (
        case
            when orders.is_open
                then lower(concat_ws(
                    ' ', '', orders.external_id, customers.external_id, customers.name, items.materials, orders.note
                ))
        end
    )
) as search (search_text)

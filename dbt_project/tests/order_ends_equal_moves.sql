-- one row per order whose first shipping or cancellation is not kept as its events say; of the events of 60 days
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'stg_mes__order_ends'}}}) }}

with moves as (
    select * from {{ ref('stg_mes__moves') }}
    where status in ('SHIPPED', 'CANCELLED') and occurred_at > now() - interval '60 days'
),

orders as (select * from {{ ref('stg_mes__orders') }}),

ends as (select * from {{ ref('stg_mes__order_ends') }})

select
    moves.order_id,
    moves.status,
    moves.occurred_at
from moves
inner join orders on moves.order_id = orders.order_id
left join ends on moves.order_id = ends.order_id
where
    case moves.status when 'SHIPPED' then ends.shipped_at else ends.cancelled_at end is null
    or case moves.status when 'SHIPPED' then ends.shipped_at else ends.cancelled_at end > moves.occurred_at

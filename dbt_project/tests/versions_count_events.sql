-- one row per order whose version is not the number of its events, or whose events have gaps or repeat a number
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'stg_mes__orders'}}}) }}

with counted as (
    select
        events.order_id,
        count(*) as events,
        count(distinct events.sequence) as numbers,
        min(events.sequence) as first_sequence,
        max(events.sequence) as last_sequence
    from {{ source('ops', 'order_events') }} as events
    group by events.order_id
)

select
    orders.order_id,
    orders.version,
    counted.events,
    counted.numbers,
    counted.first_sequence,
    counted.last_sequence
from {{ ref('stg_mes__orders') }} as orders
left join counted on orders.order_id = counted.order_id
where
    (orders.version, orders.version, 1, orders.version)
    is distinct from (counted.events, counted.numbers, counted.first_sequence, counted.last_sequence)

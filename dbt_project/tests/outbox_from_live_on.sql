-- one row per event that the outbox should hold and does not, or holds and should not: it speaks from live_from on
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'stg_mes__orders'}}}) }}

with events as (select * from {{ source('ops', 'order_events') }}),

-- a snapshot tells again, beside the events
outbox as (
    select * from {{ source('ops', 'outbox') }}
    where telling = 0
)

select
    coalesce(events.order_id, outbox.order_id) as order_id,
    coalesce(events.sequence, outbox.sequence) as sequence,
    orders.live_from,
    outbox.outbox_id
from {{ ref('stg_mes__orders') }} as orders
inner join events on orders.order_id = events.order_id
full join outbox on events.order_id = outbox.order_id and events.sequence = outbox.sequence
where
    (orders.live_from is not null and events.sequence >= orders.live_from)
    is distinct from (outbox.outbox_id is not null)

-- one row per order that order_list and its definition show differently, or that only one of them shows
--
-- Orders that wait for the refresher, that is, have a dirty mark, are left out.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'order_list'}}}) }}

with stored as (select * from {{ ref('order_list') }}),

live as (select * from {{ ref('order_list_live') }})

select
    coalesce(stored.order_id, live.order_id) as order_id,
    to_jsonb(stored) as in_table,
    to_jsonb(live) as in_view
from stored
full join live on stored.order_id = live.order_id
where
    to_jsonb(stored) is distinct from to_jsonb(live)
    and coalesce(stored.order_id, live.order_id) not in (
        select marks.order_id from {{ source('ops', 'dirty_orders') }} as marks
    )

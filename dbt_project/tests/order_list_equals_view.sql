-- one row per order that order_list and its definition show differently, or that only one of them shows
--
-- All open orders are compared, and the newest of all; older finished ones a part each day, by the asset check
-- order_list_is_true, which takes minutes for ten million. Orders that wait for the refresher, that is, have a dirty
-- mark, are left out.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'order_list'}}}) }}

with compared as (
    select listed.order_id from {{ ref('order_list') }} as listed
    where listed.is_open
    union
    (
        select listed.order_id from {{ ref('order_list') }} as listed
        order by listed.order_id desc
        limit {{ var('compared_orders') }}
    )
    union
    select orders.order_id from {{ ref('stg_mes__orders') }} as orders
    where orders.is_open
    union
    (
        select orders.order_id from {{ ref('stg_mes__orders') }} as orders
        order by orders.order_id desc
        limit {{ var('compared_orders') }}
    )
)

select
    compared.order_id,
    to_jsonb(stored) as in_table,
    to_jsonb(live) as in_view
from compared
left join {{ ref('order_list') }} as stored on compared.order_id = stored.order_id
left join {{ ref('order_list_live') }} as live on compared.order_id = live.order_id
where
    to_jsonb(stored) is distinct from to_jsonb(live)
    and compared.order_id not in (
        select marks.order_id from {{ source('ops', 'dirty_orders') }} as marks
    )

-- one row per open order whose words are sought in something else than the order list says, or not at all
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'order_list'}}}) }}

with listed as (
    select {{ searched() }}
    from {{ ref('order_list') }}
    where is_open
),

searched as (
    select {{ searched() }}
    from {{ ref('order_list').schema }}.open_search
)

select
    coalesce(listed.order_id, searched.order_id) as order_id,
    to_jsonb(listed) as in_list,
    to_jsonb(searched) as in_search
from listed
full join searched on listed.order_id = searched.order_id
where to_jsonb(listed) is distinct from to_jsonb(searched)

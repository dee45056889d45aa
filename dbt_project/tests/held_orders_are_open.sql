-- one row per order on hold that no work is left on: a finished or cancelled order is never held
{{ config(severity='error') }}

select
    orders.order_id,
    orders.status,
    orders.held_since,
    orders.hold_reason
from {{ ref('stg_mes__orders') }} as orders
where orders.held and not orders.is_open

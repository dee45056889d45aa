-- one row per order that was ever shipped or cancelled: when it first was, late facts included
select
    ends.order_id,
    ends.shipped_at,
    ends.cancelled_at
from {{ source('ops', 'order_ends') }} as ends

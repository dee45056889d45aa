-- one row per move of an order to a status, history included; late facts too, for they say when it was
select
    events.order_id,
    events.sequence,
    events.type as status,
    events.occurred_at,
    events.inferred
from {{ source('ops', 'order_events') }} as events
where events.type = upper(events.type)

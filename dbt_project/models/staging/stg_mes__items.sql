-- one row per item of an order
select
    items.order_id,
    items.line,
    items.model_id,
    items.material,
    items.finish,
    items.quantity,
    items.longest_side_mm,
    items.stones,
    items.engraving,
    items.quote_id
from {{ source('ops', 'order_items') }} as items

-- one row per item of an order: all that its price depends on
{{ config(materialized='view') }}

select
    items.order_id,
    items.line,
    items.model_id,
    geometries.kernel_version,
    geometries.volume_mm3,
    geometries.area_mm2,
    geometries.extent_x_mm,
    geometries.extent_y_mm,
    geometries.extent_z_mm,
    geometries.closed,
    geometries.facing,
    geometries.open_edges,
    geometries.box_length_mm,
    geometries.box_width_mm,
    geometries.box_height_mm,
    geometries.print_height_mm,
    geometries.support_mm3,
    geometries.detail,
    geometries.thinnest_mm,
    items.material,
    items.finish,
    items.quantity,
    items.longest_side_mm,
    items.stones,
    items.engraving,
    orders.rush,
    customers.tier,
    rate_cards.rate_card_id,
    orders.status,
    orders.is_open,
    orders.placed_at,
    items.quote_id
from {{ ref('stg_mes__items') }} as items
inner join {{ ref('stg_mes__orders') }} as orders on items.order_id = orders.order_id
inner join {{ ref('stg_mes__customers') }} as customers on orders.customer_id = customers.customer_id
left join lateral (
    select geometries.*
    from {{ ref('stg_mes__geometries') }} as geometries
    where geometries.model_id = items.model_id
    order by geometries.kernel_version desc
    limit 1
) as geometries on true
left join lateral (
    select rate_cards.rate_card_id
    from {{ ref('stg_mes__rate_cards') }} as rate_cards
    where rate_cards.valid_from <= orders.placed_at and rate_cards.valid_to > orders.placed_at
    order by rate_cards.valid_from desc, rate_cards.activated_at desc, rate_cards.rate_card_id desc
    limit 1
) as rate_cards on true

-- The newest export of every order that has anything new, among those whose models are all usable. Of two that say they
-- are equally new, the one that came later counts.
create temporary table export on commit drop as
with keys as (
    select 'shop' as source, external_id from raw.shop_orders where applied_at is null
    union
    select 'crm', external_id from raw.crm_orders where applied_at is null
    union
    select source, external_id from raw.crm_order_events where applied_at is null
    union
    select source, external_id from raw.legacy_status_history where applied_at is null
),

exported as (
    select 'shop' as source, 'shop_orders' as feed, shop_orders.* from raw.shop_orders
    inner join keys on keys.source = 'shop' and keys.external_id = shop_orders.external_id
    union all
    select 'crm', 'crm_orders', crm_orders.* from raw.crm_orders
    inner join keys on keys.source = 'crm' and keys.external_id = crm_orders.external_id
)

select distinct on (source, external_id) exported.*
from exported
where
    not exists (
        select from jsonb_array_elements(exported.items) as item
        left join raw.model_files on model_files.model = item ->> 'model'
        where model_files.model_id is null
    )
order by source asc, external_id asc, updated_at desc, loaded_at desc, file desc, line desc;

-- The orders of this transaction.
create temporary table batch on commit drop as
select source, external_id from pending where batch = :batch;
create unique index on batch (source, external_id);
analyze batch;

-- The newest export of each of them, among those whose models are all usable. Of two that say they
-- are equally new, the one that came later counts.
create temporary table exported on commit drop as
select 'shop' as source, 'shop_orders' as feed, shop_orders.* from raw.shop_orders
inner join batch on batch.source = 'shop' and batch.external_id = shop_orders.external_id
union all
select 'crm', 'crm_orders', crm_orders.* from raw.crm_orders
inner join batch on batch.source = 'crm' and batch.external_id = crm_orders.external_id;
analyze exported (source, external_id, row_hash);

-- by one join over all items; asked for each export, the same took 40 us
create temporary table unusable on commit drop as
select distinct exported.source, exported.external_id, exported.row_hash
from exported
cross join lateral jsonb_array_elements(exported.items) as item
left join raw.model_files on model_files.model = item ->> 'model'
where model_files.model_id is null;
analyze unusable;

create temporary table export on commit drop as
select distinct on (exported.source, exported.external_id) exported.*
from exported
where
    not exists (
        select from unusable
        where
            unusable.source = exported.source and unusable.external_id = exported.external_id
            and unusable.row_hash = exported.row_hash
    )
order by
    exported.source asc, exported.external_id asc,
    exported.updated_at desc, exported.loaded_at desc, exported.file desc, exported.line desc;
analyze export (source, external_id);

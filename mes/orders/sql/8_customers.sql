-- The customers of the new exports, each as his newest export has him.
insert into ops.customers as known (source, external_id, name, tier, exported_at)
select distinct on (source, customer_external_id) source, customer_external_id, customer_name, tier, updated_at
from export where applied_at is null
order by source asc, customer_external_id asc, updated_at desc, loaded_at desc, file desc, line desc
on conflict (source, external_id) do update
    set name = coalesce(excluded.name, known.name), tier = excluded.tier, exported_at = excluded.exported_at
    where
    excluded.exported_at >= coalesce(known.exported_at, '-infinity')
    and (known.name, known.tier) is distinct from (coalesce(excluded.name, known.name), excluded.tier);

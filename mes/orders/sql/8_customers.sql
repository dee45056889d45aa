-- The customers of the new exports, each as his newest export has him.
insert into ops.customers as known (source, external_id, name, tier)
select distinct on (source, customer_external_id) source, customer_external_id, customer_name, tier
from export where applied_at is null
order by source asc, customer_external_id asc, updated_at desc
on conflict (source, external_id) do update
    set name = coalesce(excluded.name, known.name), tier = excluded.tier
    where (known.name, known.tier) is distinct from (coalesce(excluded.name, known.name), excluded.tier);

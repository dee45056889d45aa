-- The orders that have something new, in batches; an order's exports and facts are in one.
create temporary table pending on commit preserve rows as
with keys as (
    select 'shop' as source, external_id from raw.shop_orders where applied_at is null
    union
    select 'crm', external_id from raw.crm_orders where applied_at is null
    union
    select source, external_id from raw.crm_order_events where applied_at is null
    union
    select source, external_id from raw.legacy_status_history where applied_at is null
)

select source, external_id, (row_number() over (order by source, external_id) - 1) / :orders as batch from keys;
analyze pending;
select coalesce(max(batch) + 1, 0) from pending;

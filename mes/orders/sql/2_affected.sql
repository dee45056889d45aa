-- `version` 0 and no status: a new order. Existing ones stay locked until the transaction ends.
create temporary table affected on commit drop as
with keys as (
    select source, external_id from export
    union
    select batch.* from batch inner join raw.crm_order_events as facts using (source, external_id)
    where facts.applied_at is null
    union
    select batch.* from batch inner join raw.legacy_status_history as facts using (source, external_id)
    where facts.applied_at is null
),

existing as (
    select orders.* from ops.orders inner join keys using (source, external_id)
    order by orders.order_id for no key update of orders
)

select
    keys.source,
    keys.external_id,
    starts.recorded as starts_recorded,
    coalesce(existing.order_id, uuidv7()) as order_id,
    existing.order_id is null as is_new, existing.status, coalesce(existing.version, 0) as version,
    existing.live_from, existing.held_since is not null as held,
    coalesce(export.placed_at, existing.placed_at) as placed_at,
    export.status as declared, coalesce(export.updated_at, '-infinity') as declared_at,
    export.source is not null and export.applied_at is null
    and export.updated_at >= coalesce(existing.exported_at, '-infinity') as has_new_export
from keys
left join existing using (source, external_id)
left join export using (source, external_id)
left join lateral (
    select count(*) as recorded from ops.order_events as events
    where events.order_id = existing.order_id and events.type = 'MANUFACTURING_STARTED' and not events.late
) as starts on true
where existing.order_id is not null or export.source is not null;
create unique index on affected (source, external_id);
analyze affected;

-- History is not told to other systems; an order that lives here already tells everything from then on.
with added as (
    select
        order_id, 0 as phase, type as stage, 1::bigint as round, type as status, type::text as type, occurred_at,
        system, source_event_id, false as inferred, true as late, null::text as reason, null::jsonb as data
    from late_fact
    union all
    select
        order_id, 1, stage, round, status, status::text, occurred_at, system, source_event_id, inferred, false,
        case when round > 1 and status = 'MANUFACTURING_STARTED' then 'rework, as reported' end, null
    from chain
    union all
    select
        edit.order_id, 2, null, 1, null, 'edited', affected.declared_at, affected.source, null, false, false,
        'a later export', edit.changes
    from edit inner join affected using (order_id)
),

numbered as (
    select
        added.*, affected.live_from is not null as live,
        case added.phase when 0 then affected.status when 1 then added.status else target.status end as stood_at,
        affected.version + row_number() over (
            partition by added.order_id
            order by added.phase, added.stage, added.round, added.status, added.occurred_at
        ) as sequence
    from added
    inner join affected using (order_id)
    inner join target using (order_id)
),

recorded as (
    insert into ops.order_events (
        order_id, sequence, type, occurred_at, system, actor, reason, live, inferred, late,
        source_event_id, data
    )
    select order_id, sequence, type, occurred_at, system, 'import', reason, live, inferred, late, source_event_id, data
    from numbered
    returning order_id
),

told as (
    insert into ops.outbox (order_id, sequence, event)
    select
        orders.order_id, numbered.sequence, ops.cloud_event(
            orders.order_id, orders.source, orders.external_id,
            numbered.stood_at, numbered.sequence::integer, orders.held_since is not null, numbered.type,
            numbered.occurred_at, numbered.system, 'import', numbered.reason, numbered.data
        )
    from numbered inner join ops.orders using (order_id)
    where numbered.live
)

select count(*) from recorded;

-- All facts about the affected orders, old and new; the same fact from two senders counts once.
create temporary table fact on commit drop as
with reported as (
    select
        affected.order_id, 'crm' as system, 'crm_order_events' as feed, facts.event_id as source_event_id,
        facts.type, facts.occurred_at, facts.file, facts.line, facts.applied_at is null as is_new
    from raw.crm_order_events as facts inner join affected using (source, external_id)
    union all
    select
        affected.order_id, 'mes', 'legacy_status_history', null,
        facts.type, facts.occurred_at, facts.file, facts.line, facts.applied_at is null
    from raw.legacy_status_history as facts inner join affected using (source, external_id)
),

once as (
    select distinct on (order_id, type, occurred_at) * from reported
    order by order_id, type, occurred_at, is_new, feed
)

select *, row_number() over (partition by order_id, type order by occurred_at) as nth from once;
create index on fact (order_id);
analyze fact;

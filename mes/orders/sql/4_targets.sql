-- Where each order ends up: what its export declares, or what newer facts say, never back. `reached` is how far it came
-- in the life of an order that is not cancelled.
create temporary table target on commit drop as
with decided as (
    select
        affected.order_id,
        case
            when affected.status in ('CLOSED', 'CANCELLED') then affected.status
            when stands.status in ('CLOSED', 'CANCELLED') then stands.status
            when facts.cancelled and greatest(stands.status, facts.furthest) < 'SHIPPED' then 'CANCELLED'
            else greatest(stands.status, facts.furthest)
        end as status,
        greatest(affected.status, facts.furthest_unshipped, 'SUBMITTED') as reached_unshipped,
        -- how often it was started: rework that comes later goes on where the order stands
        case
            when affected.status >= 'MANUFACTURING_COMPLETED' then 1
            else greatest(facts.starts, affected.starts_recorded, 1)
        end as rounds
    from affected
    cross join
        lateral (
            select case
                when affected.is_new then affected.declared
                when not affected.has_new_export then affected.status
                when affected.declared = 'CANCELLED' and affected.status >= 'SHIPPED' then affected.status
                else greatest(affected.status, affected.declared)
            end as status
        ) as stands
    cross join lateral (
        select
            max(type) filter (where type <> 'CANCELLED' and is_new and occurred_at > declared_at) as furthest,
            max(type) filter (where type < 'SHIPPED') as furthest_unshipped,
            coalesce(bool_or(type = 'CANCELLED' and is_new and occurred_at > declared_at), false) as cancelled,
            count(*) filter (where type = 'MANUFACTURING_STARTED') as starts
        from fact where fact.order_id = affected.order_id
    ) as facts
)

select order_id, status, rounds, case status when 'CANCELLED' then reached_unshipped else status end as reached
from decided;
create unique index on target (order_id);
analyze target;

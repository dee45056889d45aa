-- The moves that bring each order there, in the order of life; rework repeats start and completion. A move that no fact
-- reports is inferred to have happened by the time of the next one that is known.
create temporary table chain on commit drop as
with statuses as (
    select
        status,
        case status when 'MANUFACTURING_COMPLETED' then 'MANUFACTURING_STARTED' else status end as stage
    from unnest(enum_range(null::ops.order_status)) as status
),

steps as (
    select
        affected.order_id, statuses.status, round, statuses.stage
    from affected
    inner join target using (order_id)
    inner join statuses
        on
            (
                affected.is_new or statuses.status > affected.status
                or affected.status = 'MANUFACTURING_STARTED' and statuses.status = affected.status
            )
            and (
                statuses.status <= target.reached
                or statuses.status = 'CANCELLED' and target.status = 'CANCELLED'
                or statuses.status = 'MANUFACTURING_COMPLETED' and target.reached = 'MANUFACTURING_STARTED'
            )
            and (statuses.status <> 'INITIATED' or target.status = 'INITIATED' or exists (
                select from fact where fact.order_id = affected.order_id and fact.type = 'INITIATED'
            ))
    cross join
        lateral generate_series(1, case statuses.status
            when 'MANUFACTURING_STARTED' then target.rounds
            when 'MANUFACTURING_COMPLETED'
                then
                    target.rounds - case when target.reached = 'MANUFACTURING_STARTED' then 1 else 0 end
            else 1
        end) as round
    where  -- an order in production goes on after the start that it stands at
        affected.status is distinct from 'MANUFACTURING_STARTED' or statuses.stage <> affected.status
        or (round, statuses.status) > (greatest(affected.starts_recorded, 1), affected.status)
),

told as (
    select
        steps.*,
        fact.order_id is null and steps.status <> 'SUBMITTED' as inferred,
        case
            when steps.status = 'SUBMITTED' then coalesce(fact.occurred_at, affected.placed_at)
            else fact.occurred_at
        end as known_at,
        coalesce(fact.system, case when steps.status = 'SUBMITTED' then affected.source else 'mes' end) as system,
        fact.source_event_id, affected.declared_at, affected.placed_at
    from steps
    inner join affected using (order_id)
    left join fact on fact.order_id = steps.order_id and fact.type = steps.status and fact.nth = steps.round
)

select
    order_id, status, round, stage, inferred, system, source_event_id,
    coalesce(
        known_at,
        min(known_at) over (
            partition by order_id order by stage, round, status rows between current row and unbounded following
        ),
        max(known_at) over (partition by order_id),
        nullif(declared_at, '-infinity'), placed_at
    ) as occurred_at
from told;
create index on chain (order_id);
analyze chain;

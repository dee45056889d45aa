-- one row per week that throughput_weekly and its definition show differently, or that only one of them shows
--
-- What waits to be counted, that is, has a mark, is left out; of many orders, not all weeks are compared each day.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'throughput_weekly'}}}) }}

with carried as (
    select
        *,
        sum(placed - finished - cancelled) over (order by week) as standing
    from {{ ref('throughput_weekly') }}
),

stored as (
    select * from carried
    where {{ compared_weeks() }}
),

live as (
    select * from {{ ref('throughput_weekly_live') }}
    where {{ compared_weeks() }}
)

select
    coalesce(stored.week, live.week) as week,
    to_jsonb(stored) as in_table,
    to_jsonb(live) as in_view
from stored
full join live on stored.week = live.week
where
    (
        to_jsonb(stored) - '{in_progress,refreshed_at,standing}'::text[] is distinct from to_jsonb(live)
        or stored.in_progress is distinct from stored.standing
    )
    and coalesce(stored.week, live.week) not in (
        select date_trunc('week', marks.day)::date from {{ source('ops', 'changed_days') }} as marks
        union all
        select marks.week from {{ source('ops', 'changed_weeks') }} as marks
    )

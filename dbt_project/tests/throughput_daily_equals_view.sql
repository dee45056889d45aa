-- one row per day that throughput_daily and its definition show differently, or that only one of them shows
--
-- What waits to be counted, that is, has a mark, is left out; of many orders, not all weeks are compared each day.
{{ config(severity='error', meta={'dagster': {'ref': {'name': 'throughput_daily'}}}) }}

with carried as (
    select
        *,
        sum(placed - finished - cancelled) over (order by day) as standing
    from {{ ref('throughput_daily') }}
),

stored as (
    select * from carried
    where {{ compared_weeks() }}
),

live as (
    select * from {{ ref('throughput_daily_live') }}
    where {{ compared_weeks() }}
)

select
    coalesce(stored.day, live.day) as day,
    to_jsonb(stored) as in_table,
    to_jsonb(live) as in_view
from stored
full join live on stored.day = live.day
where
    (
        to_jsonb(stored) - '{in_progress,refreshed_at,standing}'::text[] is distinct from to_jsonb(live)
        or stored.in_progress is distinct from stored.standing
    )
    and coalesce(stored.day, live.day) not in (
        select marks.day from {{ source('ops', 'changed_days') }} as marks
    )

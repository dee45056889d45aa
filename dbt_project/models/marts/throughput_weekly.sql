-- one row per week (Monday, UTC) with any order placed or ended: flow, work in progress, lateness, cycle time
{{ config(
    materialized='materialized_view',
    indexes=[{'columns': ['week'], 'unique': True}],
    post_hook="{{ remember_definition() }}"
) }}

with ends as (
    select
        moves.order_id,
        min(moves.occurred_at) filter (where moves.status = 'SHIPPED') as shipped_at,
        min(moves.occurred_at) filter (where moves.status = 'CANCELLED') as cancelled_at
    from {{ ref('stg_mes__moves') }} as moves
    where moves.status in ('SHIPPED', 'CANCELLED')
    group by moves.order_id
),

lives as (
    select
        orders.placed_at,
        orders.due_at,
        case when orders.status <> 'CANCELLED' then ends.shipped_at end as finished_at,
        case when orders.status = 'CANCELLED' then ends.cancelled_at end as cancelled_at
    from {{ ref('stg_mes__orders') }} as orders
    left join ends on orders.order_id = ends.order_id
),

weekly as (
    select
        date_trunc('week', happened.at at time zone 'UTC')::date as week,
        count(*) filter (where happened.what = 'placed') as placed,
        count(*) filter (where happened.what = 'finished') as finished,
        count(*) filter (where happened.what = 'finished' and happened.at > lives.due_at) as finished_late,
        count(*) filter (where happened.what = 'cancelled') as cancelled,
        percentile_cont(0.5) within group (order by extract(epoch from happened.at - lives.placed_at) / 86400)
        filter (where happened.what = 'finished' and happened.at >= lives.placed_at) as cycle_days_median
    from lives
    cross join
        lateral (
            values ('placed', lives.placed_at), ('finished', lives.finished_at), ('cancelled', lives.cancelled_at)
        ) as happened (what, at)
    where happened.at is not null
    group by week
)

select
    weekly.week,
    weekly.placed,
    weekly.finished,
    weekly.finished_late,
    weekly.cancelled,
    weekly.cycle_days_median,
    sum(weekly.placed - weekly.finished - weekly.cancelled) over (order by weekly.week) as in_progress
from weekly

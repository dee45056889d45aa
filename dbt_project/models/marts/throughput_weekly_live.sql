-- one row per week (Monday, UTC) in which any order was placed or ended; the one definition of throughput_weekly
{{ config(materialized='view') }}

select
    flow.week,
    count(*) filter (where flow.what = 'placed') as placed,
    count(*) filter (where flow.what = 'finished') as finished,
    count(*) filter (where flow.late) as finished_late,
    count(*) filter (where flow.what = 'cancelled') as cancelled,
    percentile_cont(0.5) within group (order by flow.cycle_days) as cycle_days_median
from {{ ref('order_flow') }} as flow
group by flow.week

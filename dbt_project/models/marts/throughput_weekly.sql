-- one row per week (Monday, UTC) with any order placed or ended: throughput_weekly_live, held; only weeks of days that
-- changed are counted, after those days
-- depends_on: {{ ref('throughput_daily') }}
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    pre_hook="{{ take_changed_weeks() }}",
    post_hook=["{{ carry_in_progress('week') }}", "{{ ensure_indexes(this) }}", "{{ remember_definition() }}"],
    meta={'indexes': {'key': 'unique (week)'}}
) }}

select
    live.*,
    null::bigint as in_progress,  -- carried over from week to week once they stand
    now() as refreshed_at
from {{ ref('throughput_weekly_live') }} as live
{% if is_incremental() %}
    where live.week = any(current_setting('mes.changed_weeks')::date[])
{% endif %}

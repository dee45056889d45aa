-- one row per day (UTC) with any order placed or ended: throughput_daily_live, held; only days that changed are counted
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    pre_hook="{{ take_changed_days() }}",
    post_hook=["{{ carry_in_progress('day') }}", "{{ ensure_indexes(this) }}", "{{ remember_definition() }}"],
    meta={'indexes': {'key': 'unique (day)'}}
) }}

select
    live.*,
    null::bigint as in_progress,  -- carried over from day to day once they stand
    now() as refreshed_at
from {{ ref('throughput_daily_live') }} as live
{% if is_incremental() %}
    where
        live.week = any(current_setting('mes.changed_weeks')::date[])
        and live.day = any(current_setting('mes.changed_days')::date[])
{% endif %}

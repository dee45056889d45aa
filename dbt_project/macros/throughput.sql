{#
  How the throughput reports follow what changed.

  Triggers mark the days that a change touches in ops.changed_days, in the change's own transaction. A run takes the
  marks and counts those days anew in one transaction, so that no change is missed however late it commits, and a run
  that fails leaves the marks. The weeks of the days are marked for the weekly report likewise.

  What was taken is handed to the model as a setting of the transaction: as a constant it reaches through the grouping
  down to the indexes, which a subquery would not.
#}
{% macro take_changed_days() %}
    {%- if report_exists() -%}
        with taken as (delete from ops.changed_days returning day, marked_at),

        forwarded as (
            insert into ops.changed_weeks (week, marked_at)
            select date_trunc('week', day)::date, min(marked_at) from taken group by 1
        )

        select
            set_config('mes.changed_days', coalesce(array_agg(distinct day), '{}')::text, true),
            set_config('mes.changed_weeks', coalesce(array_agg(distinct date_trunc('week', day)::date), '{}')::text, true)
        from taken;
        delete from {{ this }} where day = any(current_setting('mes.changed_days')::date[])
    {%- else -%}
        with taken as (delete from ops.changed_days returning day, marked_at)

        insert into ops.changed_weeks (week, marked_at)
        select date_trunc('week', day)::date, min(marked_at) from taken group by 1
    {%- endif -%}
{% endmacro %}


{% macro take_changed_weeks() %}
    {%- if report_exists() -%}
        with taken as (delete from ops.changed_weeks returning week)

        select set_config('mes.changed_weeks', coalesce(array_agg(distinct week), '{}')::text, true) from taken;
        delete from {{ this }} where week = any(current_setting('mes.changed_weeks')::date[])
    {%- else -%}
        delete from ops.changed_weeks
    {%- endif -%}
{% endmacro %}


{# False when the report is filled whole: the first time, or because its definition changed. #}
{% macro report_exists() %}
    {%- if not execute -%} {{ return(false) }} {%- endif -%}
    {%- set existing = load_cached_relation(this) -%}
    {{ return(existing is not none and existing.type == 'table' and not should_full_refresh()) }}
{% endmacro %}


{# A change in 2019 is felt by all weeks since; only rows that it changes are written. #}
{% macro carry_in_progress(period) %}
    update {{ this }} as report set in_progress = standing.in_progress
    from (
        select {{ period }}, (sum(placed - finished - cancelled) over (order by {{ period }}))::bigint as in_progress
        from {{ this }}
    ) as standing
    where report.{{ period }} = standing.{{ period }} and report.in_progress is distinct from standing.in_progress
{% endmacro %}

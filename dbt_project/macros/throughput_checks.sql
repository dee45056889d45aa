{#
  Which weeks a test compares with the whole computation: all of them while there are few orders. With many that takes
  minutes, so the last nine and a different 26th of all others each day: half a year proves every week.
#}
{% macro compared_weeks() %}
    {%- if not execute -%} {{ return('true') }} {%- endif -%}
    {%- set orders = run_query("select reltuples from pg_class where oid = 'ops.orders'::regclass").columns[0][0] -%}
    {%- if orders < 200000 -%} {{ return('true') }} {%- endif -%}
    {%- set date = modules.datetime.date -%}
    {%- set today = date.today().toordinal() -%}
    {%- set monday = today - (today - 1) % 7 -%}
    {%- set weeks = [] -%}
    {%- set first = date(1990, 1, 1).toordinal() -%}
    {%- for number in range((monday + 364 - first) // 7 + 1) -%}
        {%- set week = first + 7 * number -%}
        {%- if number % 26 == today % 26 or monday - 56 <= week <= monday -%}
            {%- do weeks.append(date.fromordinal(week).isoformat()) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return("week = any('{" ~ weeks | join(',') ~ "}'::date[])") }}
{% endmacro %}

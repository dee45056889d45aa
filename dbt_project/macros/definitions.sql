{#
  A hash of all that decides the order list's columns besides the orders: its view, the views below, the working times.
  A change of these marks no order dirty, so the table remembers the hash that it was filled by, as its comment.
#}
{% macro order_list_definition() %}
    {%- set staging = ref('stg_mes__orders').schema -%}
    {{ return(run_query(
        "select 'definition ' || md5(concat("
        ~ "pg_get_viewdef('" ~ ref('order_list_live') ~ "'::regclass), "
        ~ "(select string_agg(pg_get_viewdef(format('%I.%I', schemaname, viewname)::regclass), ';' order by viewname) "
        ~ "from pg_views where schemaname = '" ~ staging ~ "'), "
        ~ "(select string_agg(steps::text, ';' order by steps.leads_to) from " ~ ref('stage_work') ~ " as steps)))"
    ).columns[0][0]) }}
{% endmacro %}


{% macro order_list_definition_changed() %}
    {%- set remembered = run_query("select obj_description('" ~ this ~ "'::regclass, 'pg_class')").columns[0][0] -%}
    {{ return(remembered != order_list_definition()) }}
{% endmacro %}


{% macro remember_order_list_definition() %}
    {%- if execute -%} comment on table {{ this }} is '{{ order_list_definition() }}' {%- endif -%}
{% endmacro %}

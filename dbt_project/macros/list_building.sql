{#
  How dbt and the refreshers share the order list.

  A run that merges what changed holds `refresh_lock` alone, which refreshers share, and takes the dirty marks with the
  work. A run that fills the list anew may take minutes, in which the old list goes on being refreshed and read: it
  holds `rebuild_lock`, by which refreshers know to note in ops.merged_orders what they merge, builds beside the old
  list, catches up with those notes, and holds `refresh_lock` only for the last of them and the swap.
#}
{% macro begin_list() %}
    {%- if not execute -%}
        select 1
    {%- elif list_exists() and should_full_refresh() -%}
        select pg_advisory_xact_lock({{ var('rebuild_lock') }});
        delete from ops.merged_orders;
    {%- elif list_exists() -%}
        select pg_advisory_xact_lock({{ var('refresh_lock') }});
        create temporary table taken_marks on commit drop as
        with taken as (delete from ops.dirty_orders returning order_id) select distinct order_id from taken;
    {%- else -%}
        delete from ops.dirty_orders;
    {%- endif -%}
{% endmacro %}


{% macro list_exists() %}
    {{ return(load_cached_relation(this) is not none) }}
{% endmacro %}


{# The new list before it takes the old one's place: indexed, known to the planner, up to date, counted, searched. #}
{% macro finish_list(relation) %}
    {%- do ensure_indexes(relation) -%}
    {%- do run_query(
        'alter table ' ~ relation ~ ' set (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, '
        ~ 'autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01)'
    ) -%}
    {%- do run_query('analyze ' ~ relation) -%}
    {%- do catch_up(relation) -%}
    {%- do run_query('create temporary table fresh_counts on commit drop as ' ~ counts_of(relation)) -%}
    {%- do count_by_trigger(relation) -%}
    {%- do build_search(relation) -%}
    {%- do run_query('select pg_advisory_xact_lock(' ~ var('refresh_lock') ~ ')') -%}
    {%- do replace_counts('table fresh_counts') -%}
    {%- do catch_up(relation) -%}
    {%- do catch_up_search(relation) -%}
    {%- do swap_search(relation) -%}
{% endmacro %}


{% macro catch_up(relation) %}
    {%- set columns = adapter.get_columns_in_relation(relation) | map(attribute='quoted') | list -%}
    {%- set updates = [] -%}
    {%- for column in columns -%} {%- do updates.append(column ~ ' = live.' ~ column) -%} {%- endfor -%}
    {%- do run_query('drop table if exists pg_temp.missed') -%}
    {%- do run_query(
        'create temporary table missed on commit drop as with taken as (delete from ops.merged_orders '
        ~ 'returning order_id) select distinct order_id from taken'
    ) -%}
    {%- do run_query('analyze missed') -%}
    {%- do run_query(
        'merge into ' ~ relation ~ ' as list using (select * from ' ~ ref('order_list_live') ~ ' where order_id in '
        ~ '(select missed.order_id from missed)) as live on list.order_id = live.order_id '
        ~ 'when matched then update set ' ~ updates | join(', ')
        ~ ' when not matched then insert (' ~ columns | join(', ') ~ ') values (live.'
        ~ columns | join(', live.') ~ ')'
    ) -%}
    {%- do run_query(
        'delete from ' ~ relation ~ ' as list using missed where list.order_id = missed.order_id '
        ~ 'and not exists (select from ops.orders where orders.order_id = missed.order_id)'
    ) -%}
{% endmacro %}


{# dbt asks for indexes before a rebuilt table takes the old one's place, so that nobody waits while they are made. #}
{% macro postgres__create_indexes(relation) %}
    {%- if this.identifier == 'order_list' -%}
        {%- do finish_list(relation) -%}
    {%- elif 'indexes' in config.get('meta', {}) -%}
        {%- do ensure_indexes(relation) -%}
    {%- else -%}
        {%- do default__create_indexes(relation) -%}
    {%- endif -%}
{% endmacro %}

{#
  What open orders are searched in by words: kept beside the order list, in marts.open_search, by triggers on the list.

  An index of trigrams takes a new version of a row in by each of its trigrams. In the list every move of an order makes
  one, though the order says the same as before; here a row that says the same stays on its page without any index
  being touched, as long as none of the columns that change is indexed. So those that a search is narrowed by stand
  beside the text, unindexed. Finished orders are not in it.
#}
{% macro searched_columns() %}
    {{ return(['order_id', 'status', 'assigned_to', 'customer_id', 'late', 'held', 'latest_start_at', 'search_text']) }}
{% endmacro %}


{% macro searched() %}{{ searched_columns() | join(', ') }}{% endmacro %}


{% macro search_relation(suffix='') %}
    {{ return(api.Relation.create(schema=this.schema, identifier='open_search' ~ suffix)) }}
{% endmacro %}


{# Make it anew from a list, beside the one that is in use. #}
{% macro build_search(relation) %}
    {%- set next = search_relation('_next') -%}
    {%- do run_query('drop table if exists ' ~ next) -%}
    {%- do run_query(
        'create table ' ~ next ~ ' with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, '
        ~ 'autovacuum_analyze_scale_factor = 0.05) as select ' ~ searched() ~ ' from ' ~ relation
        ~ ' where is_open'
    ) -%}
    {%- do run_query('create unique index on ' ~ next ~ ' (order_id)') -%}
    {%- do run_query(
        'create index on ' ~ next ~ ' using gin (search_text gin_trgm_ops) with (gin_pending_list_limit = 256)'
    ) -%}
    {%- do run_query('analyze ' ~ next) -%}
{% endmacro %}


{# Put the new one in the old one's place; from now on the list keeps it. Readers have the list before they have this. #}
{% macro swap_search(relation) %}
    {%- if list_exists() -%}
        {%- do run_query('lock table ' ~ this ~ ' in access exclusive mode') -%}
    {%- endif -%}
    {%- do run_query('drop table if exists ' ~ search_relation()) -%}
    {%- do run_query('alter table ' ~ search_relation('_next') ~ ' rename to ' ~ search_relation().identifier) -%}
    {%- do keep_by_triggers(relation, 'search', 'keep_open_search', searching_function()) -%}
{% endmacro %}


{# Rows that the list took in since the new one was made from it; catch_up names them. #}
{% macro catch_up_search(relation) %}
    {%- set next = search_relation('_next') -%}
    {%- do run_query('delete from ' ~ next ~ ' where order_id in (select missed.order_id from missed)') -%}
    {%- do run_query(
        'insert into ' ~ next ~ ' select ' ~ searched() ~ ' from ' ~ relation
        ~ ' where is_open and order_id in (select missed.order_id from missed)'
    ) -%}
{% endmacro %}


{% macro searching_function() %}
    {%- set columns = searched() -%}
    {%- set updates = [] -%}
    {%- for column in searched_columns() if column != 'order_id' -%}
        {%- do updates.append(column ~ ' = excluded.' ~ column) -%}
    {%- endfor -%}
    create or replace function {{ this.schema }}.keep_open_search() returns trigger language plpgsql as $$
    begin
        if tg_op = 'DELETE' then
            delete from {{ search_relation() }} as kept using old_rows as gone where kept.order_id = gone.order_id;
        else
            insert into {{ search_relation() }} ({{ columns }}) select {{ columns }} from new_rows where is_open
            on conflict (order_id) do update set {{ updates | join(', ') }};
        end if;
        if tg_op = 'UPDATE' then
            delete from {{ search_relation() }} as kept using new_rows as ended
            where kept.order_id = ended.order_id and not ended.is_open;
        end if;
        return null;
    end $$
{% endmacro %}


{# After a run that merged what changed: what is searched may be made otherwise than before. #}
{% macro ensure_search() %}
    {%- if execute -%}
        {%- if not kept_by('keep_open_search', searching_function()) -%}
            {%- do run_query('select pg_advisory_xact_lock(' ~ var('refresh_lock') ~ ')') -%}
            {%- do build_search(this) -%}
            {%- do swap_search(this) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

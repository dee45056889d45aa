{#
  Views are replaced in place. dbt's own way drops the old view with all that depends on it, so that between two
  statements the order list has no definition and the throughput report is gone. Postgres replaces a view in place as
  long as its columns stay, with their types and order, and new ones come last: so a view keeps the order its columns
  were created in, whatever the model's. Only when a column goes or changes its type is the old view dropped, in the
  transaction that makes the new one. A definition that did not change is not touched, since replacing it would wait
  for, and then stop, all who read it.
#}
{% materialization view, adapter='postgres' %}
    {%- set existing = load_cached_relation(this) -%}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- set definition, change = view_change(existing, sql) -%}
    {%- if change == 'drop' -%}
        {{ adapter.drop_relation(existing) }}
    {%- endif -%}
    {%- if change == 'none' -%}
        {% call noop_statement('main', 'UNCHANGED', 'UNCHANGED', '0') -%} {{ definition }} {%- endcall %}
    {%- else -%}
        {% call statement('main') -%}
            create or replace view {{ target_relation }} as (
            {{ definition }}
            );
        {%- endcall %}
    {%- endif -%}
    {% do apply_grants(target_relation, config.get('grants'), should_revoke=True) %}
    {% do persist_docs(target_relation, model) %}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {{ adapter.commit() }}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{# What to define the view as, and how it gets there: `none`, `replace` or `drop` (the old one, first). #}
{% macro view_change(existing, sql) %}
    {%- if existing is none -%} {{ return((sql, 'replace')) }} {%- endif -%}
    {%- if not existing.is_view -%} {{ return((sql, 'drop')) }} {%- endif -%}
    {%- set candidate = 'pg_temp.' ~ this.identifier ~ '__candidate' -%}
    {% do define_candidate(candidate, sql) %}
    {%- set ours = view_columns(existing) -%}
    {%- set theirs = view_columns(candidate) -%}
    {%- set gone = ours | reject('in', theirs) | list -%}
    {%- set definition = sql -%}
    {%- if not gone and theirs[:ours | length] != ours -%}
        {%- set names = (ours + theirs | reject('in', ours) | list) | map('first') | map('tojson') | join(', ') -%}
        {%- set definition = 'select ' ~ names ~ ' from (' ~ sql ~ ') as reordered' -%}
        {% do define_candidate(candidate, definition) %}
    {%- endif -%}
    {%- set same = run_query(
        "select pg_get_viewdef('" ~ existing ~ "'::regclass) = pg_get_viewdef('" ~ candidate ~ "'::regclass)"
    ).columns[0][0] -%}
    {% do run_query('drop view ' ~ candidate) %}
    {{ return((definition, 'drop' if gone else 'none' if same else 'replace')) }}
{% endmacro %}


{% macro define_candidate(candidate, sql) %}
    {% call statement('candidate') -%}
        drop view if exists {{ candidate }};
        create temporary view {{ candidate.removeprefix('pg_temp.') }} as (
        {{ sql }}
        );
    {%- endcall %}
{% endmacro %}


{% macro view_columns(view) %}
    {%- set found = run_query(
        "select attname, format_type(atttypid, atttypmod), attcollation::text from pg_attribute "
        ~ "where attrelid = '" ~ view ~ "'::regclass and attnum > 0 and not attisdropped order by attnum"
    ) -%}
    {%- set columns = [] -%}
    {%- for row in found.rows -%}
        {%- do columns.append((row[0], row[1], row[2])) -%}
    {%- endfor -%}
    {{ return(columns) }}
{% endmacro %}


{# A plain refresh locks readers out for as long as it takes; this one needs the view's unique index. #}
{% macro postgres__refresh_materialized_view(relation) %}
    refresh materialized view concurrently {{ relation }}
{% endmacro %}

{#
  What is held (the order list, the reports) is filled anew when its definition changed: a changed view or working time
  marks no order dirty, and dbt ignores a changed query of a materialized view. The new one is made, indexes included,
  beside the old one and takes its place in one transaction, as in a full refresh. So `--full-refresh` is never needed.
#}
{% macro should_full_refresh() %}
    {%- set asked = config.get('full_refresh') -%}
    {%- if asked is none -%} {%- set asked = flags.FULL_REFRESH -%} {%- endif -%}
    {{ return(asked or definition_changed()) }}
{% endmacro %}


{# The definition's hash is the comment of what it filled. #}
{% macro remember_definition() %}
    {%- if execute -%}
        comment on {{ 'table' if config.get('materialized') == 'incremental' else 'materialized view' }} {{ this }}
        is '{{ definition_hash() }}'
    {%- endif -%}
{% endmacro %}


{% macro definition_changed() %}
    {%- if not execute or config.get('materialized') not in ('incremental', 'materialized_view') -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set found = run_query(
        "select obj_description(oid, 'pg_class') from pg_class where oid = to_regclass('" ~ this ~ "')"
    ).columns[0].values() -%}
    {{ return(found | length > 0 and found[0] != definition_hash()) }}
{% endmacro %}


{# Of a materialized view's own query, of all views below (settings included) and of all seeds below. #}
{% macro definition_hash() %}
    {%- set parts = [] -%}
    {%- if config.get('materialized') == 'materialized_view' -%}
        {%- do parts.append("'" ~ local_md5(model.raw_code) ~ "'") -%}
    {%- endif -%}
    {%- for id in nodes_below(model.depends_on.nodes, []) | sort -%}
        {%- set node = graph.nodes[id] -%}
        {%- if node.resource_type == 'seed' -%}
            {%- do parts.append(
                "(select string_agg(seed::text, ';' order by seed::text) from "
                ~ node.schema ~ '.' ~ node.alias ~ ' as seed)'
            ) -%}
        {%- elif node.config.materialized == 'view' -%}
            {%- do parts.append("pg_get_viewdef(to_regclass('" ~ node.schema ~ '.' ~ node.alias ~ "'))") -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(run_query("select md5(concat(" ~ parts | join(', ') ~ "))").columns[0][0]) }}
{% endmacro %}


{% macro nodes_below(ids, found) %}
    {%- for id in ids if id in graph.nodes and id not in found -%}
        {%- do found.append(id) -%}
        {%- do nodes_below(graph.nodes[id].depends_on.nodes, found) -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

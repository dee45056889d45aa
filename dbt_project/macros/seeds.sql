{#
  A seed is emptied by a delete. dbt's truncate waits for whoever reads the table, a backup for instance, and meanwhile
  stops all others; and those who read an older snapshot would find the table empty.
#}
{% macro postgres__reset_csv_table(model, full_refresh, old_relation, agate_table) %}
    {%- if full_refresh -%}
        {{ return(default__reset_csv_table(model, full_refresh, old_relation, agate_table)) }}
    {%- endif -%}
    {%- set emptying = 'delete from ' ~ old_relation -%}
    {%- do run_query(emptying) -%}
    {{ return(emptying) }}
{% endmacro %}

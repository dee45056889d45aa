{#
  What is kept with the order list (its counts, what open orders are searched in) is kept by triggers on it, each set by
  one function that is called once for each statement. The function's hash is its comment, so a run that merges what
  changed sees whether it is still the one of the project.
#}
{% macro keep_by_triggers(relation, prefix, function, definition) %}
    {%- do run_query(definition) -%}
    {%- for moment, rows in {
        'insert': 'new table as new_rows', 'update': 'old table as old_rows new table as new_rows',
        'delete': 'old table as old_rows'
    }.items() -%}
        {%- do run_query(
            'create or replace trigger ' ~ prefix ~ '_' ~ moment ~ ' after ' ~ moment ~ ' on ' ~ relation
            ~ ' referencing ' ~ rows ~ ' for each statement execute function ' ~ this.schema ~ '.' ~ function ~ '()'
        ) -%}
    {%- endfor -%}
    {%- do run_query(
        'comment on function ' ~ this.schema ~ '.' ~ function ~ "() is '" ~ local_md5(definition) ~ "'"
    ) -%}
{% endmacro %}


{% macro kept_by(function, definition) %}
    {%- set found = run_query(
        "select obj_description(to_regprocedure('" ~ this.schema ~ '.' ~ function ~ "()'), 'pg_proc')"
    ).columns[0][0] -%}
    {{ return(found == local_md5(definition)) }}
{% endmacro %}

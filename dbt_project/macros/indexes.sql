{#
  Brings a relation's indexes to exactly those of the model's `meta.indexes` ({name: "on-clause"}), partial ones and
  operator classes included, which dbt's own `indexes` cannot say. An index carries the hash of its definition in its
  name, so a changed definition replaces it; the time after it keeps the name from colliding with that of the table
  that is about to be dropped.
#}
{% macro ensure_indexes(relation) %}
    {%- if execute -%}
    {%- set wanted = {} -%}
    {%- for name, definition in config.get('meta')['indexes'].items() -%}
        {%- do wanted.update({this.identifier ~ '__' ~ name ~ '_' ~ local_md5(definition)[:8]: definition}) -%}
    {%- endfor -%}
    {%- set found = run_query(
        "select c.relname from pg_index join pg_class as c on c.oid = indexrelid "
        ~ "where indrelid = '" ~ relation ~ "'::regclass"
    ).columns[0].values() -%}
    {%- set kept = [] -%}
    {%- for existing in found -%}
        {%- set name = existing.rsplit('_x', 1)[0] -%}
        {%- if name in wanted and name not in kept -%}
            {%- do kept.append(name) -%}
        {%- else -%}
            {%- do run_query('drop index ' ~ relation.schema ~ '."' ~ existing ~ '"') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for name, definition in wanted.items() if name not in kept -%}
        {%- set unique_name = name ~ '_x' ~ modules.datetime.datetime.now().strftime('%y%m%d%H%M%S%f') -%}
        {%- set unique = 'unique ' if definition.startswith('unique') else '' -%}
        {%- do run_query(
            'create ' ~ unique ~ 'index "' ~ unique_name ~ '" on ' ~ relation ~ ' ' ~ definition.removeprefix('unique ')
        ) -%}
    {%- endfor -%}
    {%- endif -%}
{% endmacro %}

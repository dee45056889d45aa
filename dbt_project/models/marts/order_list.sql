-- one row per order: order_list_live, held and indexed
--
-- dbt fills and repairs it; between its runs the refresher merges the orders marked dirty, from the same view. How the
-- two share it is told in macros/list_building.sql. When the definition changed (the views, the working times), dbt
-- fills the list anew.
--
-- Indexes are those of the console's queries: open orders (all, of a status, in a queue or in none, of a customer) by
-- least slack, each whole, late, held, and both; finished ones by their end; all by their number, customer and age.
-- Those of open orders are partial, so that finished ones cost nothing. Words have their own table: see
-- macros/list_search.sql.
{% set indexes = {
    'key': 'unique (order_id)',
    'number': '(lower(external_id) text_pattern_ops)',
    'customer': '(customer_id, order_id)',
    'finished': '(status, status_since, order_id) where not is_open',
    'customer_finished': '(customer_id, status, status_since, order_id) where not is_open',
    'to_share': "(latest_start_at, order_id) where is_open and assigned_to is null and (held or status in ("
    ~ "'PRICE_CALCULATED', 'MANUFACTURING_APPROVED', 'MANUFACTURING_STARTED', 'MANUFACTURING_COMPLETED', 'PACKAGING'))",
} %}
{% for name, columns in {
    'open': '', 'open_status': 'status, ', 'assigned': 'assigned_to, ', 'customer_open': 'customer_id, '
}.items() %}
    {% for only, condition in {
        '': 'is_open', '_late': 'late', '_held': 'held', '_late_held': 'late and held'
    }.items() %}
        {# no index of others' columns for a condition that the planner takes for one row: it would be read whole #}
        {% set column = columns | replace(', ', '') %}
        {% set given = ' and ' ~ column ~ ' is not null' if column else '' %}
        {# words are sought in the order of the whole list, in the index alone #}
        {% set carried = ' include (search_start)' if name ~ only == 'open' else '' %}
        {% do indexes.update({
            name ~ only: '(' ~ columns ~ 'latest_start_at, order_id)' ~ carried ~ ' where ' ~ condition ~ given
        }) %}
        {# for Postgres, "is null" is no equality, by which an index's next column would be in order #}
        {% do indexes.update({
            'unassigned' ~ only: '(latest_start_at, order_id) where assigned_to is null and ' ~ condition
        }) %}
    {% endfor %}
{% endfor %}
{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='order_id',
    on_schema_change='append_new_columns',
    pre_hook="{{ begin_list() }}",
    post_hook=["{{ ensure_indexes(this) }}", "{{ ensure_counts() }}", "{{ ensure_search() }}", "{{ remember_definition() }}"],
    meta={'indexes': indexes}
) }}

select live.*
from {{ ref('order_list_live') }} as live
{% if is_incremental() %}
    where live.order_id in (select taken_marks.order_id from taken_marks)
{% endif %}

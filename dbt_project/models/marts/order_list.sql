-- one row per order: order_list_live, held and indexed
--
-- dbt fills and repairs it; between its runs the refresher merges the orders marked dirty, from the same view.
-- Both take the marks with the work, in one transaction, and never at the same time: dbt holds alone the lock that the
-- refreshers share. When the definition changed (the views, the working times), dbt fills the list anew.
{{ config(
    materialized='incremental',
    incremental_strategy='merge',
    unique_key='order_id',
    on_schema_change='append_new_columns',
    pre_hook=[
        "select pg_advisory_xact_lock({{ var('refresh_lock', 7203394) }})",
        "create temporary table taken_marks on commit drop as"
        ~ " with taken as (delete from ops.dirty_orders returning order_id) select distinct order_id from taken",
    ],
    post_hook=["{{ ensure_indexes(this) }}", "{{ remember_definition() }}"],
    meta={'indexes': {
        'key': 'unique (order_id)',
        'number': '(source, external_id)',
        'open': '(latest_start_at, order_id) where is_open',
        'open_status': '(status, latest_start_at, order_id) where is_open',
        'finished': '(status, status_since desc, order_id) where not is_open',
        'late': '(latest_start_at, order_id) where late',
        'held': '(latest_start_at, order_id) where held',
        'assigned': '(assigned_to, latest_start_at, order_id) where is_open',
        'unassigned': '(latest_start_at, order_id) where is_open and assigned_to is null',
        'to_share': "(latest_start_at, order_id) where is_open and assigned_to is null and (held or status in ("
        ~ "'PRICE_CALCULATED', 'MANUFACTURING_APPROVED', 'MANUFACTURING_STARTED', 'MANUFACTURING_COMPLETED', "
        ~ "'PACKAGING'))",
        'search': 'using gin (search_text gin_trgm_ops)',
        'search_open': 'using gin (search_text gin_trgm_ops) where is_open',
    }}
) }}

select live.*
from {{ ref('order_list_live') }} as live
{% if is_incremental() %}
    where live.order_id in (select taken_marks.order_id from taken_marks)
{% endif %}

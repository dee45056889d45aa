{#
  Counts kept with the order list, so that a tab's number costs a look at a few rows however long the list is.

  Triggers on the list append to ops.list_count_changes by how much each count changed, with the change itself; a count
  is its row in ops.list_counts and its changes together. No writer waits for another, as they would for one row that
  all update; refreshers fold the changes into the counts. What a row counts in is said once, by `counted`.
#}
{% macro counted(rows, sign='') %}
    select cells.counter, cells.subject, {{ sign }}1 as orders, {{ sign }}listed.remaining_h as remaining_h
    from {{ rows }} as listed
    cross join lateral (
        values
        ('status', listed.status, true),
        ('late', listed.status, listed.late),
        ('held', listed.status, listed.held),
        ('unassigned', listed.status, listed.is_open and listed.assigned_to is null),
        ('queue', listed.assigned_to, listed.is_open and listed.assigned_to is not null),
        ('queue_begun', listed.assigned_to, listed.is_open and listed.claimed_by = listed.assigned_to and not listed.held),
        (
            'queue_unapproved', listed.assigned_to,
            listed.status = 'PRICE_CALCULATED' and listed.assigned_to is not null and not listed.held
        ),
        ('queue_held', listed.assigned_to, listed.is_open and listed.held and listed.assigned_to is not null)
    ) as cells (counter, subject, counts)
    where cells.counts
{% endmacro %}


{# All counts of a list; of finished orders only the status counts, so that millions of them are not taken apart. #}
{% macro counts_of(relation) %}
    select cells.counter, cells.subject, sum(cells.orders) as orders, sum(cells.remaining_h) as remaining_h
    from ({{ counted('(select * from ' ~ relation ~ ' where is_open)') }}) as cells
    group by cells.counter, cells.subject
    union all
    select 'status', finished.status, count(*), 0
    from {{ relation }} as finished
    where not finished.is_open
    group by finished.status
{% endmacro %}


{% macro replace_counts(counts) %}
    {%- do run_query('delete from ops.list_count_changes') -%}
    {%- do run_query('delete from ops.list_counts') -%}
    {%- do run_query('insert into ops.list_counts (counter, subject, orders, remaining_h) ' ~ counts) -%}
{% endmacro %}


{% macro count_by_trigger(relation) %}
    {%- do keep_by_triggers(relation, 'count', 'count_order_list', counting_function()) -%}
{% endmacro %}


{% macro counting_function() %}
    {%- set changes -%}
        insert into ops.list_count_changes (counter, subject, orders, remaining_h)
        select cells.counter, cells.subject, sum(cells.orders), sum(cells.remaining_h)
    {%- endset -%}
    {%- set grouped -%}
        as cells group by cells.counter, cells.subject having sum(cells.orders) <> 0 or sum(cells.remaining_h) <> 0
    {%- endset -%}
    create or replace function {{ this.schema }}.count_order_list() returns trigger language plpgsql as $$
    begin
        if tg_op = 'INSERT' then
            {{ changes }} from ({{ counted('new_rows') }}) {{ grouped }};
        elsif tg_op = 'DELETE' then
            {{ changes }} from ({{ counted('old_rows', '-') }}) {{ grouped }};
        else
            {{ changes }} from ({{ counted('new_rows') }} union all {{ counted('old_rows', '-') }}) {{ grouped }};
        end if;
        return null;
    end $$
{% endmacro %}


{# After a run that merged what changed: what is counted may be another thing than before. #}
{% macro ensure_counts() %}
    {%- if execute -%}
        {%- if not kept_by('count_order_list', counting_function()) -%}
            {%- do count_by_trigger(this) -%}
            {%- do run_query('select pg_advisory_xact_lock(' ~ var('refresh_lock') ~ ')') -%}
            {%- do replace_counts(counts_of(this)) -%}
        {%- endif -%}
    {%- endif -%}
{% endmacro %}

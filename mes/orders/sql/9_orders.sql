-- New orders, and what moved or changed in those that we have.
with moves as (
    select
        order_id, count(*) as count, (array_agg(occurred_at order by stage desc, round desc, status desc))[1] as since
    from chain group by order_id
),

late as (select order_id, count(*) as count from late_fact group by order_id),

moved as (
    select
        affected.*, target.status as goal, moves.since,
        affected.version + coalesce(moves.count, 0) + coalesce(late.count, 0) + (edit.order_id is not null)::integer
            as reached_version,
        export.due_at, export.rush, export.currency, export.paid, customers.customer_id
    from affected
    inner join target using (order_id)
    left join export using (source, external_id)
    left join ops.customers
        on customers.source = affected.source and customers.external_id = export.customer_external_id
    left join moves using (order_id)
    left join late using (order_id)
    left join edit using (order_id)
),

created as (
    insert into ops.orders (
        order_id, source, external_id, customer_id, status, status_since, version,
        placed_at, due_at, rush, currency, paid, overdue, exported_at
    )
    select
        order_id, source, external_id, customer_id, goal, since, reached_version,
        placed_at, due_at, rush, currency, paid, coalesce(due_at < :now and goal < 'SHIPPED', false), declared_at
    from moved where is_new
    returning order_id
),

updated as (
    update ops.orders set
        status = moved.goal, status_since = coalesce(moved.since, orders.status_since),
        version = moved.reached_version,
        customer_id = case when has_new_export then moved.customer_id else orders.customer_id end,
        due_at = case when has_new_export then moved.due_at else orders.due_at end,
        rush = case when has_new_export then moved.rush else orders.rush end,
        paid = case when has_new_export then moved.paid else orders.paid end,
        exported_at = case when has_new_export then moved.declared_at else orders.exported_at end,
        overdue = moved.goal < 'SHIPPED' and coalesce(
            case when has_new_export then moved.due_at else orders.due_at end < :now, false
        ),
        hold_reason = case when moved.goal < 'SHIPPED' then orders.hold_reason end,
        held_by = case when moved.goal < 'SHIPPED' then orders.held_by end,
        held_since = case when moved.goal < 'SHIPPED' then orders.held_since end,
        claimed_by = case when moved.goal < 'SHIPPED' then orders.claimed_by end,
        lease_until = case when moved.goal = orders.status then orders.lease_until end,
        changed_at = clock_timestamp()
    from moved
    where
        orders.order_id = moved.order_id and not moved.is_new
        and (moved.reached_version > moved.version or moved.has_new_export)
    returning orders.order_id
)

select
    (select count(*) from created) as created,
    (select count(*) from updated) as updated;

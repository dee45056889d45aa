-- New orders, and what moved or changed in those that we have.
with moved as (
    select
        affected.*, target.status as goal, last.occurred_at as since,
        affected.version + added.count as reached_version,
        export.due_at, export.rush, export.currency, export.paid, customers.customer_id
    from affected
    inner join target using (order_id)
    left join export using (source, external_id)
    left join ops.customers
        on customers.source = affected.source and customers.external_id = export.customer_external_id
    cross join
        lateral (
            select
                (select count(*) from chain where chain.order_id = affected.order_id)
                + (select count(*) from late_fact where late_fact.order_id = affected.order_id)
                + (select count(*) from edit where edit.order_id = affected.order_id) as count
        ) as added
    left join lateral (
        select occurred_at from chain where chain.order_id = affected.order_id
        order by stage desc, round desc, status desc limit 1
    ) as last on true
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

-- New facts about what an order has passed already; those that life forbids are left to the anomalies.
create temporary table late_fact on commit drop as
select fact.*
from fact
inner join affected using (order_id)
inner join target using (order_id)
where
    fact.is_new and not affected.is_new
    and fact.type <= affected.status
    and (fact.type <> 'CANCELLED' or affected.status = 'CANCELLED')
    and not (affected.status = 'CANCELLED' and fact.type in ('SHIPPED', 'CLOSED'))
    and not exists (
        select from chain
        where chain.order_id = fact.order_id and chain.status = fact.type and chain.round = fact.nth
    )
    and not exists (
        select from ops.order_events as recorded
        where
            recorded.order_id = fact.order_id and recorded.type = fact.type::text
            and recorded.occurred_at = fact.occurred_at and not recorded.inferred
    );

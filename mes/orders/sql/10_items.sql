-- A changed item loses its quote, so that it is priced again; so do all items of an open order whose urgency or tier is
-- no longer what they were priced for.
delete from ops.order_items using affected
where
    order_items.order_id = affected.order_id and not affected.is_new
    and exists (select from exported_item where exported_item.order_id = order_items.order_id)
    and not exists (
        select from exported_item
        where exported_item.order_id = order_items.order_id and exported_item.line = order_items.line
    );

insert into ops.order_items as item (order_id, line, model_id, material, finish, quantity, longest_side_mm)
select order_id, line, model_id, material, finish, quantity, longest_side_mm from exported_item
on conflict (order_id, line) do update set
    model_id = excluded.model_id, material = excluded.material, finish = excluded.finish,
    quantity = excluded.quantity, longest_side_mm = excluded.longest_side_mm, quote_id = null
where (item.model_id, item.material, item.finish, item.quantity, item.longest_side_mm)
is distinct from
(excluded.model_id, excluded.material, excluded.finish, excluded.quantity, excluded.longest_side_mm);

update ops.order_items as item set quote_id = null
from affected, ops.orders, ops.customers, ops.quotes
where
    affected.has_new_export and not affected.is_new
    and orders.order_id = affected.order_id and orders.status < 'SHIPPED'
    and customers.customer_id = orders.customer_id
    and item.order_id = affected.order_id and quotes.quote_id = item.quote_id
    and quotes.order_id is not null  -- what a caller was promised before, holds
    and (quotes.rush, quotes.tier) is distinct from (orders.rush, customers.tier);

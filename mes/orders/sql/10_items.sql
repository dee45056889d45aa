-- A changed item loses its quote, so that it is priced again.
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

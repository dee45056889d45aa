-- What a later export changes in orders that we have; a finished order keeps its items.
create temporary table exported_item on commit drop as
select
    affected.order_id, affected.is_new, item.line, model_files.model_id, item.material, item.finish, item.quantity,
    item.longest_side_mm
from affected
inner join target using (order_id)
inner join export using (source, external_id)
cross join
    lateral jsonb_to_recordset(export.items)
        as item (
            line integer, model text, material text, finish text, quantity integer, longest_side_mm numeric(12, 4)
        )
inner join raw.model_files on model_files.model = item.model
where affected.has_new_export and (affected.is_new or target.status < 'SHIPPED');
create index on exported_item (order_id);
analyze exported_item;

create temporary table edit on commit drop as
select affected.order_id, edited.changes
from affected
inner join ops.orders using (order_id)
inner join ops.customers using (customer_id)
inner join export on export.source = affected.source and export.external_id = affected.external_id
cross join
    lateral (
        select
            (
                select jsonb_agg(to_jsonb(item) - 'order_id' - 'quote_id' - 'stones' - 'engraving' order by item.line)
                from ops.order_items as item where item.order_id = affected.order_id
            ) as before,
            (
                select jsonb_agg(to_jsonb(item) - 'order_id' - 'is_new' order by item.line)
                from exported_item as item where item.order_id = affected.order_id
            ) as after
    ) as items
cross join
    lateral (
        select jsonb_object_agg(field, jsonb_build_object('from', before, 'to', after)) as changes
        from (
            values
            ('due_at', to_jsonb(orders.due_at), to_jsonb(export.due_at)),
            ('rush', to_jsonb(orders.rush), to_jsonb(export.rush)),
            ('paid', to_jsonb(orders.paid), to_jsonb(export.paid)),
            ('customer', to_jsonb(customers.external_id), to_jsonb(export.customer_external_id)),
            ('items', items.before, coalesce(items.after, items.before))
        ) as fields (field, before, after)
        where before is distinct from after
    ) as edited
where affected.has_new_export and not affected.is_new and edited.changes is not null;
create unique index on edit (order_id);
analyze edit;

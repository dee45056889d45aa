"""Measures what orders take on disk, by table and index."""

from sqlalchemy import Engine, text


def bytes_per_order(engine: Engine) -> dict[str, int]:
    """Bytes of tables (with TOAST) and of indexes, over all orders; the partitions of the events are one table."""
    with engine.begin() as conn:
        rows = conn.execute(
            text("""
                with named as (
                    select coalesce(pg_partition_root(relations.oid), relations.oid) as root,
                        relations.oid, relations.relkind
                    from pg_class as relations join pg_namespace as spaces on spaces.oid = relations.relnamespace
                    where spaces.nspname in ('ops', 'marts') and relations.relkind in ('r', 'i', 'm')
                ), counted as (select greatest(count(*), 1) as orders from ops.orders)
                select root::regclass::text as name,
                    sum(case when relkind = 'i' then pg_relation_size(oid) else pg_table_size(oid) end)
                        / (select orders from counted) as bytes
                from named group by root order by bytes desc
            """)
        ).all()
    return {row.name: round(row.bytes) for row in rows if row.bytes >= 1}

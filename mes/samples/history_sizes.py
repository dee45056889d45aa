"""Measures what orders take on disk, by table and index."""

import shutil
from pathlib import Path

from sqlalchemy import Engine, text

from mes.errors import MesError

# 300,000 orders took 3,300 each, tables and indexes, and a list that is filled anew stands beside the old one
BYTES_PER_ORDER, SPARE_BYTES = 4_000, 4 << 30


class DiskTooSmall(MesError):
    """The disk has no room for so many orders."""

    code, http_status = "disk_too_small", 507


def require_disk(folder: Path, orders: int) -> None:
    """Make sure that so many more orders have room where `folder` is, and make the folder.

    Raises:
        DiskTooSmall: they have not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(folder).free, orders * BYTES_PER_ORDER + SPARE_BYTES
    if free < needed:
        raise DiskTooSmall(
            f"{orders:,} orders need some {needed / 1e9:.0f} GB ({BYTES_PER_ORDER:,} bytes an order, 4 GiB to spare), "
            f"and {folder} has {free / 1e9:.0f} GB free: free some, generate fewer, or set MES_HOME to a folder on a "
            "larger disk."
        )


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

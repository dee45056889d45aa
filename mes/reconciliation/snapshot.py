"""Reads how our orders stand, at one moment, as far as another system can know it."""

from datetime import datetime

import polars as pl
from sqlalchemy import Connection

from mes.db.copy import read_frame

SCHEMA = {
    "source": pl.String,
    "external_id": pl.String,
    "order_id": pl.String,
    "our_status": pl.String,
    "our_version": pl.Int64,
    "live_from": pl.Int64,
    "applied": pl.Int64,
    "unsettled": pl.Boolean,
}


def read(
    conn: Connection, system: str, *, settled_before: datetime, changed_since: datetime | None, keys: pl.DataFrame
) -> pl.DataFrame:
    """Our orders as SCHEMA has them: all, or with `changed_since` those that changed since then, and those of `keys`.

    Args:
        conn: a transaction that sees one moment.
        system: whose events are counted as applied: numbered ones by its bus, the CRM's by its feed, too.
        settled_before: an order that changed later is unsettled, as is one whose events of the system are looked at.
        changed_since: see above.
        keys: `source` and `external_id` of further orders.
    """
    which = "true"
    if changed_since is not None:
        which = "orders.changed_at >= %(since)s or (orders.source, orders.external_id) in (select * from asked)"
    return read_frame(
        conn,
        _ORDERS.format(which=which),
        SCHEMA,
        system=system,
        settled_before=settled_before,
        since=changed_since,
        sources=keys["source"].to_list() if changed_since is not None else [],
        numbers=keys["external_id"].to_list() if changed_since is not None else [],
    )


# the feed's events count from where the bus' leave off, without gaps, as the inbox does
_ORDERS = """
with asked as (select * from unnest(%(sources)s::text[], %(numbers)s::text[])),
fed as (
    select source, external_id, count(*) as applied from (
        select source, external_id, sequence,
            row_number() over (partition by source, external_id order by sequence) as nth
        from (
            select distinct source, external_id, sequence from raw.crm_order_events
            where %(system)s = 'crm' and applied_at is not null
        ) as once
    ) as counted where sequence = nth group by source, external_id
)
select orders.source, orders.external_id, orders.order_id, orders.status, orders.version, orders.live_from,
    greatest(heard.next_sequence - 1, fed.applied) as applied,
    orders.changed_at > %(settled_before)s or coalesce(heard.due_at <= clock_timestamp(), false) as unsettled
from ops.orders
left join ops.inbox_orders as heard
    on heard.sender = %(system)s and heard.source = orders.source and heard.external_id = orders.external_id
left join fed on fed.source = orders.source and fed.external_id = orders.external_id
where {which}
"""

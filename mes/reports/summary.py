"""Sums up what the system holds after the main job: counts, and a digest that shows whether anything changed."""

from dataclasses import dataclass

from sqlalchemy import Connection, text

from mes.db import query
from mes.orders import anomalies


@dataclass(frozen=True)
class Summary:
    """What the main job ends with; `digest` is the same whenever the content is, whatever ids the database gave."""

    orders: int
    by_status: dict[str, int]
    models: int
    quotes: int
    anomalies: dict[str, int]
    quarantined: int
    waiting: int
    held: int
    unpriced: int
    digest: str


def summarize(conn: Connection) -> Summary:
    """Count what there is; reads every order, so it belongs to the end of a batch, not to a page."""
    by_status = conn.execute(text("select status, count(*) as orders from ops.orders group by status order by status"))
    statuses: dict[str, int] = {row.status: row.orders for row in by_status}
    return Summary(
        orders=sum(statuses.values()),
        by_status=statuses,
        models=query.number(conn, "select count(*) from ops.models"),
        quotes=query.number(conn, "select count(*) from ops.quotes where superseded_by is null"),
        anomalies=anomalies.counts(conn),
        quarantined=query.number(
            conn, "select count(*) from ops.quarantine where resolved_at is null and stage <> 'wait'"
        ),
        waiting=query.number(conn, "select count(*) from ops.quarantine where resolved_at is null and stage = 'wait'"),
        held=query.number(conn, "select count(*) from ops.orders where held_since is not null"),
        unpriced=query.number(conn, "select count(*) from ops.order_items where quote_id is null"),
        digest=str(conn.execute(text(_DIGEST)).scalar_one()),
    )


_DIGEST = """
with lines as (
    select format('order %s/%s %s v%s held=%s price=%s', orders.source, orders.external_id, orders.status,
        orders.version, orders.held_since is not null, prices.total) as line
    from ops.orders
    left join lateral (
        select sum(quotes.total) as total
        from ops.order_items join ops.quotes using (quote_id) where order_items.order_id = orders.order_id
    ) as prices on true
    union all
    select format('event %s/%s %s %s %s', orders.source, orders.external_id, events.sequence, events.type,
        extract(epoch from events.occurred_at))
    from ops.order_events as events join ops.orders using (order_id) where not events.live
    union all
    select format('anomaly %s/%s %s', orders.source, orders.external_id, kind)
    from ops.anomalies join ops.orders using (order_id)
    union all
    select format('quarantine %s %s %s %s', file, line, kind, content_hash)
    from ops.quarantine where resolved_at is null
    union all
    select format('model %s', model_id) from ops.models
)
select coalesce(md5(string_agg(line, E'\\n' order by line collate "C")), md5('')) from lines
"""

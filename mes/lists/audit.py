"""Compares the order list with its definition, reports where they differ, and has those orders refreshed.

Neither should ever differ; what makes them do so is a fault in the code, in the disk, or in somebody's SQL. All open
orders are compared each time and, since a comparison of all finished ones takes minutes, one part of them a day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from sqlalchemy import Connection, text

from mes.db import query

PARTS = 28  # of the finished orders: each is looked at once in four weeks
_REPORTED = 100


@dataclass(frozen=True)
class Difference:
    """An order that the list and its definition show differently, and the columns; all of them, if one lacks it."""

    order_id: UUID
    columns: Sequence[str]


@dataclass(frozen=True)
class Audit:
    """How many orders were compared, how many differed and are being refreshed, and the first of those."""

    compared: int
    differing: int
    first: Sequence[Difference]


def audit(conn: Connection, day: date) -> Audit:
    """Compare open orders and the day's part of the finished ones, and mark dirty those that differ.

    An order that waits for the refresher is not compared: of course it differs.
    """
    conn.execute(_COMPARE, {"parts": PARTS, "part": day.toordinal() % PARTS})
    compared = query.number(conn, "select count(*) from compared_orders")
    differing = conn.execute(_MARK).rowcount
    first = conn.execute(_FIRST, {"limit": _REPORTED}).mappings()
    audited = Audit(compared, differing, [Difference(**row) for row in first])
    conn.execute(text("drop table compared_orders"))
    return audited


_COMPARE = text("""
    create temporary table compared_orders on commit drop as
    with wanted as (
        select order_id from marts.order_list
        where is_open or abs(hashtextextended(order_id::text, 0) % :parts) = :part
        union
        select order_id from ops.orders
        where status not in ('SHIPPED', 'CLOSED', 'CANCELLED')
            or abs(hashtextextended(order_id::text, 0) % :parts) = :part
    )
    select wanted.order_id, to_jsonb(stored) as stored, to_jsonb(live) as live
    from wanted
    left join marts.order_list as stored on stored.order_id = wanted.order_id
    left join (select * from marts.order_list_live) as live on live.order_id = wanted.order_id
    where not exists (select from ops.dirty_orders as marks where marks.order_id = wanted.order_id)
""")
_MARK = text("""
    insert into ops.dirty_orders (order_id) select order_id from compared_orders where stored is distinct from live
""")
_FIRST = text("""
    select order_id, array(
        select key from jsonb_object_keys(coalesce(stored, '{}') || coalesce(live, '{}')) as key
        where stored -> key is distinct from live -> key order by key
    ) as columns
    from compared_orders where stored is distinct from live order by order_id limit :limit
""")

"""Shares orders out: the least slack first, each to the operator who has the least to do."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.dispatch.handover import HandOver, hand_over
from mes.dispatch.model import SHARED_STATUSES, sql_list
from mes.lists import refresher
from mes.orders.life import FINISHED_STATUSES, EventType
from mes.people import users

# one sweep at a time, wherever the workers run; the number is arbitrary and ours
SHARING_LOCK = 7_203_396
BATCH = 10_000


@dataclass(frozen=True)
class Unassigned:
    """An order that nobody has, at the version that was locked, with the hours that it still needs."""

    order_id: UUID
    version: int
    given_back_by: str | None
    remaining_h: float


@dataclass(frozen=True)
class Shared:
    """The orders that were put into queues, in the order of their slack."""

    order_ids: Sequence[UUID]


def share_out(
    conn: Connection, order_ids: Sequence[UUID] | None = None, *, limit: int = BATCH, clock: Clock = utc_now
) -> Shared:
    """Give open orders that nobody has to the active operators, in the caller's transaction.

    Without `order_ids`, up to `limit` of those in the order list, unless another sweep is under way; with nothing to
    share, a look at an index is all. With them, those of these orders that can be shared, even while the list does not
    know them yet. Nobody gets what he gave back last. Without operators, or before dbt has built the list, nothing
    happens.
    """
    if not refresher.is_built(conn) or (order_ids is None and not _may_sweep(conn)):
        return Shared([])
    operators = users.active_operators(conn)
    if not operators:
        return Shared([])
    statement = _FROM_LIST if order_ids is None else _FROM_VIEW
    values = {"order_ids": list(order_ids or ()), "only": operators[0] if len(operators) == 1 else None, "limit": limit}
    orders = [Unassigned(**row) for row in conn.execute(statement, values).mappings()]
    if not orders:
        return Shared([])
    typical_h = sum(order.remaining_h for order in orders) / len(orders)
    given = deal(orders, loads(conn, operators, typical_h))
    return Shared(hand_over(conn, given, EventType.ASSIGNED, clock()))


def deal(orders: Sequence[Unassigned], load_h: Mapping[str, float]) -> list[HandOver]:
    """Whose each order becomes: that of the operator with the fewest hours then, by name among equals.

    An order that nobody may get, since the one operator there is gave it back, is left out.
    """
    idle_first = [(hours, name) for name, hours in load_h.items()]
    heapq.heapify(idle_first)
    given: list[HandOver] = []
    for order in orders:
        passed_over = heapq.heappop(idle_first) if idle_first[0][1] == order.given_back_by else None
        if idle_first:
            hours, name = idle_first[0]
            heapq.heapreplace(idle_first, (hours + order.remaining_h, name))
            given.append(HandOver(order.order_id, order.version, name))
        if passed_over is not None:
            heapq.heappush(idle_first, passed_over)
    return given


def loads(conn: Connection, operators: Sequence[str], typical_h: float = 0.0) -> dict[str, float]:
    """Hours of work left in each operator's queue; an order that the list does not know yet counts `typical_h`."""
    rows = conn.execute(_LOADS, {"operators": list(operators), "typical_h": typical_h})
    return dict.fromkeys(operators, 0.0) | {row.assigned_to: row.hours for row in rows}


def _may_sweep(conn: Connection) -> bool:
    """Whether there is something to share and nobody else is sharing it."""
    return query.flag(conn, _ANY) and query.flag(conn, "select pg_try_advisory_xact_lock(:key)", key=SHARING_LOCK)


# in the words of the list's index `to_share`
_LISTED = f"""listed.is_open and listed.assigned_to is null
    and (listed.held or listed.status in ({sql_list(SHARED_STATUSES)}))"""
_ANY = f"select exists (select from marts.order_list as listed where {_LISTED})"
# the list may be behind: the order's own row decides, found by its key alone (see `claims`)
_TO_SHARE = f"""num_nonnulls(orders.assigned_to, orders.claimed_by) = 0
    and (orders.status in ({sql_list(SHARED_STATUSES)})
        or orders.held_since is not null and orders.status not in ({sql_list(FINISHED_STATUSES)}))
    and (orders.given_back_by is null or orders.given_back_by is distinct from cast(:only as text))"""
_FROM_LIST = text(f"""
select orders.order_id, orders.version, orders.given_back_by, cast(listed.remaining_h as float8) as remaining_h
from marts.order_list as listed
join ops.orders as orders on orders.order_id = listed.order_id
where {_LISTED} and {_TO_SHARE}
order by listed.latest_start_at, listed.order_id limit :limit
for no key update of orders skip locked
""")
_FROM_VIEW = text(f"""
select orders.order_id, orders.version, orders.given_back_by, cast(live.remaining_h as float8) as remaining_h
from marts.order_list_live as live
join ops.orders as orders on orders.order_id = live.order_id
where live.order_id = any(cast(:order_ids as uuid[])) and {_TO_SHARE}
order by live.latest_start_at, live.order_id limit :limit
for no key update of orders skip locked
""")
# from the orders' own rows, so that of many shared at once each counts before the list shows it
_LOADS = text(f"""
select orders.assigned_to, sum(cast(coalesce(listed.remaining_h, :typical_h) as float8)) as hours
from ops.orders as orders
left join marts.order_list as listed on listed.order_id = orders.order_id
where orders.assigned_to = any(cast(:operators as text[])) and orders.status not in ({sql_list(FINISHED_STATUSES)})
group by orders.assigned_to
""")

"""Returns work that nobody does: claims whose lease has passed, and the queues of people who are gone."""

from sqlalchemy import Connection, TextClause, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.dispatch.handover import HandOver, hand_over
from mes.dispatch.model import sql_list
from mes.orders.life import FINISHED_STATUSES, EventType
from mes.people import users

BATCH = 1_000

_OPEN = f"status not in ({sql_list(FINISHED_STATUSES)})"
_LAPSED = text("""
select order_id, version from ops.orders where lease_until <= :now
order by lease_until limit :limit for no key update skip locked
""")
# what is locked is being worked on, and is looked at again by the next sweep
_QUEUE = text(f"""
select order_id, version from ops.orders
where assigned_to = :user and {_OPEN} and (claimed_by is null or :claimed_too)
order by order_id for no key update skip locked
""")
# somebody who manages now keeps what he has claimed, until he gives it back or has done it
_OWNERS_GONE = text(f"""
select users.user_name, users.active from ops.users as users
where (not users.active or users.role <> 'operator')
    and exists (
        select from ops.orders
        where orders.assigned_to = users.user_name and {_OPEN} and (orders.claimed_by is null or not users.active)
    )
""")


def return_lapsed(conn: Connection, *, limit: int = BATCH, clock: Clock | None = None) -> int:
    """End up to `limit` claims whose lease has passed without work being begun; gives how many orders were returned.

    They leave the queues of those who had claimed them, and are shared out to others, where there are others. So are
    the queues of people who are operators no more. With nothing to return, two looks at an index are all.

    Unless a clock is handed in, the database's decides: a worker's that is ahead would end all leases at once.
    """
    now = clock() if clock is not None else query.now(conn)
    lapsed = _to_nobody(conn, _LAPSED, now=now, limit=limit)
    others_can = bool(lapsed) and len(users.active_operators(conn)) > 1
    returned = len(hand_over(conn, lapsed, EventType.LEASE_ENDED, now, gives_back=others_can))
    for gone in conn.execute(_OWNERS_GONE).all():
        returned += release_work_of(conn, gone.user_name, claimed_too=not gone.active, clock=lambda: now)
    return returned


def release_work_of(conn: Connection, user: str, *, claimed_too: bool = True, clock: Clock = utc_now) -> int:
    """Return the open work of a person who is gone to be shared out, begun or not; gives how many orders that were.

    Without `claimed_too`, only what he has not claimed.
    """
    queue = _to_nobody(conn, _QUEUE, user=user, claimed_too=claimed_too)
    reason = f"{user} was deactivated" if claimed_too else f"{user} is no operator any more"
    return len(hand_over(conn, queue, EventType.ASSIGNED, clock(), reason=reason))


def _to_nobody(conn: Connection, statement: TextClause, **values: object) -> list[HandOver]:
    return [HandOver(row.order_id, row.version) for row in conn.execute(statement, values)]

"""Returns work that nobody does: claims whose lease has passed, and the queues of people who are gone."""

from sqlalchemy import Connection, TextClause, text

from mes.clock import Clock, utc_now
from mes.dispatch.handover import HandOver, hand_over
from mes.dispatch.model import sql_list
from mes.orders.life import FINISHED_STATUSES, EventType

BATCH = 1_000

_OPEN = f"status not in ({sql_list(FINISHED_STATUSES)})"
_LAPSED = text("""
select order_id, version from ops.orders where lease_until <= :now
order by lease_until limit :limit for no key update skip locked
""")
_QUEUE = text(f"""
select order_id, version from ops.orders where assigned_to = :user and {_OPEN}
order by order_id for no key update
""")
_OWNERS_GONE = text(f"""
select users.user_name from ops.users as users
where not users.active
    and exists (select from ops.orders where orders.assigned_to = users.user_name and {_OPEN})
""")


def return_lapsed(conn: Connection, *, limit: int = BATCH, clock: Clock = utc_now) -> int:
    """End up to `limit` claims whose lease has passed without work being begun; gives how many orders were returned.

    They leave the queues of those who had claimed them, and are shared out to others. So does the work of people who
    were deactivated while it was being given to them. With nothing to return, two looks at an index are all.
    """
    now = clock()
    lapsed = _to_nobody(conn, _LAPSED, now=now, limit=limit)
    returned = len(hand_over(conn, lapsed, EventType.LEASE_ENDED, now, gives_back=True))
    for gone in conn.execute(_OWNERS_GONE).all():
        returned += release_work_of(conn, gone.user_name, clock=clock)
    return returned


def release_work_of(conn: Connection, user: str, *, clock: Clock = utc_now) -> int:
    """Return all open work of a person who is gone, begun or not, to be shared out; gives how many orders that were."""
    queue = _to_nobody(conn, _QUEUE, user=user)
    reason = f"{user} was deactivated"
    return len(hand_over(conn, queue, EventType.ASSIGNED, clock(), reason=reason))


def _to_nobody(conn: Connection, statement: TextClause, **values: object) -> list[HandOver]:
    return [HandOver(row.order_id, row.version) for row in conn.execute(statement, values)]

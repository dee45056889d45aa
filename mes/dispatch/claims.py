"""Lets one person at a time work on an order: the claim, a lease that work turns into a right to finish."""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Connection, TextClause, text

from mes.clock import Clock, utc_now
from mes.db import query
from mes.dispatch.model import (
    SHARED_STATUSES,
    WORKABLE_STATUSES,
    ClaimedByAnother,
    IllegalClaim,
    NotClaimed,
    sql_list,
    why_not_workable,
)
from mes.orders import changes, repository
from mes.orders.life import FINISHED_STATUSES, EventType, System
from mes.orders.model import Actor, NewEvent, Order, ReasonMissing, VersionConflict
from mes.people import permissions
from mes.people.permissions import Permission

LEASE = timedelta(minutes=30)

# one press of "next job" at a time for each person; the number is arbitrary and ours
_NEXT_JOB_LOCK = 7_203_397


def claim(
    conn: Connection,
    user: str,
    order_id: UUID,
    *,
    expected_version: int | None = None,
    lease: timedelta = LEASE,
    clock: Clock | None = None,
) -> Order:
    """Let `user` work on the order, and nobody else, until `lease` has passed; it stands in his queue from then on.

    Once he has begun, the claim stays until the order leaves the workshop. What he has claimed already stays as it is.

    Raises:
        NotSignedIn, NotAllowed: he may not work.
        NoSuchOrder, VersionConflict: as for `service.transition`.
        ClaimedByAnother: a colleague works on it.
        IllegalClaim: there is nothing to do on it now; the message says why.
    """
    permissions.require(conn, user, Permission.WORK)
    order = locked_for(conn, user, order_id, expected_version)
    return order if order.claimed_by == user else record_claim(conn, order, user, lease, clock)


def next_job(conn: Connection, user: str, *, lease: timedelta = LEASE, clock: Clock | None = None) -> Order | None:
    """Claim what `user` should do next: from his own queue, or else from what nobody has, the least slack first.

    What he has claimed but not begun is given again: nobody hoards. What he gave back is not, unless he is the only
    operator. None when there is nothing to do for him.

    Raises:
        NotSignedIn, NotAllowed: he may not work.
    """
    permissions.require(conn, user, Permission.WORK)
    conn.execute(text("select pg_advisory_xact_lock(:key, hashtext(:user))"), {"key": _NEXT_JOB_LOCK, "user": user})
    values: dict[str, object] = {"user": user, "now": _now(conn, clock)}
    waiting = _first(conn, _CLAIMED_NOT_BEGUN, values)
    if waiting is not None:
        return waiting
    free = _first(conn, _OWN_QUEUE, values) or _first(conn, _NOBODYS, values)
    return record_claim(conn, free, user, lease, clock) if free is not None else None


def give_back(
    conn: Connection,
    user: str,
    order_id: UUID,
    reason: str | None = None,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """End the user's claim; the order leaves his queue, and is shared out to somebody else.

    Raises:
        NotSignedIn, NotAllowed, NoSuchOrder, VersionConflict, ClaimedByAnother: as for `claim`.
        NotClaimed: he has not claimed it.
    """
    permissions.require(conn, user, Permission.WORK)
    order = locked_for(conn, user, order_id, expected_version)
    if order.claimed_by is None:
        raise NotClaimed(order_id=order_id)
    free = changes.assigned(order, None, given_back_by=user)
    event = NewEvent(EventType.GIVEN_BACK, clock(), _actor(user), (reason or "").strip() or None)
    return repository.change(conn, order, free, event)


def take_over(
    conn: Connection,
    user: str,
    order_id: UUID,
    reason: str,
    *,
    expected_version: int | None = None,
    lease: timedelta = LEASE,
    clock: Clock | None = None,
) -> Order:
    """Claim what a colleague has claimed, or what stands in his queue; work that he has begun is carried on.

    What nobody else has is claimed in the usual way.

    Raises:
        NotSignedIn, NotAllowed, NoSuchOrder, VersionConflict: as for `claim`.
        IllegalClaim: nobody works on it, and there is nothing to do on it now.
        ReasonMissing: `reason` is empty.
    """
    permissions.require(conn, user, Permission.TAKE_OVER)
    order = locked(conn, order_id, expected_version)
    holder = order.claimed_by or order.assigned_to
    if holder in {None, user}:
        return order if order.claimed_by == user else record_claim(conn, order, user, lease, clock)
    if not reason.strip():
        raise ReasonMissing(order_id=order_id)
    if order.claimed_by is None:
        _check_workable(order)
    now = _now(conn, clock)
    begun = order.claimed_by is not None and order.lease_until is None
    taken = changes.claimed(order, user, None if begun else now + lease)
    data = {"from": holder, "to": user, "lease_until": taken.lease_until.isoformat() if taken.lease_until else None}
    event = NewEvent(EventType.TAKEN_OVER, now, _actor(user), reason.strip(), data)
    return repository.change(conn, order, taken, event)


def locked(conn: Connection, order_id: UUID, expected_version: int | None) -> Order:
    """The order, locked until the transaction ends.

    Raises:
        NoSuchOrder, VersionConflict: as for `service.transition`.
    """
    order = repository.lock(conn, order_id)
    if expected_version is not None and order.version != expected_version:
        raise VersionConflict(order_id=order_id, expected_version=expected_version, version=order.version)
    return order


def locked_for(conn: Connection, user: str, order_id: UUID, expected_version: int | None) -> Order:
    """The order, locked, when no colleague of `user` has claimed it; that is said before its version is compared.

    Raises:
        NoSuchOrder, VersionConflict: as for `service.transition`.
        ClaimedByAnother: a colleague works on it.
    """
    order = repository.lock(conn, order_id)
    if order.claimed_by not in {None, user}:
        raise ClaimedByAnother(order_id=order_id, operator=order.claimed_by)
    return locked(conn, order_id, expected_version)


def record_claim(conn: Connection, order: Order, user: str, lease: timedelta, clock: Clock | None) -> Order:
    """Claim a locked order that nobody has claimed.

    Raises:
        IllegalClaim: there is nothing to do on it now.
    """
    _check_workable(order)
    now = _now(conn, clock)
    claimed = changes.claimed(order, user, now + lease)
    data = {"from": order.assigned_to, "to": user, "lease_until": (now + lease).isoformat()}
    event = NewEvent(EventType.CLAIMED, now, _actor(user), data=data)
    return repository.change(conn, order, claimed, event)


def _now(conn: Connection, clock: Clock | None) -> datetime:
    """The database's time unless a clock is handed in: one process lends what another takes back."""
    return clock() if clock is not None else query.now(conn)


def _first(conn: Connection, candidates: TextClause, values: dict[str, object]) -> Order | None:
    """The first of the candidates that can be locked."""
    row = conn.execute(candidates, values).one_or_none()
    return repository.get(conn, row.order_id) if row is not None else None


def _check_workable(order: Order) -> None:
    why_not = why_not_workable(order)
    if why_not is not None:
        raise IllegalClaim(why_not, order_id=order.order_id, status=order.status)


def _actor(user: str) -> Actor:
    return Actor(System.MES, user)


# The list's indexes give candidates in order; the order's own row, locked and read again, decides. A row that a
# colleague has locked is skipped: he is taking it. What is asked of the own row is put so that no index fits but its
# key: by statistics from before a bulk load, Postgres would join every candidate with all that nobody has.
_WORKABLE = f"orders.status in ({sql_list(WORKABLE_STATUSES)}) and orders.held_since is null"
_CLAIMED_NOT_BEGUN = text(f"""
select orders.order_id from ops.orders as orders
where orders.assigned_to = :user and orders.status not in ({sql_list(FINISHED_STATUSES)})
    and orders.claimed_by = :user and orders.lease_until > :now and {_WORKABLE}
order by orders.lease_until limit 1
for no key update
""")
_OWN_QUEUE = text(f"""
select orders.order_id
from marts.order_list as listed
join ops.orders as orders on orders.order_id = listed.order_id
where listed.is_open and listed.assigned_to = :user and listed.claimed_by is null
    and orders.assigned_to is not distinct from :user and orders.claimed_by is null and {_WORKABLE}
order by listed.latest_start_at, listed.order_id limit 1
for no key update of orders skip locked
""")
_NOBODYS = text(f"""
select orders.order_id
from marts.order_list as listed
join ops.orders as orders on orders.order_id = listed.order_id
where listed.is_open and listed.assigned_to is null
    and (listed.held or listed.status in ({sql_list(SHARED_STATUSES)}))
    and num_nonnulls(orders.assigned_to, orders.claimed_by) = 0 and {_WORKABLE}
    and (
        orders.given_back_by is distinct from :user
        or not exists (
            select from ops.users as colleague
            where colleague.role = 'operator' and colleague.active and colleague.user_name <> :user
        )
    )
order by listed.latest_start_at, listed.order_id limit 1
for no key update of orders skip locked
""")

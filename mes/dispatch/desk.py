"""What people do with orders, each by his name and within what his role allows: the door for the console."""

from uuid import UUID

from sqlalchemy import Connection

from mes.clock import Clock, utc_now
from mes.dispatch.claims import LEASE, locked, locked_for, record_claim
from mes.dispatch.model import WORKABLE_STATUSES, IllegalClaim, NoSuchOperator
from mes.orders import changes, repository, service
from mes.orders.life import FINISHED_STATUSES, EventType, Status, System
from mes.orders.model import Actor, IllegalTransition, NewEvent, Order
from mes.people import permissions, users
from mes.people.permissions import Permission


def move(
    conn: Connection,
    user: str,
    order_id: UUID,
    to: Status,
    *,
    expected_version: int | None = None,
    reason: str | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Take an order one step on; one that nobody has claimed is claimed first, and is in the user's queue from then on.

    Raises:
        NotSignedIn, NotAllowed: he may not work.
        ClaimedByAnother: a colleague works on it.
        NoSuchOrder, VersionConflict, OrderHeld, IllegalTransition, ReasonMissing: as for `service.transition`.
    """
    permissions.require(conn, user, Permission.WORK)
    order = locked_for(conn, user, order_id, expected_version)
    if order.status not in WORKABLE_STATUSES:  # a price is no person's to set
        raise IllegalTransition(order_id=order_id, status=order.status, to=to, by=user)
    with conn.begin_nested():  # a refused move leaves no claim
        if order.claimed_by is None and not order.held:
            record_claim(conn, order, user, LEASE, clock)
        return service.transition(conn, order_id, to, _actor(user), reason=reason, clock=clock)


def hold(
    conn: Connection,
    user: str,
    order_id: UUID,
    reason: str,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Stop an open order, whoever has claimed it.

    Raises:
        NotSignedIn, NotAllowed: he may not hold orders.
        NoSuchOrder, VersionConflict, IllegalTransition, ReasonMissing: as for `service.hold`.
    """
    permissions.require(conn, user, Permission.HOLD)
    return service.hold(conn, order_id, _actor(user), reason, expected_version=expected_version, clock=clock)


def release(
    conn: Connection,
    user: str,
    order_id: UUID,
    *,
    expected_version: int | None = None,
    reason: str | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Let a held order move again, whoever held it.

    Raises:
        NotSignedIn, NotAllowed: he may not release orders.
        NoSuchOrder, VersionConflict: as for `service.release`.
    """
    permissions.require(conn, user, Permission.HOLD)
    return service.release(conn, order_id, _actor(user), reason=reason, expected_version=expected_version, clock=clock)


def write_note(
    conn: Connection,
    user: str,
    order_id: UUID,
    note: str | None,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Replace the order's note to the workshop, whoever has claimed it.

    Raises:
        NotSignedIn, NotAllowed: he may not write notes.
        NoSuchOrder, VersionConflict: as for `service.write_note`.
    """
    permissions.require(conn, user, Permission.NOTE)
    return service.write_note(conn, order_id, _actor(user), note, expected_version=expected_version, clock=clock)


def assign(
    conn: Connection,
    manager: str,
    order_id: UUID,
    operator: str | None,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Put an open order into an operator's queue, or with None back among those that are shared out, to another.

    A claim of anybody else ends. An order that stands in that queue already stays as it is.

    Raises:
        NotSignedIn, NotAllowed: the user is no manager.
        NoSuchOrder, VersionConflict: as for `service.transition`.
        NoSuchOperator: nobody of this name may be given work.
        IllegalClaim: the order is finished.
    """
    permissions.require(conn, manager, Permission.ASSIGN)
    if operator is not None and operator not in users.active_operators(conn):
        raise NoSuchOperator(operator=operator)
    order = locked(conn, order_id, expected_version)
    if order.status in FINISHED_STATUSES:
        raise IllegalClaim("The order is finished: nothing is left to do.", order_id=order_id, status=order.status)
    if order.assigned_to == operator and order.claimed_by in {None, operator}:
        return order
    given_back_by = order.given_back_by if operator is not None else order.assigned_to or order.given_back_by
    data = {"from": order.assigned_to, "to": operator, "given_back_by": given_back_by}
    event = NewEvent(EventType.ASSIGNED, clock(), _actor(manager), data=data)
    return repository.change(conn, order, changes.assigned(order, operator, given_back_by), event)


def _actor(user: str) -> Actor:
    return Actor(System.MES, user)

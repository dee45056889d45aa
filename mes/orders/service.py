"""Changes orders; the one place where a status, a hold or an assignment is decided."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import Connection

from mes.clock import Clock, utc_now
from mes.jobs import queue
from mes.orders import changes, life, repository
from mes.orders.life import EventType, Status, System
from mes.orders.model import Actor, IllegalTransition, NewEvent, Order, OrderHeld, ReasonMissing, Told, VersionConflict


def transition(
    conn: Connection,
    order_id: UUID,
    to: Status,
    by: Actor,
    *,
    reason: str | None = None,
    expected_version: int | None = None,
    told: Told | None = None,
    data: Mapping[str, object] | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Move one order and record the event, in the caller's transaction; `data` is what else the event tells.

    With `told`, the event carries the time and the id that its sender gave it; the order stands there from now on all
    the same.

    Raises:
        NoSuchOrder: there is none with this id.
        VersionConflict: the order is not at `expected_version`.
        OrderHeld: it is on hold, and the move is no cancellation.
        IllegalTransition: `by`'s system may not make this move from the order's status.
        ReasonMissing: the move needs a reason (rework, and whatever an administrator does).
    """
    order = _locked(conn, order_id, expected_version)
    move = life.find_move(order.status, to)
    if move is None or not move.may_be_made_by(by.system):
        raise IllegalTransition(order_id=order_id, status=order.status, to=to, by=by.system)
    if order.held and not life.may_move_while_held(to):
        raise OrderHeld(order_id=order_id, status=order.status, to=to, hold_reason=order.hold_reason)
    if (move.needs_reason or by.system is System.ADMIN) and not (reason or "").strip():
        raise ReasonMissing(order_id=order_id, to=to)
    now = clock()
    occurred_at, event_id = (told.occurred_at, told.event_id) if told is not None else (now, None)
    event = NewEvent(to, occurred_at, by, reason, data, source_event_id=event_id)
    changed = repository.change(conn, order, changes.moved(order, to, now), event)
    if to is Status.SUBMITTED:
        queue.price_order(conn, order_id)
    return changed


def hold(
    conn: Connection,
    order_id: UUID,
    by: Actor,
    reason: str,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Stop an open order until a person releases it; holding a held order changes nothing.

    Raises:
        NoSuchOrder, VersionConflict: as for `transition`.
        IllegalTransition: the order is finished.
        ReasonMissing: `reason` is empty.
    """
    order = _locked(conn, order_id, expected_version)
    if order.status in life.FINISHED_STATUSES:
        raise IllegalTransition("A finished order cannot be held.", order_id=order_id, status=order.status)
    if not reason.strip():
        raise ReasonMissing(order_id=order_id)
    if order.held:
        return order
    now = clock()
    held = changes.held(order, by.name, reason, now)
    return repository.change(conn, order, held, NewEvent(EventType.HELD, now, by, reason))


def release(
    conn: Connection,
    order_id: UUID,
    by: Actor,
    *,
    reason: str | None = None,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Let a held order move again; releasing a free order changes nothing. One that waits for its price is priced anew.

    Raises:
        NoSuchOrder, VersionConflict: as for `transition`.
    """
    order = _locked(conn, order_id, expected_version)
    if not order.held:
        return order
    now = clock()
    event = NewEvent(EventType.RELEASED, now, by, reason)
    released = repository.change(conn, order, changes.released(order), event)
    if order.status is Status.SUBMITTED:
        queue.price_order(conn, order_id)
    return released


def write_note(
    conn: Connection,
    order_id: UUID,
    by: Actor,
    note: str | None,
    *,
    expected_version: int | None = None,
    clock: Clock = utc_now,
) -> Order:
    """Replace the order's note to the workshop (an `edited` event); the same note again changes nothing.

    Raises:
        NoSuchOrder, VersionConflict: as for `transition`.
    """
    order = _locked(conn, order_id, expected_version)
    note = (note or "").strip() or None
    if note == order.note:
        return order
    event = NewEvent(EventType.EDITED, clock(), by, data={"note": {"from": order.note, "to": note}})
    return repository.change(conn, order, changes.noted(order, note), event)


def _locked(conn: Connection, order_id: UUID, expected_version: int | None) -> Order:
    order = repository.lock(conn, order_id)
    if expected_version is not None and order.version != expected_version:
        raise VersionConflict(order_id=order_id, expected_version=expected_version, version=order.version)
    return order

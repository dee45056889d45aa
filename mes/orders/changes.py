"""Says what each change makes of an order: for those who make changes, and for the replay of their events."""

from dataclasses import replace
from datetime import datetime

from mes.orders.life import FINISHED_STATUSES, Status
from mes.orders.model import Order


def moved(order: Order, to: Status, at: datetime) -> Order:
    """It stands at `to`; work has begun, so a claim stays, unless nothing is left to hold nor to work on."""
    over = to in FINISHED_STATUSES
    return replace(
        order,
        status=to,
        status_since=at,
        lease_until=None,
        hold_reason=None if over else order.hold_reason,
        held_by=None if over else order.held_by,
        held_since=None if over else order.held_since,
        claimed_by=None if over else order.claimed_by,
    )


def held(order: Order, by: str, reason: str | None, at: datetime) -> Order:
    """It stands still until a person releases it."""
    return replace(order, hold_reason=reason, held_by=by, held_since=at)


def released(order: Order) -> Order:
    """It may move again."""
    return replace(order, hold_reason=None, held_by=None, held_since=None)


def noted(order: Order, note: str | None) -> Order:
    """It has another note to the workshop."""
    return replace(order, note=note)


def claimed(order: Order, by: str, lease_until: datetime | None) -> Order:
    """It is `by`'s to work on, and in his queue; without a time, he has begun."""
    return replace(order, assigned_to=by, claimed_by=by, lease_until=lease_until)


def assigned(order: Order, to: str | None, given_back_by: str | None) -> Order:
    """It stands in `to`'s queue, or in nobody's, and nobody has claimed it."""
    return replace(order, assigned_to=to, claimed_by=None, lease_until=None, given_back_by=given_back_by)

"""What sharing out and claims are made of: which orders can be worked on, and what can go wrong."""

from typing import ClassVar

from mes.errors import MesError
from mes.orders import life
from mes.orders.life import OPEN_STATUSES, Status, System
from mes.orders.model import Actor, Order

# who acts when no person does
DISPATCHER = Actor(System.MES, "dispatch")

# open orders that have their price: each should be in somebody's queue; those that the CRM approved can be worked on
SHARED_STATUSES: tuple[Status, ...] = OPEN_STATUSES[OPEN_STATUSES.index(Status.PRICE_CALCULATED) :]
WORKABLE_STATUSES: tuple[Status, ...] = tuple(
    status for status in SHARED_STATUSES if life.moves_from(status, System.MES)
)


class ClaimedByAnother(MesError):
    """A colleague works on this order, so only he may move it."""

    code: ClassVar[str] = "claimed_by_another"
    http_status: ClassVar[int] = 409


class IllegalClaim(MesError):
    """There is nothing to do on this order now, so nobody can claim it."""

    code: ClassVar[str] = "illegal_claim"
    http_status: ClassVar[int] = 409


class NotClaimed(MesError):
    """You did not claim this order, so you cannot give it back."""

    code: ClassVar[str] = "not_claimed"
    http_status: ClassVar[int] = 409


class NoSuchOperator(MesError):
    """There is no active operator of this name."""

    code: ClassVar[str] = "no_such_operator"
    http_status: ClassVar[int] = 422


def why_not_workable(order: Order) -> str | None:
    """Why nobody can work on the order now, in a sentence; None when somebody can."""
    if order.status in life.FINISHED_STATUSES:
        return "The order is finished: nothing is left to do."
    if order.held:
        return "The order is on hold. Release it first."
    if order.status in WORKABLE_STATUSES:
        return None
    if order.status is Status.PRICE_CALCULATED:
        return "The order waits for the CRM's approval."
    return "The order waits for its price."


def sql_list(statuses: tuple[Status, ...]) -> str:
    """`'PACKAGING', ...` for conditions that an index's own must be seen in; bound values would hide it."""
    return ", ".join(f"'{status.value}'" for status in statuses)

"""Decides what becomes of an event that shop or CRM sent; knows no database, so that all cases can be tried."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from mes.orders.life import MOVES, Status, System, find_move, may_move_while_held


class Verdict(StrEnum):
    """What becomes of an event."""

    APPLY = "apply"
    IGNORE = "ignore"
    WAIT = "wait"
    PARK = "park"


@dataclass(frozen=True)
class Standing:
    """How the order stands: `passed` are the statuses that its events have led it to."""

    status: Status
    held: bool
    passed: frozenset[Status]


@dataclass(frozen=True)
class Judgement:
    """A verdict, and the reason for people."""

    verdict: Verdict
    reason: str


_NAMES = {System.SHOP: "the shop", System.CRM: "the CRM"}


def judge(sender: System, source: str, told: str, fault: str | None, order: Standing | None) -> Judgement:
    """What becomes of a sender's next event about an order.

    Args:
        sender: who tells.
        source: of the order; the shop may tell of its own orders only.
        told: the status that the order is said to have reached.
        fault: what is wrong with the event by itself.
        order: None while it is not known here.
    """
    never = fault or _never(sender, source, told)
    if never is not None:
        return Judgement(Verdict.PARK, never)
    if order is None:
        return Judgement(Verdict.WAIT, "the order is not known yet")
    return _judge_move(sender, Status(told), order)


def judged_again_at(sender: System, told: str, order: Standing | None) -> frozenset[Status] | None:
    """The statuses of the order at which another verdict may be reached than that an event waits; None: any change.

    Whoever waits for a status is not bothered by all that happens to the order before it.
    """
    to = Status(told)
    if order is None or find_move(order.status, to) is not None:  # it is held
        return None
    reached = {status: Standing(status, held=False, passed=order.passed | {status}) for status in Status}
    return frozenset(
        status for status in Status if _judge_move(sender, to, reached[status]).verdict is not Verdict.WAIT
    )


def _never(sender: System, source: str, told: str) -> str | None:
    """Why the sender can never tell this, whatever becomes of the order; None when it can."""
    if Status(told) not in _told_by(sender):
        return f"{_NAMES[sender]} never sets {told}"
    if sender is System.SHOP and source != System.SHOP:
        return f"the order belongs to {source}, not to the shop"
    return None


def _judge_move(sender: System, to: Status, order: Standing) -> Judgement:
    move = find_move(order.status, to)
    if move is not None and move.may_be_made_by(sender):
        if order.held and not may_move_while_held(to):
            return Judgement(Verdict.WAIT, "the order is on hold")
        return Judgement(Verdict.APPLY, "")
    if to in order.passed or to is Status.INITIATED:  # every order begins so, told or not
        return Judgement(Verdict.IGNORE, f"the order has been {to} already")
    if _may_become_legal(sender, order.status, to):
        return Judgement(Verdict.WAIT, f"the order is {order.status}")
    return Judgement(Verdict.PARK, f"an order that is {order.status} can never become {to}")


@cache
def _told_by(sender: System) -> frozenset[Status]:
    """The statuses that a sender may set by some move; an order that the shop initiates begins there."""
    begins = {Status.INITIATED} if sender is System.SHOP else set()
    return frozenset({move.to for move in MOVES if sender in move.by} | begins)


@cache
def _may_become_legal(sender: System, status: Status, to: Status) -> bool:
    """Whether others' moves may bring the order to where the sender may make this one."""
    reached, growing = {status}, True
    while growing:
        further = {move.to for move in MOVES if move.start in reached} - reached
        reached |= further
        growing = bool(further)
    return any(sender in move.by and move.start in reached for move in MOVES if move.to is to)

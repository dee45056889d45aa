"""The life of an order: its statuses, and the one table of moves that says who may make each."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """Where an order is, in the order of its life; the database's enum sorts the same way."""

    INITIATED = "INITIATED"
    SUBMITTED = "SUBMITTED"
    PRICE_CALCULATED = "PRICE_CALCULATED"
    MANUFACTURING_APPROVED = "MANUFACTURING_APPROVED"
    MANUFACTURING_STARTED = "MANUFACTURING_STARTED"
    MANUFACTURING_COMPLETED = "MANUFACTURING_COMPLETED"
    PACKAGING = "PACKAGING"
    SHIPPED = "SHIPPED"
    CLOSED = "CLOSED"
    CANCELLED = "CANCELLED"


class System(StrEnum):
    """Which of the three systems acts, or an administrator in place of any."""

    SHOP = "shop"
    CRM = "crm"
    MES = "mes"
    ADMIN = "admin"


class EventType(StrEnum):
    """Events that are no moves; a move's event carries the name of the status it led to."""

    HELD = "held"
    RELEASED = "released"
    EDITED = "edited"
    ASSIGNED = "assigned"
    CLAIMED = "claimed"
    GIVEN_BACK = "given_back"
    LEASE_ENDED = "lease_ended"
    TAKEN_OVER = "taken_over"
    REPRICED = "repriced"
    CORRECTED = "corrected"


@dataclass(frozen=True)
class Move:
    """One allowed change of status."""

    start: Status
    to: Status
    by: frozenset[System]
    needs_reason: bool = False

    def may_be_made_by(self, system: System) -> bool:
        """Whether `system` may make it; an administrator may make any."""
        return system is System.ADMIN or system in self.by


def _move(start: Status, to: Status, *by: System, needs_reason: bool = False) -> Move:
    return Move(start, to, frozenset(by), needs_reason)


_CANCELLABLE = tuple(status for status in Status if status not in {Status.SHIPPED, Status.CLOSED, Status.CANCELLED})

MOVES: tuple[Move, ...] = (
    _move(Status.INITIATED, Status.SUBMITTED, System.SHOP),
    _move(Status.SUBMITTED, Status.PRICE_CALCULATED, System.MES),
    _move(Status.PRICE_CALCULATED, Status.MANUFACTURING_APPROVED, System.CRM),
    _move(Status.MANUFACTURING_APPROVED, Status.MANUFACTURING_STARTED, System.MES),
    _move(Status.MANUFACTURING_STARTED, Status.MANUFACTURING_COMPLETED, System.MES),
    _move(Status.MANUFACTURING_COMPLETED, Status.MANUFACTURING_STARTED, System.MES, needs_reason=True),  # rework
    _move(Status.MANUFACTURING_COMPLETED, Status.PACKAGING, System.MES),
    _move(Status.PACKAGING, Status.SHIPPED, System.MES),
    _move(Status.SHIPPED, Status.CLOSED, System.CRM),
    *(_move(status, Status.CANCELLED, System.SHOP, System.CRM) for status in _CANCELLABLE),
)

OPEN_STATUSES: tuple[Status, ...] = _CANCELLABLE
FINISHED_STATUSES: tuple[Status, ...] = (Status.SHIPPED, Status.CLOSED, Status.CANCELLED)

_BY_ENDS = {(move.start, move.to): move for move in MOVES}


def find_move(start: Status, to: Status) -> Move | None:
    """The allowed move between two statuses, or None when nobody may make it."""
    return _BY_ENDS.get((start, to))


def moves_from(status: Status, by: System) -> tuple[Move, ...]:
    """The moves that `by` may make from `status`, in the order of life (what the console offers as buttons)."""
    return tuple(move for move in MOVES if move.start is status and move.may_be_made_by(by))


def may_move_while_held(to: Status) -> bool:
    """Whether a held order may go there: a hold lets it out by cancellation only."""
    return to is Status.CANCELLED

"""What an order is to the code that moves it: its state, who acts on it, and what can go wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from mes.errors import MesError
from mes.orders.life import EventType, Status, System


@dataclass(frozen=True)
class Actor:
    """Who acts: a person or program, by name, on behalf of one of the systems."""

    system: System
    name: str


@dataclass(frozen=True)
class Order:
    """The part of an order that events change; `version` is the number of its events."""

    order_id: UUID
    source: str
    external_id: str
    status: Status
    status_since: datetime
    version: int
    hold_reason: str | None = None
    held_by: str | None = None
    held_since: datetime | None = None
    assigned_to: str | None = None
    claimed_by: str | None = None
    lease_until: datetime | None = None
    given_back_by: str | None = None
    note: str | None = None

    @property
    def held(self) -> bool:
        """Whether a person has to look at it before it may move on."""
        return self.held_since is not None


@dataclass(frozen=True)
class NewEvent:
    """A fact about an order that is about to be recorded."""

    type: Status | EventType
    occurred_at: datetime
    actor: Actor
    reason: str | None = None
    data: Mapping[str, object] | None = None
    source_event_id: str | None = None


@dataclass(frozen=True)
class Told:
    """What a sender's own event says of a move: its id there, and when it happened there."""

    event_id: str
    occurred_at: datetime


@dataclass(frozen=True)
class Event:
    """A recorded fact about an order; `sequence` is the order's version after it."""

    sequence: int
    type: str
    occurred_at: datetime
    recorded_at: datetime
    system: str
    actor: str
    reason: str | None
    live: bool
    inferred: bool
    late: bool
    data: dict[str, object] | None


class NoSuchOrder(MesError):
    """There is no such order."""

    code: ClassVar[str] = "no_such_order"
    http_status: ClassVar[int] = 404


class IllegalTransition(MesError):
    """This order cannot make that move."""

    code: ClassVar[str] = "illegal_transition"
    http_status: ClassVar[int] = 409


class OrderHeld(IllegalTransition):
    """The order is on hold: release it first, or cancel it."""


class ReasonMissing(MesError):
    """Say why: this change needs a reason."""

    code: ClassVar[str] = "reason_missing"
    http_status: ClassVar[int] = 422


class VersionConflict(MesError):
    """Somebody else changed the order in the meantime: look at it again, then decide."""

    code: ClassVar[str] = "version_conflict"
    http_status: ClassVar[int] = 409

"""What drift is: its kinds, what may mend it, and what can go wrong while looking for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from mes.errors import MesError

SYSTEMS = ("shop", "crm")
"""With whom we compare; each is asked for a statement of its own."""


class Kind(StrEnum):
    """How two systems disagree on an order."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    BEHIND_HERE = "behind_here"
    BEHIND_THERE = "behind_there"
    AHEAD_THERE = "ahead_there"
    STATUS_DIFFERS = "status_differs"


class Remedy(StrEnum):
    """What may mend it: telling them the whole order, looking into the inbox again, or only a person."""

    SNAPSHOT = "snapshot"
    WAKE = "wake"
    PERSON = "person"


class Scope(StrEnum):
    """Which orders a run compares."""

    ALL = "all"
    RECENT = "recent"


class StatementMissing(MesError):
    """There is no statement: nothing was compared."""

    code: ClassVar[str] = "statement_missing"


class StatementUnusable(MesError):
    """The statement cannot be read: nothing was compared."""

    code: ClassVar[str] = "statement_unusable"


class StatementTooSmall(MesError):
    """The statement knows far fewer orders than it should, as half of a file would: nothing was compared."""

    code: ClassVar[str] = "statement_too_small"


class RunUnderWay(MesError):
    """Another run compares with this system: wait until it has ended."""

    code: ClassVar[str] = "run_under_way"
    http_status: ClassVar[int] = 409


class NoSuchDrift(MesError):
    """No open difference has this number."""

    code: ClassVar[str] = "no_such_drift"
    http_status: ClassVar[int] = 404


class NotRepairable(MesError):
    """This difference cannot be repaired by a program: mend what its explanation says, or accept it."""

    code: ClassVar[str] = "not_repairable"
    http_status: ClassVar[int] = 409


@dataclass(frozen=True, slots=True)
class Pair:
    """An order as we have it, and as the other system states it; None where one side does not know it.

    `version` there is the sequence of our last event that they have applied; `sent` the last sequence that they have
    sent us, `applied` the last that we have applied.
    """

    source: str
    external_id: str
    order_id: UUID | None
    our_status: str | None
    our_version: int | None
    live_from: int | None
    applied: int | None
    their_status: str | None
    their_version: int | None
    sent: int | None
    stated: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """A difference, with what may mend it."""

    pair: Pair
    kind: Kind
    remedy: Remedy
    explanation: str


@dataclass(frozen=True)
class Rules:
    """What counts as drift, and how far programs may go in mending it.

    Attributes:
        settle: what changed so recently may still be under way.
        repairs_at_once: that one run begins.
        attempts: repairs without effect, after which a person has to look.
    """

    settle: timedelta = timedelta(minutes=10)
    repairs_at_once: int = 500
    attempts: int = 3


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    run_id: int
    system: str
    scope: Scope
    started_at: datetime
    stated: int
    bad_rows: int
    ours: int
    buckets: int
    differing_buckets: int
    found: dict[str, int]
    repaired: int
    closed: int
    first_faults: tuple[str, ...] = ()

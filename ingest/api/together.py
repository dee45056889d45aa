"""Answers creating calls that arrive at the same time by one transaction, each as if it had come alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.responses import Response

from ingest.api import problems
from ingest.api.bodies import Body
from ingest.api.calls import IDEMPOTENCY_KEY, REPLAYED, Backend, Call, is_kept, note_use
from ingest.api.gathering import Gathering, LetNext
from ingest.api.overload import Overloaded
from mes.callers import idempotency, keys
from mes.callers.idempotency import Answer, KeyedRequest, KeyInUse
from mes.callers.keys import Authenticated, Keyed
from mes.callers.model import Caller, NotAuthenticated
from mes.db import direct
from mes.errors import MesError
from mes.observability import traces

# an import may hold an order of the same number, or somebody a customer: then each call waits for itself
_SHORT_WAIT = text("set local lock_timeout = '250ms'")


# of SQLSTATE: no connection, no room, shutting down or starting up, a standby
_AWAY_CLASSES = ("08", "53", "57P", "25006")


@dataclass(frozen=True)
class Asked:
    """A call, and what came with it."""

    call: Call
    body: Body
    cause: str | None = field(default_factory=traces.traceparent)
    """The `traceparent` of the request."""

    @property
    def given_keys(self) -> Sequence[str]:
        """All that came as `Idempotency-Key`."""
        return self.call.request.headers.getlist(IDEMPOTENCY_KEY)


Outcome = Answer | MesError
Work = Callable[[Connection, Caller, Sequence[Asked]], Sequence[Outcome]]
"""Does what calls of one caller ask for; gives for each what came of it. One that is refused leaves nothing behind."""


@dataclass(frozen=True)
class Together:
    """What is done for calls that arrive at the same time, and how it is counted."""

    work: Work
    count: Callable[[Caller, Sequence[Outcome]], None]
    """Is told what came of a caller's calls, once that is committed."""


def gathering(backend: Backend, together: Together) -> Gathering[Asked, Response | MesError]:
    """Gathers calls for what is done together; whoever awaits one raises what is an error."""
    return Gathering(lambda asked, let_next: answer_all(backend, together, asked, let_next), alone=_may_be_ones_fault)


def answer_all(
    backend: Backend, together: Together, asked: Sequence[Asked], let_next: LetNext
) -> Sequence[Response | MesError]:
    """Whose calls they are, what was answered before, the work of the others and their answers: one transaction.

    The next may begin once these are recognised: what follows is mostly the database's.

    Raises:
        Exception: nothing of it was done, for none of them. One of several calls may be the cause; several wait for a
            lock only so long that those are not kept waiting who do not need it.
    """
    backend.backlog.check()
    group = _Group(backend, asked)
    causes = [each.cause for each in asked]
    came: list[tuple[Caller, Sequence[Outcome]]] = []
    with traces.span("answer together", causes=causes), group.transaction() as conn:
        if len(asked) > 1:
            direct.execute(conn, _SHORT_WAIT, {})
        group.recognise(conn)
        let_next()
        for caller, places in group.open_by_caller().items():
            outcomes = together.work(conn, caller, [asked[place] for place in places])
            came.append((caller, outcomes))
            for place, outcome in zip(places, outcomes, strict=True):
                group.conclude(place, outcome)
        group.keep(conn)
    for caller, outcomes in came:
        together.count(caller, outcomes)
    return group.results


def _may_be_ones_fault(error: Exception) -> bool:
    """Whether one of several calls may be the cause; a database that is away, or too much work, is there for all."""
    if isinstance(error, Overloaded | PoolExhausted):
        return False
    return not (isinstance(error, DBAPIError) and (error.connection_invalidated or _is_away(error.orig)))


def _is_away(cause: BaseException | None) -> bool:
    """Who cannot connect is told no SQLSTATE at all."""
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    if state is None:
        return isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
    return state.startswith(_AWAY_CLASSES)


class _Group:
    """Calls on their way to an answer."""

    def __init__(self, backend: Backend, asked: Sequence[Asked]) -> None:
        self._backend, self._asked = backend, asked
        self._known: Sequence[Authenticated | None] = ()
        self._requests: dict[int, KeyedRequest] = {}
        self._new: list[tuple[KeyedRequest, Answer]] = []
        self._results: dict[int, Response | MesError] = {}

    @property
    def results(self) -> Sequence[Response | MesError]:
        """Of all, in order."""
        return [self._results[place] for place in range(len(self._asked))]

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Committed at the end; then the use of the keys is noted."""
        try:
            with self._backend.engine.begin() as conn:
                yield conn
        finally:
            used = {known.key_id for known in self._known if known is not None and known.use_is_news}
            for key_id in used:
                note_use(self._backend, key_id)

    def recognise(self, conn: Connection) -> None:
        """Find out whose the calls are, and which of them have their answer."""
        self._known = keys.authenticate_many(
            conn, [(each.call.key or "", self._keyed(each)) for each in self._asked], clock=self._backend.clock
        )
        taken: set[tuple[str, str]] = set()
        for place, known in enumerate(self._known):
            try:
                kept = self._kept(place, known, taken)
            except MesError as refused:
                self._results[place] = refused
            else:
                if kept is not None:
                    self._results[place] = problems.respond(kept, {REPLAYED: "true"})

    def open_by_caller(self) -> dict[Caller, list[int]]:
        """The places of the calls that have no answer yet."""
        places: dict[Caller, list[int]] = {}
        for place, known in enumerate(self._known):
            if place not in self._results and known is not None:
                places.setdefault(known.caller, []).append(place)
        return places

    def conclude(self, place: int, outcome: Outcome) -> None:
        """Answer a call; what is refused for good is kept as an answer."""
        if isinstance(outcome, MesError):
            if not is_kept(outcome):
                self._results[place] = outcome
                return
            outcome = problems.render(outcome, problems.instance_of(self._asked[place].call.request))
        self._new.append((self._requests[place], outcome))
        self._results[place] = problems.respond(outcome)

    def keep(self, conn: Connection) -> None:
        """Keep the answers that are new."""
        if self._new:
            idempotency.store_many(conn, self._new, clock=self._backend.clock)

    def _keyed(self, asked: Asked) -> Keyed | None:
        given, request = asked.given_keys, asked.call.request
        if not given:
            return None
        return idempotency.keyed(request.method, request.scope["path"], given[0], clock=self._backend.clock)

    def _kept(self, place: int, known: Authenticated | None, taken: set[tuple[str, str]]) -> Answer | None:
        if known is None:
            raise NotAuthenticated
        asked = self._asked[place]
        request = asked.call.request
        request.state.caller = known.caller.key_name
        if not getattr(request.state, "counted", False):  # one that is tried alone, once more, came once
            request.state.counted = True
            self._backend.limits.take(known.key_id)
        content = asked.body.read()
        key = idempotency.check_key(asked.given_keys)
        self._requests[place] = KeyedRequest(known.caller.name, request.method, request.scope["path"], key, content)
        kept = idempotency.kept(known, self._requests[place])
        if kept is None and (known.caller.name, key) in taken:
            raise KeyInUse  # the transaction has its lock already, for a call of this group
        taken.add((known.caller.name, key))
        return kept

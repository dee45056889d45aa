"""Gives each call its caller and its one transaction, and creating calls one effect however often they are sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import Depends, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import problems
from ingest.api.bodies import Body
from ingest.api.overload import Backlog, RateLimits
from ingest.measuring import Bench
from mes.callers import idempotency, keys
from mes.callers.idempotency import Answer, KeyedRequest
from mes.callers.keys import Authenticated, Keyed
from mes.callers.model import Caller, NotAuthenticated
from mes.clock import Clock
from mes.config import Settings
from mes.errors import MesError
from mes.models.pending import ModelPending
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.orders.placing import QuotePending

IDEMPOTENCY_KEY, REPLAYED = "idempotency-key", "idempotency-replayed"
RETRY_AFTER_S = 1
"""After so long it is worth while to ask again for what was answered 202."""

# of the other 4xx, the same request may be answered better later
_NOT_KEPT = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)

# nor for these reasons
_NOT_KEPT_CODES = frozenset({QuotePending.code, ModelPending.code})

log = structlog.get_logger(__name__)
bearer = HTTPBearer(
    scheme_name="api_key",
    bearerFormat="mes_<id>_<secret>",
    description="An API key, from whoever runs the workshop (`mes keys create`). Keep it secret; it can be revoked.",
    auto_error=False,
)


@dataclass(frozen=True)
class Backend:
    """What the process answers with."""

    settings: Settings
    engine: Engine
    store: ObjectStore
    clock: Clock
    limits: RateLimits
    backlog: Backlog

    @property
    def bench(self) -> Bench:
        """What it measures models with."""
        return Bench(self.engine, self.store, Limits.of(self.settings))


Work = Callable[[Connection, Caller, bytes], Answer]


class Call:
    """One request to the API."""

    def __init__(self, request: Request, key: str | None) -> None:
        self.request = request
        self.backend: Backend = request.app.state.backend
        self.key = key

    @contextmanager
    def transaction(self) -> Iterator[tuple[Connection, Caller]]:
        """A transaction, and whose it is; committed at the end of the block, rolled back by an error.

        Raises:
            NotAuthenticated: there is no valid key.
            TooManyRequests: the key sends more than it may.
        """
        with self._authenticated() as (conn, known):
            yield conn, known.caller

    def require_key(self) -> Caller:
        """Who calls, before a long body is received.

        Raises:
            NotAuthenticated, TooManyRequests: as for `transaction`.
        """
        with self.transaction() as (_, caller):
            return caller

    def once(self, body: Body, work: Work) -> Response:
        """Do the work and keep its answer under the request's `Idempotency-Key`, or give the answer that was kept.

        Work and answer are one transaction. What is refused with a 4xx is undone, its answer kept all the same.

        Raises:
            NotAuthenticated, BodyTooLarge, UnsupportedMediaType: before anything else is looked at.
            KeyMissing, KeyInvalid, KeyInUse, KeyReused: about the key.
        """
        try:
            return self._once(body, work)
        except _Refused as refused:
            # the first transaction is undone; in the next, another's answer may be there by now, and is as good
            answer = problems.render(refused.error, problems.instance_of(self.request))
            return self._once(body, lambda *_: answer)

    def _once(self, body: Body, work: Work) -> Response:
        given = self.request.headers.getlist(IDEMPOTENCY_KEY)
        method, path = self.request.method, self.request.scope["path"]
        keyed = idempotency.keyed(method, path, given[0], clock=self.backend.clock) if given else None
        with self._authenticated(keyed) as (conn, known):
            content = body.read()
            key = idempotency.check_key(given)
            request = KeyedRequest(known.caller.name, method, path, key, content)
            kept = idempotency.kept(known, request)
            if kept is not None:
                return problems.respond(kept, {REPLAYED: "true"})
            answer = self._attempt(conn, known.caller, content, work)
            idempotency.store(conn, request, answer, clock=self.backend.clock)
        return problems.respond(answer)

    def _attempt(self, conn: Connection, caller: Caller, content: bytes, work: Work) -> Answer:
        try:
            return work(conn, caller, content)
        except MesError as error:
            if not is_kept(error):
                raise
            raise _Refused(error) from error

    @contextmanager
    def _authenticated(self, keyed: Keyed | None = None) -> Iterator[tuple[Connection, Authenticated]]:
        if self.key is None:
            raise NotAuthenticated
        known: Authenticated | None = None
        try:
            with self.backend.engine.begin() as conn:
                known = keys.authenticate(conn, self.key, keyed=keyed, clock=self.backend.clock)
                self.request.state.caller = known.caller.key_name
                self.backend.limits.take(known.key_id)
                yield conn, known
        finally:
            if known is not None and known.use_is_news:
                note_use(self.backend, known.key_id)


def is_kept(refusal: MesError) -> bool:
    """Whether the same request can only be refused again, so that the refusal is its answer for good."""
    passing = refusal.http_status in _NOT_KEPT or refusal.code in _NOT_KEPT_CODES
    return not passing and refusal.http_status < HTTPStatus.INTERNAL_SERVER_ERROR


def note_use(backend: Backend, key_id: str) -> None:
    """In a transaction of its own: the calls of one key must not wait for each other, nor fail for this."""
    try:
        with backend.engine.begin() as conn:
            keys.note_use(conn, key_id, clock=backend.clock)
    except SQLAlchemyError as error:
        log.warning("the use of a key was not noted", key_id=key_id, error=type(error).__name__)


class _Refused(Exception):
    """The work refused, with an answer that is kept; ends the transaction, so that nothing stays of what it did."""

    def __init__(self, error: MesError) -> None:
        super().__init__(str(error))
        self.error = error


Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


async def called(request: Request, credentials: Credentials) -> Call:
    """The call that a request is; async, though it awaits nothing: FastAPI would give anything else a thread."""
    return Call(request, credentials.credentials if credentials is not None else None)


Called = Annotated[Call, Depends(called)]


def as_id(given: str, none_such: type[MesError]) -> UUID:
    """An id from a path; what is none belongs to nothing.

    Raises:
        none_such: it is no UUID.
    """
    try:
        return UUID(given)
    except ValueError:
        raise none_such from None

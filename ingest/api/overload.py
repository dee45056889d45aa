"""Says no early when the process or the system has more than it can do, rather than let everybody wait."""

import math
import threading
import time
from collections import OrderedDict
from typing import ClassVar

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.api import problems
from mes.db import query
from mes.errors import MesError

# callers whose last request is longer ago begin anew
_REMEMBERED = 10_000
_LOOK_S = 1.0
_OLD_S = 60.0
_QUIET = ("/healthz", "/readyz", "/metrics")

log = structlog.get_logger(__name__)


class Overloaded(MesError):
    """The system has more to do than it can take on now. Nothing is lost: try again a little later."""

    code: ClassVar[str] = "overloaded"
    http_status: ClassVar[int] = 503


class TooManyRequests(MesError):
    """This key sends more than it may: wait as long as `Retry-After` says."""

    code: ClassVar[str] = "too_many_requests"
    http_status: ClassVar[int] = 429

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s=retry_after_s)
        self.retry_after_s = retry_after_s


class RateLimits:
    """Lets each key send so many requests a second, and as many at once as it has saved up in two.

    Each process counts for itself, in memory: a limit that is kept to the last request would cost every request a
    round trip to what all of them share.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s, self._most = per_s, 2 * per_s
        self._lock = threading.Lock()
        self._saved: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str, now: float | None = None) -> None:
        """Count a request.

        Raises:
            TooManyRequests: the key has none left; says for how long.
        """
        now = time.monotonic() if now is None else now
        with self._lock:
            saved, since = self._saved.pop(key_id, (self._most, now))
            saved = min(self._most, saved + (now - since) * self._per_s)
            allowed = saved >= 1
            self._saved[key_id] = (saved - 1 if allowed else saved, now)
            if len(self._saved) > _REMEMBERED:
                self._saved.popitem(last=False)
        if not allowed:
            raise TooManyRequests(math.ceil((1 - saved) / self._per_s))


class Crowd:
    """ASGI middleware: answers 503 at once when more requests are under way than can be answered in a second or so."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most, self._under_way = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; machines are always answered."""
        if scope["type"] != "http" or scope["path"] in _QUIET:
            await self._app(scope, receive, send)
            return
        if self._under_way >= self._most:
            instance = str(scope.get("state", {}).get("request_id", ""))
            await problems.respond(problems.render(Overloaded(), instance))(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way -= 1


class Backlog:
    """Looks every second how much the workers are behind; new orders are refused while it is too much.

    Too much is a number of events that nobody has given a position yet, the first of them a minute ago: the workers
    are there and do not keep up, or they are not there and it has become late.
    """

    def __init__(self, engine: Engine, most: int) -> None:
        self._engine, self._most = engine, most
        self._looked_at = float("-inf")
        self._too_much = False
        self._lock = threading.Lock()

    def check(self) -> None:
        """Refuse while there is too much to do.

        Raises:
            Overloaded: come back later.
        """
        if time.monotonic() - self._looked_at >= _LOOK_S and self._lock.acquire(blocking=False):
            try:
                self._look()
            finally:
                self._lock.release()
        if self._too_much:
            raise Overloaded

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            with self._engine.begin() as conn:
                too_much = query.flag(conn, _TOO_MUCH, most=self._most, old_s=_OLD_S)
        except SQLAlchemyError as error:
            log.warning("the backlog cannot be looked at", error=type(error).__name__)
            return
        if too_much != self._too_much:
            log.warning("new orders are refused" if too_much else "new orders are taken again", backlog=self._most)
        self._too_much = too_much


# two steps in the index on what has no position: its first, and the one so many after it
_TOO_MUCH = """
    select coalesce((
        select created_at < now() - make_interval(secs => :old_s)
        from ops.outbox where position is null order by outbox_id limit 1
    ), false) and exists (
        select from ops.outbox where position is null order by outbox_id offset :most limit 1
    )
"""

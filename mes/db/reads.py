"""Sends reads to a streaming replica while it shows all that their reader has seen, and to the primary otherwise."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
from psycopg.errors import SerializationFailure
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from mes.db import freshness
from mes.db.engine import sqlalchemy_url
from mes.db.freshness import Primary, Sample
from mes.db.pools import OVERFLOW, POOLS
from mes.errors import MesError
from mes.observability import metrics
from mes.observability.metrics import ReadReason

RETRY_S = 5.0  # a replica that is away is tried again by one read after this time
_SAMPLE_S = 1.0
_SAMPLES = 301  # one a second, for the largest bound of the lag, 300 s
_READERS = 10_000  # 1 MB; one who is forgotten begins anew at the primary's position

# a replica is an offer: it is given up in two seconds, libpq's shortest, where the primary has ten
_CONNECT_ARGS = {
    "options": "-c timezone=UTC -c default_transaction_read_only=on",
    "connect_timeout": 2,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 3_000,
}

log = structlog.get_logger(__name__)
Given = ParamSpec("Given")
Found = TypeVar("Found")
_on_primary: ContextVar[bool] = ContextVar("on_primary", default=False)


class ReplicaFailed(MesError):
    """The replica ended a read; ask again."""

    code, http_status = "replica_failed", 503


class Reads:
    """Connections for reading, of one process, to a primary and perhaps a replica of it; safe to use from any thread.

    A reader, named by any string, is shown his own writes, and never goes back in time: for each is kept the position
    in the primary's log that he must be shown. One who is not known yet (of another process, or forgotten) may have
    seen anything, so he begins at the primary's position of the moment.
    """

    def __init__(
        self,
        primary: Engine,
        replica: Engine | None = None,
        *,
        lag_max_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary, self._replica = primary, replica
        self._lag_max_s = lag_max_s
        self._clock = clock
        self._positions = _Positions()
        self._pause = _Pause()
        self._samples: deque[Sample] = deque(maxlen=_SAMPLES)
        self._system = 0
        self._sampling = threading.Lock()

    @contextmanager
    def connection(self, reader: str | None = None) -> Iterator[Connection]:
        """A connection to read with; without a reader only the lag counts.

        Raises:
            ReplicaFailed: the replica failed during the block, which `again_on_primary` runs once more.
        """
        if self._replica is None:
            with self._primary.connect() as plain:
                yield plain
            return
        fresh, reason = self._fresh_replica(self._replica, reader)
        metrics.observe_read(reason)
        if fresh is None:
            yield from self._read_primary(reader, reason)
            return
        with fresh:
            try:
                yield fresh
            except DBAPIError as error:
                # a query or session that is in the way of recovery ends in a serialization failure
                if error.connection_invalidated and not isinstance(error.orig, SerializationFailure):
                    self._stay_away(ReadReason.AWAY, error)
                raise ReplicaFailed from error
            except MesError as error:
                raise ReplicaFailed from error  # it knows of no such order: the primary may

    def wrote(self, reader: str | None) -> None:
        """Show a reader from now on what he has just committed; what cannot be asked now is asked when he reads."""
        if self._replica is None or reader is None:
            return
        try:
            self._positions.advance(reader, self._ask_primary().visible)
        except (DBAPIError, PoolExhausted):
            self._positions.forget(reader)

    def _fresh_replica(self, replica: Engine, reader: str | None) -> tuple[Connection | None, ReadReason]:
        if _on_primary.get():
            return None, ReadReason.REPEATED
        if (away := self._pause.reason(self._clock())) is not None:
            return None, away
        try:
            must_show = self._must_show(reader)
            self._sample()
        except (DBAPIError, PoolExhausted):
            return None, ReadReason.AWAY  # the primary is what is wrong, and will say so when it is read
        try:
            conn = replica.connect()
        except (DBAPIError, PoolExhausted) as error:
            self._stay_away(ReadReason.AWAY, error)
            return None, ReadReason.AWAY
        reason = self._look(conn, reader, must_show)
        if reason is ReadReason.FRESH:
            return conn, reason
        conn.close()
        return None, reason

    def _look(self, conn: Connection, reader: str | None, must_show: int) -> ReadReason:
        try:
            found = freshness.replica(conn)
        except DBAPIError as error:
            self._stay_away(ReadReason.AWAY, error)
            return ReadReason.AWAY
        lag = freshness.lag_s(list(self._samples), found.replayed or 0, self._clock())
        reason = freshness.judge(found, self._system, must_show, lag, self._lag_max_s)
        if reason is ReadReason.NOT_A_REPLICA:
            self._stay_away(reason)
            return reason
        if self._pause.end():
            log.info("replica is read from again")
        metrics.observe_replica_lag(lag)
        if reason is ReadReason.FRESH and reader is not None and found.replayed is not None:
            self._positions.advance(reader, found.replayed)
        return reason

    def _read_primary(self, reader: str | None, reason: ReadReason) -> Iterator[Connection]:
        with self._primary.connect() as conn:
            yield conn
            if reader is None:
                return
            if reason in {ReadReason.AWAY, ReadReason.NOT_A_REPLICA}:
                self._positions.forget(reader)  # costs nothing while a replica is away for hours
            else:
                self._positions.advance(reader, freshness.primary(conn).visible)

    def _must_show(self, reader: str | None) -> int:
        if reader is None:
            return 0
        known = self._positions.of(reader)
        return self._positions.advance(reader, self._ask_primary().visible) if known is None else known

    def _sample(self) -> None:
        """Look where the primary stands, once a second at most; who finds another thread looking goes on without."""
        if self._samples and self._clock() - self._samples[-1].at < _SAMPLE_S:
            return
        if self._sampling.acquire(blocking=False):
            try:
                self._ask_primary()
            finally:
                self._sampling.release()

    def _ask_primary(self) -> Primary:
        before = self._clock()
        with self._primary.connect() as conn:
            found = freshness.primary(conn.execution_options(isolation_level="AUTOCOMMIT"))
        if not self._samples or before - self._samples[-1].at >= _SAMPLE_S:
            self._samples.append(Sample(before, found.flushed))
        self._system = found.system
        return found

    def _stay_away(self, reason: ReadReason, error: Exception | None = None) -> None:
        cause = type(error).__name__ if error is not None else None
        if self._pause.begin(self._clock(), reason):
            log.warning("replica is not read from", reason=reason.value, error=cause)


def connect(url: str, *, application: str = "mes", pool_size: int = 5) -> Engine:
    """Read-only connections to a replica, which are not tried before use: the look at its position does that."""
    engine = create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=OVERFLOW,
        pool_timeout=1,
        hide_parameters=True,
        connect_args={"application_name": application, **_CONNECT_ARGS},
    )
    POOLS.add(engine, f"{application}-replica")
    return engine


def again_on_primary(read: Callable[Given, Found]) -> Callable[Given, Found]:
    """Run a function that reads once more, on the primary, when the replica failed in the middle of it."""

    @wraps(read)
    def reading(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        try:
            return read(*args, **kwargs)
        except ReplicaFailed:
            mark = _on_primary.set(True)
            try:
                return read(*args, **kwargs)
            finally:
                _on_primary.reset(mark)

    return reading


class _Positions:
    """What each reader must be shown; positions only advance."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, int] = OrderedDict()

    def of(self, reader: str) -> int | None:
        with self._lock:
            return self._known.get(reader)

    def advance(self, reader: str, position: int) -> int:
        with self._lock:
            position = max(position, self._known.pop(reader, 0))
            self._known[reader] = position
            if len(self._known) > _READERS:
                self._known.popitem(last=False)
            return position

    def forget(self, reader: str) -> None:
        with self._lock:
            self._known.pop(reader, None)


class _Pause:
    """Keeps readers from a replica that is away, so that they don't wait for it one by one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: ReadReason | None = None
        self._until = 0.0

    def reason(self, now: float) -> ReadReason | None:
        """Why the replica is to be left alone; None for everybody while it is well, else for one reader at a time."""
        with self._lock:
            if self._reason is None or now < self._until:
                return self._reason
            self._until = now + RETRY_S
            return None

    def begin(self, now: float, reason: ReadReason) -> bool:
        """Leave it alone for a while; whether that is news."""
        with self._lock:
            news = self._reason is not reason
            self._reason, self._until = reason, now + RETRY_S
            return news

    def end(self) -> bool:
        """Treat it as well; whether that is news."""
        with self._lock:
            news = self._reason is not None
            self._reason = None
            return news

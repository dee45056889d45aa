"""The work that comes round by itself: refreshing the order list, sharing work out, sweeping up."""

from collections.abc import Callable
from datetime import datetime, timedelta
from time import monotonic, perf_counter, time_ns

import structlog
from sqlalchemy import Engine

from ingest import causes
from mes.callers import idempotency
from mes.clock import Clock, utc_now
from mes.db.migrate import ensure_event_partitions
from mes.dispatch import leases, sharing
from mes.events import outbox
from mes.lists import counts, refresher
from mes.models import pending
from mes.observability import metrics, traces
from mes.people import sessions

log = structlog.get_logger(__name__)

# what depends on the clock is looked at this often; partitions are made two months before they are needed
CLOCKWORK_INTERVAL = timedelta(seconds=5)
# each read of the counts adds up what was not folded: a second's changes are a few hundred rows
FOLD_INTERVAL = timedelta(seconds=1)
SWEEP_INTERVAL = timedelta(minutes=10)
PARTITIONS_AHEAD = timedelta(days=62)
# of a bulk load, the first few say enough
ORDERS_LOGGED = 20


class Every:
    """Does something when an interval has passed since it was done last, whatever becomes of the machine's clock."""

    def __init__(
        self,
        interval: timedelta,
        work: Callable[[datetime], None],
        *,
        clock: Clock = utc_now,
        timer_s: Callable[[], float] = monotonic,
    ) -> None:
        self._interval_s, self._work, self._clock, self._timer_s = interval.total_seconds(), work, clock, timer_s
        self._done_at = float("-inf")

    def __call__(self) -> None:
        """Do it if it is due; one that raises is due again at once."""
        began = self._timer_s()
        if began - self._done_at >= self._interval_s:
            self._work(self._clock())
            self._done_at = began


class Refresh:
    """Keeps the order list true: merges dirty orders, folds counts, flips what becomes late, makes partitions."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._clockwork = Every(CLOCKWORK_INTERVAL, self._look_at_clock)
        self._folding = Every(FOLD_INTERVAL, self._fold)

    def step(self) -> bool:
        """Do one batch; gives whether there may be more."""
        self._clockwork()
        self._folding()
        began, began_ns = perf_counter(), time_ns()
        with self._database.begin() as conn:
            if not refresher.is_built(conn):
                return False
            done = refresher.refresh_batch(conn)
        if done.orders:
            metrics.observe_refresh(done.orders, perf_counter() - began, done.lags_s(utc_now()))
            shown = [str(order_id) for order_id in done.order_ids[:ORDERS_LOGGED]]
            led = causes.of_orders(self._database, done.order_ids)
            with traces.span("refresh order list", causes=led, began_ns=began_ns) as span:
                span.set_attribute("mes.orders", done.orders)
                log.info("order list refreshed", orders=done.orders, marks=done.marks, order_ids=shown)
        return done.orders >= refresher.BATCH

    def _fold(self, _now: datetime) -> None:
        with self._database.begin() as conn:
            counts.fold(conn)

    def _look_at_clock(self, now: datetime) -> None:
        with self._database.begin() as conn:
            refresher.flip_overdue(conn)
            ensure_event_partitions(conn, now.date(), (now + PARTITIONS_AHEAD).date())


class Numbering:
    """Gives committed events their positions, by which all others read them, a bus or not."""

    def __init__(self, database: Engine) -> None:
        self._database = database

    def step(self) -> bool:
        """Number one batch; gives whether there may be more."""
        with self._database.begin() as conn:
            return outbox.number(conn) >= outbox.NUMBERED_AT_ONCE


class Dispatch:
    """Keeps work in hands: claims that were never begun return, and what nobody has goes to the least loaded."""

    def __init__(self, database: Engine) -> None:
        self._database = database
        self._sweep = Every(SWEEP_INTERVAL, self._sweep_up)

    def step(self) -> bool:
        """Return and share out one batch; gives whether there may be more."""
        self._sweep()
        with self._database.begin() as conn:
            returned = leases.return_lapsed(conn)
        with self._database.begin() as conn:
            shared = sharing.share_out(conn)
        if returned or shared.order_ids:
            shown = [str(order_id) for order_id in shared.order_ids[:ORDERS_LOGGED]]
            log.info("work shared out", orders=len(shared.order_ids), returned=returned, order_ids=shown)
        return len(shared.order_ids) >= sharing.BATCH

    def _sweep_up(self, now: datetime) -> None:
        """Forget stored answers, sessions and refusals that are past their time."""
        with self._database.begin() as conn:
            answers = idempotency.purge(conn)
            ended = sessions.purge(conn, now)
            refusals = pending.purge(conn)
        if answers or ended or refusals:
            log.info("swept up", answers=answers, sessions=ended, refusals=refusals)

"""Does the jobs that wait in Postgres: measures, prices, and takes up again what killed workers left."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision, RetryStrategy
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Job
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from ingest import causes, measuring
from ingest.measuring import Bench, Outcome
from mes.clock import utc_now
from mes.dispatch import sharing
from mes.errors import MesError
from mes.jobs import queue as waiting
from mes.jobs.names import MEASURE_MODEL, MEASURING_QUEUE, PRICE_ORDER, PRICE_ORDERS, PRICE_QUOTE, PRICING_QUEUE
from mes.lists import refresher
from mes.models import pending, uploads
from mes.models.errors import UnreadableModel
from mes.models.store import DamagedObject, NoSuchObject, StoreUnavailable
from mes.models.warm_process import SandboxUnavailable
from mes.observability import logs, metrics, traces
from mes.observability.metrics import JobOutcome
from mes.orders import service
from mes.pricing.quotes import caller_quotes, order_quotes

log = structlog.get_logger(__name__)


class StillMeasured(MesError):
    """Somebody else measures this model now; it is looked at again later."""

    code = "still_measured"


# a worker says this often that it lives; one that has not for so long is dead, and its jobs are taken up again. A job
# that runs twice after all does no harm: each locks what it prices, and finds it priced.
HEARTBEAT_S, DEAD_AFTER_S, RESCUE_INTERVAL_S = 1.0, 6.0, 2.0
STOP_S = 4.0
_POLL_S = 5.0  # new jobs are notified; this is for a notice that was lost
_LOOK_S = 0.1  # for the word to stop
# an upload's request measures no longer than its patience; an import does, and is better waited for outside
_TURN_S, _TURN_LOOK_S = 15.0, 0.1
# how many jobs of each queue a worker does at a time: a model takes whole cores, a price waits for the database, and
# neither must wait for the other
_LANES = {MEASURING_QUEUE: 1, PRICING_QUEUE: 2}
# 2, 4, 8, ... 512 s and so on: some nine hours, after which the job is counted as failed and a person looks at it
HOLD_AFTER = 3  # attempts, some 14 s
NOT_PRICED = "its price could not be computed ({}); the worker's log says why. Releasing it has it tried again"
_PASSING = (StoreUnavailable, SandboxUnavailable, StillMeasured)
PATIENT = RetryStrategy(max_attempts=14, exponential_wait=2)


class Patience(BaseRetryStrategy):
    """Tries again after the pauses of `PATIENT`, counted by the database's clock, which says when a job is due."""

    def __init__(self) -> None:
        self.database_ahead = timedelta()
        """Of this machine's clock, which may be wrong by an hour."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """When the job is tried again; None when it has failed for good."""
        decision = PATIENT.get_retry_decision(exception=exception, job=job)
        if decision is not None and decision.retry_at is not None:
            decision.retry_at += self.database_ahead
        return decision


def price_order(context: JobContext, order_id: str) -> None:
    """Price an order, move or hold it, and put it into an operator's queue; all of it at once, and only once.

    One that fails again and again is held, so that a person sees it; releasing it has it tried anew.
    """
    database, order = _bench(context).database, UUID(order_id)
    try:
        with _timed(context, PRICE_ORDER, after=causes.of_orders(database, [order]), order_id=order_id):
            _price(database, [order])
    except OperationalError:  # the database is away: no fault of the order
        raise
    except Exception as error:
        if context.job.attempts < HOLD_AFTER:
            raise
        log.exception("order cannot be priced", order_id=order_id)
        with database.begin() as conn:
            service.hold(conn, order, order_quotes.PRICER, NOT_PRICED.format(type(error).__name__))
            sharing.share_out(conn, [order])


def price_orders(context: JobContext, order_ids: list[str]) -> None:
    """Price orders that came together, all of it at once; when one of them is at fault, each gets a job of its own."""
    database, orders = _bench(context).database, [UUID(order_id) for order_id in order_ids]
    try:
        with _timed(context, PRICE_ORDERS, after=causes.of_orders(database, orders), orders=str(len(orders))):
            _price(database, orders)
    except OperationalError:
        raise
    except Exception as error:  # noqa: BLE001 - the order that is at fault says it again, in its own job
        log.warning("orders are priced one by one", order_ids=order_ids, error=type(error).__name__)
        with database.begin() as conn:
            for order in orders:
                waiting.price_order(conn, order)


def _price(database: Engine, orders: Sequence[UUID]) -> None:
    with database.begin() as conn:
        quoted = order_quotes.quote_items(conn, orders)
        sharing.share_out(conn, orders)
        refresher.refresh_now(conn, orders)
    metrics.observe_pricing(quoted.waits_s)


def price_quote(context: JobContext, quote_id: str) -> None:
    """Measure the model of a pending quote by today's kernel, then price it; a model or rate at fault ends it."""
    bench, quote = _bench(context), UUID(quote_id)
    with _timed(context, PRICE_QUOTE, quote_id=quote_id):
        try:
            with bench.database.begin() as conn:
                model_id = caller_quotes.require_usable(conn, quote)
            if model_id is not None:
                _measure(bench, model_id)
            with bench.database.begin() as conn:
                caller_quotes.complete(conn, quote)
        except _PASSING:
            raise
        except MesError as error:
            log.info("quote failed", quote_id=quote_id, code=error.code)
            with bench.database.begin() as conn:
                caller_quotes.fail(conn, quote, error)


def measure_model(context: JobContext, model_id: str) -> None:
    """Measure a stored model for all who wait for it; one that cannot be used is refused to all of them."""
    bench = _bench(context)
    with _timed(context, MEASURE_MODEL, model_id=model_id):
        try:
            _measure(bench, model_id)
        except (UnreadableModel, NoSuchObject, DamagedObject) as refused:
            log.info("model refused", model_id=model_id, code=refused.code)
            with bench.database.begin() as conn:
                pending.refuse(conn, model_id, refused)


def run(url: str, bench: Bench, stopping: threading.Event, beat: Callable[[], None]) -> None:
    """Work on the pricing queue until told to stop; jobs begun are finished, or left to other workers after 4 s.

    Raises:
        ConnectorException, OperationalError: the database is away; try again later.
    """
    with bench.database.connect():  # or a pool that cannot be filled would wait half a minute before it says so
        pass
    asyncio.run(_run(url, bench, stopping, beat))


def queue(url: str, patience: Patience | None = None) -> App:
    """The job queue of a database, and what is done for each kind of job."""
    patience = patience or Patience()
    connections = sum(_LANES.values()) + 3 * len(_LANES)
    connector = PsycopgConnector(
        conninfo=url, min_size=1, max_size=connections, kwargs={"application_name": "mes-worker-jobs"}
    )
    app = App(connector=connector)
    for name, queue_name, work in (
        (PRICE_ORDER, PRICING_QUEUE, price_order),
        (PRICE_ORDERS, PRICING_QUEUE, price_orders),
        (PRICE_QUOTE, MEASURING_QUEUE, price_quote),
        (MEASURE_MODEL, MEASURING_QUEUE, measure_model),
    ):
        app.task(name=name, queue=queue_name, pass_context=True, retry=patience)(work)
    return app


async def _run(url: str, bench: Bench, stopping: threading.Event, beat: Callable[[], None]) -> None:
    patience = Patience()
    app = queue(url, patience)
    async with app.open_async():
        lanes = [asyncio.create_task(_work(app, name, most, bench)) for name, most in _LANES.items()]
        try:
            await _look_after(app, lanes, patience, stopping, beat)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)


async def _work(app: App, queue_name: str, most: int, bench: Bench) -> None:
    await app.run_worker_async(
        queues=[queue_name],
        concurrency=most,
        install_signal_handlers=False,
        fetch_job_polling_interval=_POLL_S,
        shutdown_graceful_timeout=STOP_S,
        update_heartbeat_interval=HEARTBEAT_S,
        stalled_worker_timeout=DEAD_AFTER_S,
        delete_jobs="successful",
        additional_context={"bench": bench},
    )


async def _look_after(
    app: App,
    lanes: "Sequence[asyncio.Task[None]]",
    patience: Patience,
    stopping: threading.Event,
    beat: Callable[[], None],
) -> None:
    """Rescue the jobs of dead workers now and then, until told to stop or until the work ends by itself."""
    rescue_at = 0.0
    while not stopping.is_set() and not any(lane.done() for lane in lanes):
        if time.monotonic() >= rescue_at:
            beat()
            patience.database_ahead = await _database_now(app) - utc_now()
            await rescue(app)
            rescue_at = time.monotonic() + RESCUE_INTERVAL_S
        await asyncio.wait(lanes, timeout=_LOOK_S, return_when=asyncio.FIRST_COMPLETED)
    for lane in lanes:
        if lane.done():
            lane.result()  # raises what ended it


async def rescue(app: App) -> int:
    """Give the jobs of workers that died back to the queue; gives how many."""
    rescued = 0
    for job in [job for name in _LANES for job in await _stalled(app, name)]:
        try:
            await app.job_manager.retry_job(job, retry_at=await _database_now(app))
        except ConnectorException:
            raise
        except ProcrastinateException as error:  # another worker was quicker
            log.debug("job was rescued already", job=job.id, error=str(error))
            continue
        rescued += 1
        log.warning("job of a dead worker rescued", job=job.id, task=job.task_name, **job.task_kwargs)
    return rescued


async def _database_now(app: App) -> datetime:
    now: datetime = (await app.connector.execute_query_one_async("select clock_timestamp() as now"))["now"]
    return now


async def _stalled(app: App, queue_name: str) -> Iterable[Job]:
    return await app.job_manager.get_stalled_jobs(queue=queue_name, seconds_since_heartbeat=DEAD_AFTER_S)


def _measure(bench: Bench, model_id: str) -> None:
    """Measure a stored model unless it is known, and tell those who wait that this is being done.

    Raises:
        StillMeasured: by somebody else, and that takes its time.
        UnreadableModel, NoSuchObject, DamagedObject: it cannot be used, or is not what was stored.
        StoreUnavailable: try again.
    """
    with bench.database.begin() as conn:
        if uploads.is_measured(conn, model_id):  # since an import may have done it, which knows of none that wait
            pending.fulfil(conn, model_id)
            return
        pending.begin(conn, model_id, utc_now())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model"
        bench.store.fetch_model(model_id, file)
        until = time.monotonic() + _TURN_S
        while measuring.measure(bench, model_id, file, bench.limits) is Outcome.TAKEN:
            if time.monotonic() > until:
                raise StillMeasured(model_id=model_id)
            time.sleep(_TURN_LOOK_S)


def _bench(context: JobContext) -> Bench:
    return cast("Bench", context.additional_context["bench"])


@contextmanager
def _timed(context: JobContext, task: str, after: Sequence[str | None] = (), **what: str) -> Iterator[None]:
    about: dict[str, str | int] = {
        "messaging.system": "procrastinate",
        "messaging.operation.type": "process",
        "messaging.destination.name": context.job.queue,
        "messaging.message.id": str(context.job.id),
    }
    about |= {f"mes.{name}": int(value) if value.isdecimal() else value for name, value in what.items()}
    span = traces.span(f"job {task}", kind=SpanKind.CONSUMER, causes=after, attributes=about)
    with span, logs.bound(task=task, **what), metrics.job(task) as run:
        try:
            yield
        except Exception as error:
            if PATIENT.get_retry_decision(exception=error, job=context.job) is not None:
                run.outcome = JobOutcome.RETRIED
            log.warning("job failed", attempts=context.job.attempts, outcome=run.outcome, error=type(error).__name__)
            raise

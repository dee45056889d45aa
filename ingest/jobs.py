"""Does the jobs that wait in Postgres: prices orders and quotes, and takes up again what killed workers left."""

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from uuid import UUID

import structlog
from procrastinate import App, JobContext, PsycopgConnector, RetryStrategy
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from mes.dispatch import sharing
from mes.errors import MesError
from mes.jobs.names import PRICE_ORDER, PRICE_QUOTE, PRICING_QUEUE
from mes.lists import refresher
from mes.models import intake, sandbox
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.observability import logs, metrics
from mes.observability.metrics import JobOutcome
from mes.orders import service
from mes.pricing import caller_quotes, geometry_store, quotes
from mes.pricing.geometry import KERNEL_VERSION

log = structlog.get_logger(__name__)

# a worker says this often that it lives; one that has not for so long is dead, and its jobs are taken up again. A job
# that runs twice after all does no harm: each locks what it prices, and finds it priced.
HEARTBEAT_S, DEAD_AFTER_S, RESCUE_INTERVAL_S = 1.0, 6.0, 2.0
STOP_S = 4.0
_POLL_S = 5.0  # new jobs are notified; this is for a notice that was lost
_LOOK_S = 0.1  # for the word to stop
_CONCURRENCY = 2
# 2, 4, 8, ... 512 s and so on: some nine hours, after which the job is counted as failed and a person looks at it
HOLD_AFTER = 3  # attempts, some 14 s
NOT_PRICED = "its price could not be computed ({}); the worker's log says why. Releasing it has it tried again"
PATIENT = RetryStrategy(max_attempts=14, exponential_wait=2)


@dataclass(frozen=True)
class Bench:
    """What the jobs work with."""

    database: Engine
    store: ObjectStore
    limits: Limits


def price_order(context: JobContext, order_id: str) -> None:
    """Price an order, move or hold it, and put it into an operator's queue; all of it at once, and only once.

    One that fails again and again is held, so that a person sees it; releasing it has it tried anew.
    """
    database, order = _bench(context).database, UUID(order_id)
    try:
        with _timed(context, PRICE_ORDER, order_id=order_id), database.begin() as conn:
            quotes.quote_items(conn, [order])
            sharing.share_out(conn, [order])
            refresher.refresh_now(conn, [order])
    except OperationalError:  # the database is away: no fault of the order
        raise
    except Exception as error:
        if context.job.attempts < HOLD_AFTER:
            raise
        log.exception("order cannot be priced", order_id=order_id)
        with database.begin() as conn:
            service.hold(conn, order, quotes.PRICER, NOT_PRICED.format(type(error).__name__))
            sharing.share_out(conn, [order])


def price_quote(context: JobContext, quote_id: str) -> None:
    """Measure the model of a pending quote by today's kernel, then price it; a model or rate at fault ends it."""
    bench, quote = _bench(context), UUID(quote_id)
    with _timed(context, PRICE_QUOTE, quote_id=quote_id):
        try:
            _measure_for(bench, quote)
            with bench.database.begin() as conn:
                caller_quotes.complete(conn, quote)
        except MesError as error:
            log.info("quote failed", quote_id=quote_id, code=error.code)
            with bench.database.begin() as conn:
                caller_quotes.fail(conn, quote, error)


def run(url: str, bench: Bench, stopping: threading.Event, beat: Callable[[], None]) -> None:
    """Work on the pricing queue until told to stop; jobs begun are finished, or left to other workers after 4 s.

    Raises:
        ConnectorException, OperationalError: the database is away; try again later.
    """
    with bench.database.connect():  # or a pool that cannot be filled would wait half a minute before it says so
        pass
    asyncio.run(_run(url, bench, stopping, beat))


def queue(url: str) -> App:
    """The job queue of a database, and what is done for each kind of job."""
    connector = PsycopgConnector(
        conninfo=url, min_size=1, max_size=_CONCURRENCY + 3, kwargs={"application_name": "mes-worker-jobs"}
    )
    app = App(connector=connector)
    for name, work in ((PRICE_ORDER, price_order), (PRICE_QUOTE, price_quote)):
        app.task(name=name, queue=PRICING_QUEUE, pass_context=True, retry=PATIENT)(work)
    return app


async def _run(url: str, bench: Bench, stopping: threading.Event, beat: Callable[[], None]) -> None:
    app = queue(url)
    async with app.open_async():
        work = asyncio.create_task(
            app.run_worker_async(
                queues=[PRICING_QUEUE],
                concurrency=_CONCURRENCY,
                install_signal_handlers=False,
                fetch_job_polling_interval=_POLL_S,
                shutdown_graceful_timeout=STOP_S,
                update_heartbeat_interval=HEARTBEAT_S,
                stalled_worker_timeout=DEAD_AFTER_S,
                delete_jobs="successful",
                additional_context={"bench": bench},
            )
        )
        try:
            await _look_after(app, work, stopping, beat)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def _look_after(
    app: App, work: "asyncio.Task[None]", stopping: threading.Event, beat: Callable[[], None]
) -> None:
    """Rescue the jobs of dead workers now and then, until told to stop or until the work ends by itself."""
    rescue_at = 0.0
    while not stopping.is_set() and not work.done():
        if time.monotonic() >= rescue_at:
            beat()
            await rescue(app)
            rescue_at = time.monotonic() + RESCUE_INTERVAL_S
        await asyncio.wait([work], timeout=_LOOK_S)
    if work.done():
        work.result()  # raises what ended it


async def rescue(app: App) -> int:
    """Give the jobs of workers that died back to the queue; gives how many."""
    rescued = 0
    for job in await app.job_manager.get_stalled_jobs(queue=PRICING_QUEUE, seconds_since_heartbeat=DEAD_AFTER_S):
        try:
            await app.job_manager.retry_job(job)
        except ConnectorException:
            raise
        except ProcrastinateException as error:  # another worker was quicker
            log.debug("job was rescued already", job=job.id, error=str(error))
            continue
        rescued += 1
        log.warning("job of a dead worker rescued", job=job.id, task=job.task_name, **job.task_kwargs)
    return rescued


def _measure_for(bench: Bench, quote: UUID) -> None:
    with bench.database.begin() as conn:
        model_id = caller_quotes.model_of(conn, quote)
        stored = geometry_store.newest(conn, model_id) if model_id is not None else None
    if model_id is None or (stored is not None and stored.kernel_version == KERNEL_VERSION):
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model"
        bench.store.fetch_model(model_id, file)
        analysis = sandbox.analyse(file, bench.limits)
        with bench.database.begin() as conn:
            intake.record(conn, analysis, model_id)


def _bench(context: JobContext) -> Bench:
    return cast("Bench", context.additional_context["bench"])


@contextmanager
def _timed(context: JobContext, task: str, **what: str) -> Iterator[None]:
    with logs.bound(task=task, **what), metrics.job(task) as run:
        try:
            yield
        except Exception as error:
            if PATIENT.get_retry_decision(exception=error, job=context.job) is not None:
                run.outcome = JobOutcome.RETRIED
            log.warning("job failed", attempts=context.job.attempts, outcome=run.outcome, error=type(error).__name__)
            raise

"""The worker's part that prices orders and measures models; apart, as its libraries are half of a worker's start."""

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ingest import jobs
from ingest.measuring import Bench
from mes.config import Settings
from mes.models import sandbox
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.models.warm_process import SandboxUnavailable
from mes.pricing.costs import single_prices
from mes.pricing.quotes import rehearsal
from mes.runtime.location import libpq_url

log = structlog.get_logger(__name__)


def worker(
    settings: Settings, database: Engine, stopping: threading.Event, beat: Callable[[], None]
) -> Callable[[], bool]:
    """What takes up one job after another, until told to stop; for a role."""
    bench = Bench(database, ObjectStore(settings.objects_location), Limits.of(settings))
    url = libpq_url(settings.database_url or "")

    def work_on_jobs() -> bool:
        jobs.run(url, bench, stopping, beat)
        return False

    return work_on_jobs


def warm_up(database: Engine) -> None:
    """Before we say that we are ready: what measures models takes seconds to start, and the first price half of one."""
    single_prices.warm_up()
    try:
        sandbox.warm_up()
    except SandboxUnavailable as error:  # a job that needs it tries again
        log.error("cannot measure models", reason=str(error))  # noqa: TRY400 - says all there is
    try:
        with database.connect() as conn:
            rehearsal.rehearse(conn)
    except (DBAPIError, ValueError) as error:  # so does one that finds the database away, or a card of a later version
        log.warning("today's rates are not at hand", error=type(error).__name__)

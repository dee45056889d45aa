"""Measures a model unless somebody else does so now: the one way in for uploads and for jobs, in all processes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from mes.models import intake, measuring, sandbox, uploads
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.observability import metrics

log = structlog.get_logger(__name__)


class Outcome(Enum):
    """What came of an attempt to have a model measured."""

    MEASURED = auto()
    TAKEN = auto()
    """Another thread, process or machine measures it now."""
    TOO_LONG = auto()
    """It takes longer than there was time for."""


@dataclass(frozen=True)
class Bench:
    """What models are measured with."""

    database: Engine
    store: ObjectStore
    limits: Limits


def measure(bench: Bench, model_id: str, file: Path, limits: Limits) -> Outcome:
    """Measure a file whose SHA-256 is `model_id` and keep what was found, unless it is known or being measured.

    It holds one connection of the pool meanwhile, with the lock that others look at; a killed process loses both.

    Raises:
        UnreadableModel: it cannot be used; see `sandbox.analyse`.
        StoreUnavailable: bytes or picture could not be stored.
    """
    with _turn(bench.database, model_id) as ours:
        if not ours:
            return Outcome.TAKEN
        if not is_measured(bench.database, model_id):
            _measure(bench, model_id, file, limits)
    return Outcome.MEASURED


def is_measured(database: Engine, model_id: str) -> bool:
    """Whether the model is known to the kernel of today."""
    with database.begin() as conn:
        return uploads.is_measured(conn, model_id)


def _measure(bench: Bench, model_id: str, file: Path, limits: Limits) -> None:
    """Bytes and picture first, then the rows that name them."""
    began = time.perf_counter()
    analysis = sandbox.analyse(file, limits)
    measured = time.perf_counter()
    intake.put_objects(bench.store, file, analysis)
    with bench.database.begin() as conn:
        uploads.record(conn, analysis)
    metrics.observe_measuring(analysis.geometry.triangles, measured - began)
    log.info(
        "model measured",
        model_id=model_id,
        bytes=analysis.bytes,
        triangles=analysis.geometry.triangles,
        seconds=round(measured - began, 3),
        kept_s=round(time.perf_counter() - measured, 3),
    )


@contextmanager
def _turn(database: Engine, model_id: str) -> Iterator[bool]:
    with database.connect() as connection:
        conn = connection.execution_options(isolation_level="AUTOCOMMIT")  # the lock outlives transactions
        ours = measuring.take_turn(conn, model_id)
        try:
            yield ours
        finally:
            if ours:
                with suppress(DBAPIError):  # a connection that broke has given up its lock
                    measuring.end_turn(conn, model_id)

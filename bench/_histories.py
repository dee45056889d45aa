"""Databases of so many generated orders, made once under `MES_BENCH_HOME` and used again."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.runtime import up
from mes.runtime.embedded import database
from mes.runtime.location import Database
from mes.samples import history, history_sizes
from mes.samples.history_plan import History

UNTIL = datetime(2026, 11, 29, tzinfo=UTC)
SEED = 1


@dataclass(frozen=True)
class Dataset:
    """Connections to the database, where it is, and the settings of programs that are to use it."""

    engine: Engine
    found: Database
    settings: Settings


@contextmanager
def dataset(orders: int) -> Iterator[Dataset]:
    """A database with so many orders, 2 % of them open, and their list.

    Raises:
        DiskTooSmall: they are not there yet, and the disk has no room for them.
    """
    home = Path(os.environ.get("MES_BENCH_HOME", ".mes-bench")).resolve() / f"orders-{orders}"
    settings = Settings(home=home)
    with database(settings) as found:
        connections = engines.connect(found.url, application="bench")
        try:
            _ensure(connections, found, settings, orders)
            yield Dataset(connections, found, settings)
        finally:
            connections.dispose()


def _ensure(connections: Engine, found: Database, settings: Settings, orders: int) -> None:
    migrate.upgrade(found.url, whole=False)
    with connections.connect() as conn:
        listed = query.flag(conn, "select to_regclass('marts.order_list') is not null") and query.number(
            conn, "select coalesce(sum(orders), 0) from ops.list_counts where counter = 'status'"
        )
    if not listed:
        history_sizes.require_disk(settings.home, orders)
    wanted = History(orders, SEED, UNTIL)
    history.ensure(connections, wanted, ObjectStore(settings.objects_location), Limits.of(settings))
    if listed != orders:
        argv = [sys.executable, "-m", "pipelines.build_read_models", "--full"]
        up.run_step("build-read-models", argv, settings, found)
        with connections.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
            conn.execute(text("vacuum analyze marts.order_list"))

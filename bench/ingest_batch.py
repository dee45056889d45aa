"""Batch ingest, from JSON lines to orders, events and list, beside a bare COPY of all the rows that it wrote."""

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from mes.clock import utc_now
from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.feeds import apply as applying
from mes.feeds import land
from mes.feeds.catalogue import FEEDS
from mes.feeds.files import FeedFolder
from mes.lists import refresher
from mes.models import intake
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.runtime import up
from mes.runtime.embedded import database
from mes.runtime.location import Database
from mes.samples import shop

WRITTEN = (
    "raw.shop_orders",
    "raw.crm_orders",
    "raw.crm_order_events",
    "raw.legacy_status_history",
    "ops.customers",
    "ops.orders",
    "ops.order_items",
    "ops.order_events",
    "marts.order_list",
)


def main() -> int:
    """Print the medians of all repeats."""
    parser = argparse.ArgumentParser(prog="mes bench ingest-batch", description=__doc__)
    parser.add_argument("--orders", type=int, default=20_000, help="orders of the generated workshop")
    parser.add_argument("--repeats", type=int, default=3, help="runs, each on an empty database")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    ratios, speeds, phases = [], [], []
    for repeat in range(asked.repeats):
        with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
            run = measure(Path(folder), asked.orders, seed=repeat + 1)
        speeds.append(run["orders"] / run["total_s"])
        ratios.append(run["copy_s"] / run["total_s"])
        phases.append(run)
        print(f"  run {repeat + 1} of {asked.repeats}: {speeds[-1]:,.0f} orders/s", file=sys.stderr)
    figures = {
        "orders": phases[0]["orders"],
        "repeats": asked.repeats,
        "orders_per_s": round(statistics.median(speeds), 1),
        "ratio_copy": round(statistics.median(ratios), 4),
        **{
            name: round(statistics.median(run[name] for run in phases), 3)
            for name in ("land_s", "apply_s", "list_s", "copy_s")
        },
    }
    print(json.dumps(figures) if asked.json else "\n".join(f"{name:<14} {value}" for name, value in figures.items()))
    return 0


def measure(folder: Path, orders: int, seed: int) -> dict[str, float]:
    """One run on an empty database; models are measured before the clock starts, since they are read once for ever."""
    settings = Settings(home=folder / "home")
    sample = shop.generate(folder / "shop", seed=seed, orders=orders, now=utc_now())
    with database(settings) as found, _connections(found, settings) as connections:
        store = ObjectStore(settings.objects_location)
        _take_in_models(connections, store, sample)
        seconds = {
            "land_s": _timed(lambda: _land(connections, store, sample)),
            "apply_s": _timed(lambda: _apply(connections)),
            "list_s": _timed(lambda: _refresh(connections)),
        }
        with connections.begin() as conn:
            return {
                "orders": float(query.number(conn, "select count(*) from ops.orders")),
                "total_s": sum(seconds.values()),
                "copy_s": sum(_copy_again(conn, table) for table in WRITTEN),
                **seconds,
            }


@contextmanager
def _connections(found: Database, settings: Settings) -> Iterator[Engine]:
    migrate.upgrade(found.url)
    argv = [sys.executable, "-m", "pipelines.build_read_models"]
    up.run_step("build-read-models", argv, settings, found)
    connections = engines.connect(found.url, application="bench")
    try:
        yield connections
    finally:
        connections.dispose()


def _take_in_models(connections: Engine, store: ObjectStore, sample: shop.SampleShop) -> None:
    names = [str(path.relative_to(sample.models)) for path in sample.models.rglob("*") if path.is_file()]
    with connections.begin() as conn:
        intake.take_in(conn, names, store=store, root=sample.models, limits=Limits.of(Settings()))


def _land(connections: Engine, store: ObjectStore, sample: shop.SampleShop) -> None:
    folder, now = FeedFolder(str(sample.feeds)), utc_now()
    since = now.replace(year=2010, month=1, day=1)
    for feed in FEEDS:
        months = land.months_in(feed, folder, now=now, since=since)
        with connections.begin() as conn:
            land.load(conn, feed, folder, store, months, now=now, since=since)


def _apply(connections: Engine) -> None:
    with connections.begin() as conn:
        applying.apply(conn, now=utc_now())


def _refresh(connections: Engine) -> None:
    while True:
        with connections.begin() as conn:
            if not refresher.refresh_batch(conn, limit=10_000).marks:
                return


def _copy_again(conn: Connection, table: str) -> float:
    """Seconds to COPY the table's rows into a table without indexes."""
    conn.execute(text(f"create table public.bare (like {table})"))
    driver = conn.connection.driver_connection
    if driver is None:
        raise RuntimeError("the connection is closed")
    rows = io.BytesIO()
    with driver.cursor() as cursor:
        with cursor.copy(f"copy (select * from {table}) to stdout") as out:
            for piece in out:
                rows.write(piece)
        seconds = _timed(lambda: _copy_in(cursor, rows))
    conn.execute(text("drop table public.bare"))
    return seconds


def _copy_in(cursor: object, rows: io.BytesIO) -> None:
    with cursor.copy("copy public.bare from stdin") as into:  # type: ignore[attr-defined]
        into.write(rows.getvalue())


def _timed(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

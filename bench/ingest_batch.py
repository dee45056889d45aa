"""Batch ingest, from JSON lines to orders, events and list, beside a bare COPY of all the rows that it wrote.

`exports` is the load that the budget is for: 60,000 orders of one or two items, as shop and CRM export them while the
workshop is working, most of them SUBMITTED; feeds are landed two at a time and a refresher lists orders while others
are applied, as when the system runs. `lives` is a workshop whose orders have their whole lives in four feeds.
"""

import argparse
import io
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from bench import _report
from bench._feed_loads import LOADS, FeedLoad
from mes.clock import utc_now
from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.feeds import apply as applying
from mes.feeds import land
from mes.feeds.catalogue import FEEDS, Feed
from mes.feeds.files import FeedFolder
from mes.lists import refresher
from mes.models import intake
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.runtime import up
from mes.runtime.embedded import database
from mes.runtime.location import Database

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
_ORDERS = {"exports": 60_000, "lives": 20_000}
_FEEDS_AT_ONCE = 2  # as the pipeline's job lands them
_REFRESH_PAUSE_S = 0.2  # as the worker by default


def main() -> int:
    """Print the medians of all repeats; keys of the `exports` load stand bare, others with the load's name before."""
    parser = argparse.ArgumentParser(prog="mes bench ingest-batch", description=__doc__)
    parser.add_argument("--load", choices=[*_ORDERS, "all"], default="exports", help="which feeds to ingest")
    parser.add_argument("--orders", type=int, help="orders of the load (60,000 exports, 20,000 lives)")
    parser.add_argument("--repeats", type=int, default=3, help="runs, each on an empty database")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    figures: dict[str, float] = {}
    for load in _ORDERS if asked.load == "all" else (asked.load,):
        prefix = "" if load == "exports" else f"{load}_"
        found = _repeat(load, asked.orders or _ORDERS[load], asked.repeats)
        figures |= {f"{prefix}{name}": value for name, value in found.items()}
    _report.show(figures, as_json=asked.json)
    return 0


def _repeat(load: str, orders: int, repeats: int) -> dict[str, float]:
    runs = []
    for repeat in range(repeats):
        with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
            run = measure(Path(folder), load, orders, seed=repeat + 1)
        runs.append(run | {"speed": run["orders"] / run["total_s"], "ratio": run["copy_s"] / run["total_s"]})
        print(f"  {load}, run {repeat + 1} of {repeats}: {runs[-1]['speed']:,.0f} orders/s", file=sys.stderr)
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return {
        "orders": median["orders"],
        "repeats": repeats,
        "orders_per_s": round(median["speed"], 1),
        "ratio_copy": round(median["ratio"], 4),
        **{name: round(median[name], 3) for name in ("land_s", "apply_s", "list_s", "copy_s")},
    }


def measure(folder: Path, load: str, orders: int, seed: int) -> dict[str, float]:
    """One run on an empty database; models are measured before the clock starts, since they are read once for ever."""
    settings = Settings(home=folder / "home")
    sample = LOADS[load](folder / "shop", orders, seed)
    with database(settings) as found, _connections(found, settings) as connections:
        store = ObjectStore(settings.objects_location)
        _take_in_models(connections, store, sample)
        with _refreshing(connections) as working:
            seconds = {
                "land_s": _timed(lambda: _land(connections, store, sample)),
                "apply_s": _timed(lambda: _apply(connections)),
                "list_s": _timed(lambda: _wait_for_list(connections, working)),
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


def _take_in_models(connections: Engine, store: ObjectStore, sample: FeedLoad) -> None:
    names = [str(path.relative_to(sample.models)) for path in sample.models.rglob("*") if path.is_file()]
    with connections.begin() as conn:
        intake.take_in(conn, names, store=store, root=sample.models, limits=Limits.of(Settings()))


def _land(connections: Engine, store: ObjectStore, sample: FeedLoad) -> None:
    folder, now = FeedFolder(str(sample.feeds)), utc_now()
    since = now.replace(year=2010, month=1, day=1)

    def land_feed(feed: Feed) -> None:
        with connections.begin() as conn:
            land.load(conn, feed, folder, store, None, now=now, since=since)

    with ThreadPoolExecutor(_FEEDS_AT_ONCE) as side_by_side:
        list(side_by_side.map(land_feed, FEEDS))


def _apply(connections: Engine) -> None:
    applying.apply(connections, now=utc_now())


@contextmanager
def _refreshing(connections: Engine) -> Iterator[Future[None]]:
    """A refresher at work, as there is one whenever feeds come in; it is over only when it failed."""
    stopping = threading.Event()

    def refresh() -> None:
        while not stopping.is_set():
            with connections.begin() as conn:
                done = refresher.refresh_batch(conn)
            if done.orders < refresher.BATCH:
                stopping.wait(_REFRESH_PAUSE_S)

    with ThreadPoolExecutor(max_workers=1) as beside:
        working = beside.submit(refresh)
        try:
            yield working
        finally:
            stopping.set()


def _wait_for_list(connections: Engine, working: Future[None]) -> None:
    """Until no order waits to be listed."""
    waiting = 1
    while waiting:
        if working.done():
            working.result()
        time.sleep(_REFRESH_PAUSE_S / 2)
        with connections.begin() as conn:
            waiting = refresher.backlog(conn)


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

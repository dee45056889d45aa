"""What metrics, logs and traces cost: orders a second through the API with all of them, and with none of them.

As `ingest-api`: `wrk` with 16 clients, relay and refresher beside it. In turn, the programs run as they are, scraped
every five seconds, their logs written and sent with their traces to a collector; and with all of that taken out. So
that what differs is that alone, Postgres tidies up before each load, and never during one.
"""

import argparse
import statistics
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psycopg

from bench import _programs, _report
from bench.ingest_api import CLIENTS, Target, prepared, put_under_load, upload
from bench.propagation import running_bus
from mes.callers import keys
from mes.callers.model import Scope
from mes.config import Settings
from mes.runtime import ports
from mes.runtime.embedded import database
from mes.runtime.location import Database

_WARM_UP_S = 3.0
_SCRAPE_S = 5.0  # twice as often as `deploy/prometheus/prometheus.yml` has it


def main() -> int:
    """Print medians of all pairs."""
    parser = argparse.ArgumentParser(prog="mes bench telemetry", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=10, help="pairs that are measured")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mes-bench-")))
        settings = Settings(home=folder / "home", requests_per_s=100_000)
        found = stack.enter_context(database(settings))
        connections = stack.enter_context(prepared(found, settings))
        nats_url, collector = stack.enter_context(running_bus(folder)), stack.enter_context(_collector())
        untold = settings.model_copy(update={"nats_url": nats_url})
        told = untold.model_copy(update={"otlp_endpoint": collector})
        with connections.begin() as conn:
            key = keys.create(conn, "bench", Scope.SHOP).key
        measure = _Measure(found, folder, key, asked.seconds)
        figures = _compare(
            lambda: measure(told, ["-m"]), lambda: measure(untold, ["-m", "bench._untold"]), asked.repeats
        )
    _report.show(figures, as_json=asked.json)
    return 0


def _compare(told: Callable[[], float], untold: Callable[[], float], repeats: int) -> dict[str, object]:
    """Each pair in the other order than the one before, so that a machine that slows down is fair to both."""
    with_all, with_none = list[float](), list[float]()
    for repeat in range(repeats):
        turns = [(told, with_all), (untold, with_none)]
        for measure, kept in turns if repeat % 2 else reversed(turns):
            kept.append(measure())
        print(f"  pair {repeat + 1} of {repeats}: {with_all[-1]:,.0f}/s of {with_none[-1]:,.0f}", file=sys.stderr)
    ratios = [one / other for one, other in zip(with_all, with_none, strict=True)]
    return {
        "overhead": 1 - statistics.median(ratios),
        "orders_per_s": statistics.median(with_all),
        "untold_per_s": statistics.median(with_none),
        "overhead_least": 1 - max(ratios),
        "overhead_most": 1 - min(ratios),
    }


class _Measure:
    """Orders a second of programs that are started for it."""

    def __init__(self, found: Database, folder: Path, key: str, seconds: float) -> None:
        self._found, self._folder, self._key, self._seconds = found, folder, key, seconds
        self._runs = 0

    def __call__(self, settings: Settings, python: list[str]) -> float:
        self._runs += 1
        first = ports.free("127.0.0.1", settings.api_port)
        second = ports.free("127.0.0.1", settings.worker_port)
        api = [sys.executable, *python, "ingest.api", "--port", str(first)]
        worker = [sys.executable, *python, "ingest.worker", "--roles", "relay,refresh"]
        with (
            _programs.running(api, settings, self._found, first, log=self._folder / "api.log"),
            _programs.running(worker, settings, self._found, second, log=self._folder / "worker.log"),
            _scraping([first, second]) if settings.otlp_endpoint else _nothing(),
        ):
            upload(first, self._key)
            target = Target(self._folder, [first], self._key)
            put_under_load(target, f"warm{self._runs}", _WARM_UP_S, CLIENTS)
            self._tidy_up()
            return put_under_load(target, f"run{self._runs}", self._seconds, CLIENTS).per_s

    def _tidy_up(self) -> None:
        with psycopg.connect(self._found.libpq_url, autocommit=True) as conn:
            conn.execute("alter system set autovacuum = off")
            conn.execute("select pg_reload_conf()")
            conn.execute("vacuum (analyze)")
            conn.execute("checkpoint")


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _scraping(of: list[int]) -> Iterator[None]:
    """As Prometheus does, though more often."""
    stopping = threading.Event()

    def scrape() -> None:
        with httpx.Client(trust_env=False) as client:
            while not stopping.wait(_SCRAPE_S):
                for port in of:
                    with suppress(httpx.HTTPError):
                        client.get(f"http://127.0.0.1:{port}/metrics")

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


@contextmanager
def _collector() -> Iterator[str]:
    """A process that takes whatever is sent; gives its address."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_collect, args=(theirs,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def _collect(told: "Connection[int, None]") -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told.send(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())

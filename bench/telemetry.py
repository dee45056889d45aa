"""What metrics, logs and traces cost: orders a second through the API with all of them, and with none of them.

As `ingest-api`: `wrk` with 16 clients, relay and refresher beside it. Two workshops that are alike stand on one
server: one's programs run as they are, scraped as Prometheus does, their logs written and sent with their traces to a
collector; the other's with all of that taken out. They take turns of half a second, in which the other's programs and
clients are stopped: a shared machine is a tenth faster or slower from one ten seconds to the next, but both have the
same of it so, and each does its own later work (lists, log lines, what goes to the collector) in its own time.

A process is faster or slower for its whole life by what lies where in memory, by as much as is to be measured: so each
round has new processes, and the two workshops change places, and who is started first, too; `overhead_error` is the
standard error of the mean.

Time passes while a program is stopped, too, so what goes by the clock would be told twice as often as in life: scrapes,
traces and calls to the collector are halved for that. And whatever was under way when a program was stopped would be
told as slow: it may take a second more here before it is.
"""

import argparse
import os
import secrets
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil
import psycopg
from psycopg import sql

from bench import _programs, _report
from bench.ingest_api import CLIENTS, Target, prepared, start_load, upload
from bench.propagation import running_bus
from mes.callers import keys
from mes.callers.model import Scope
from mes.config import Settings
from mes.runtime import location, ports
from mes.runtime.embedded import database
from mes.runtime.location import Database

_TURN_S, _RUN_IN_S = 0.5, 6.0
_SENT_EACH = {"OTEL_BSP_SCHEDULE_DELAY": "20000", "OTEL_BLRP_SCHEDULE_DELAY": "20000"}
_SCRAPE_S = 20.0  # twice what `deploy/prometheus/prometheus.yml` has: half of the time is the other's
_LONG_S = 24 * 3600.0


@dataclass(frozen=True)
class _Figures:
    """How many orders there are, and the processors' seconds that programs have taken."""

    orders: int
    api_s: float
    worker_s: float


@dataclass(frozen=True)
class _Workshop:
    """A database, and a bus that knows how far its events were told."""

    found: Database
    nats_url: str


@dataclass(frozen=True)
class _Side:
    """A workshop of its own, whose programs run and are under load, but while they are stopped."""

    found: Database
    api: psutil.Process
    worker: psutil.Process
    clients: psutil.Process

    def stop(self) -> None:
        for process in (self.clients, self.api, self.worker):
            process.suspend()

    def go_on(self) -> None:
        for process in (self.worker, self.api, self.clients):
            process.resume()

    def figures(self) -> _Figures:
        with psycopg.connect(self.found.libpq_url) as conn:
            (orders,) = conn.execute("select count(*) from ops.orders").fetchone() or (0,)
        return _Figures(orders, _taken_s(self.api), _taken_s(self.worker))

    def tidy_up(self) -> None:
        with psycopg.connect(self.found.libpq_url, autocommit=True) as conn:
            conn.execute("vacuum (analyze)")
            conn.execute("checkpoint")


def main() -> int:
    """Print medians of all rounds."""
    parser = argparse.ArgumentParser(prog="mes bench telemetry", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="that each is loaded in a round")
    parser.add_argument("--repeats", type=int, default=12, help="rounds, each with new processes")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    os.environ.update(_SENT_EACH)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or its programs would stay
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mes-bench-")))
        settings = Settings(home=folder / "home", requests_per_s=100_000)
        settings = settings.model_copy(
            update={
                "traces_per_s": settings.traces_per_s / 2,
                "traces_slow_s": settings.traces_slow_s + 2 * _TURN_S,  # two of the other's turns may follow each other
            }
        )
        found = stack.enter_context(database(settings))
        with prepared(found, settings) as connections, connections.begin() as conn:
            key = keys.create(conn, "bench", Scope.SHOP).key
        workshops = [stack.enter_context(_workshop(found, folder, name)) for name in ("one", "other")]
        told = settings.model_copy(update={"otlp_endpoint": stack.enter_context(_collector())})
        rounds = []
        for number in range(asked.repeats):
            plans = list(zip(("told", "untold"), (told, settings), workshops, strict=True))
            rounds.append(_round(folder / f"{number}", plans[:: (1, -1)[number // 2 % 2]], key, asked.seconds))
            workshops.reverse()
            print(f"  round {number + 1} of {asked.repeats}: {rounds[-1]}", file=sys.stderr)
    _report.show(_figures(rounds, asked.seconds), as_json=asked.json)
    return 0


@dataclass(frozen=True)
class _Round:
    """What came of both."""

    told: _Figures
    untold: _Figures

    @property
    def overhead(self) -> float:
        """The share of the orders that the telling cost."""
        return 1 - self.told.orders / self.untold.orders

    def __str__(self) -> str:
        return f"{self.told.orders:,} orders of {self.untold.orders:,}, {self.overhead:.1%} less"


def _round(folder: Path, plans: Sequence[tuple[str, Settings, _Workshop]], key: str, seconds: float) -> _Round:
    """Of both, started in that order."""
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(_running(folder / name, workshop, settings, key))
            for name, settings, workshop in plans
        }
        _take_turns([*sides.values()], _RUN_IN_S)
        for side in sides.values():
            side.tidy_up()
        before = {name: side.figures() for name, side in sides.items()}
        _take_turns([*sides.values()], seconds)
        came = {name: _between(before[name], side.figures()) for name, side in sides.items()}
        return _Round(came["told"], came["untold"])


def _figures(rounds: Sequence[_Round], seconds: float) -> dict[str, object]:
    overheads = [each.overhead for each in rounds]
    quarters = statistics.quantiles(overheads, n=4) if len(rounds) > 1 else overheads * 3
    return {
        "overhead": statistics.median(overheads),
        "overhead_mean": statistics.mean(overheads),
        "overhead_error": statistics.stdev(overheads) / len(overheads) ** 0.5 if len(overheads) > 1 else 0.0,
        "overhead_quarters": f"{quarters[0]:.3f} {quarters[2]:.3f}",
        "rounds": len(rounds),
        **_medians("", [each.told for each in rounds], seconds),
        **_medians("untold_", [each.untold for each in rounds], seconds),
    }


def _medians(prefix: str, figures: Sequence[_Figures], seconds: float) -> dict[str, float]:
    """Orders a second, and milliseconds of a processor that API and worker take for one."""
    return {
        f"{prefix}orders_per_s": statistics.median(each.orders / seconds for each in figures),
        f"{prefix}api_ms": statistics.median(each.api_s * 1000 / each.orders for each in figures),
        f"{prefix}worker_ms": statistics.median(each.worker_s * 1000 / each.orders for each in figures),
    }


def _take_turns(sides: Sequence[_Side], seconds: float) -> None:
    """Let each work for so long; all are stopped before and after it."""
    order = list(sides)
    for _ in range(round(seconds / _TURN_S)):
        for side in order:
            side.go_on()
            time.sleep(_TURN_S)
            side.stop()
        order.reverse()


def _between(before: _Figures, after: _Figures) -> _Figures:
    return _Figures(after.orders - before.orders, after.api_s - before.api_s, after.worker_s - before.worker_s)


def _taken_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@contextmanager
def _workshop(prepared_one: Database, folder: Path, name: str) -> Iterator[_Workshop]:
    """One that is like the one that was prepared."""
    url = location.named(prepared_one.libpq_url, name)
    with psycopg.connect(location.named(prepared_one.libpq_url, "postgres"), autocommit=True) as conn:
        original = sql.Identifier(prepared_one.parameters["dbname"])
        conn.execute(sql.SQL("create database {} template {}").format(sql.Identifier(name), original))
        conn.execute("alter system set autovacuum = off")  # it is tidied up between the loads instead
        conn.execute("select pg_reload_conf()")
    (folder / name).mkdir()
    with running_bus(folder / name) as nats_url:
        yield _Workshop(replace(prepared_one, libpq_url=url), nats_url)


@contextmanager
def _running(folder: Path, workshop: _Workshop, settings: Settings, key: str) -> Iterator[_Side]:
    """Its API, relay and refresher, under load, and stopped; they tell of it if they have somewhere to send it to."""
    folder.mkdir(parents=True)
    python = ["-m"] if settings.otlp_endpoint else ["-m", "bench._untold"]
    settings, found = settings.model_copy(update={"nats_url": workshop.nats_url}), workshop.found
    with ExitStack() as stack:
        port = ports.free("127.0.0.1", settings.api_port)
        argv = [sys.executable, *python, "ingest.api", "--port", str(port)]
        api = stack.enter_context(_programs.running(argv, settings, found, port, log=folder / "api.log"))
        second = ports.free("127.0.0.1", settings.worker_port)
        argv = [sys.executable, *python, "ingest.worker", "--roles", "relay,refresh"]
        worker = stack.enter_context(_programs.running(argv, settings, found, second, log=folder / "worker.log"))
        upload(port, key)
        if settings.otlp_endpoint:
            stack.enter_context(_scraping([port, second]))
        (wrk,) = start_load(Target(folder, [port], key), secrets.token_hex(4), _LONG_S, CLIENTS)
        side = _Side(found, api, worker, psutil.Process(wrk.pid))
        side.stop()
        try:
            yield side
        finally:
            side.go_on()
            wrk.kill()
            wrk.communicate()


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

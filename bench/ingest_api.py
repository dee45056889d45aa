"""Durable orders through the API: how many a second at 16 clients, beside pgbench, and how long one takes at half that.

`wrk` sends single orders, each with a key and a number of its own, to a workshop that has had some thousands before;
relay and refresher run beside it. `pgbench -N -M
simple` with 16 clients on the same server, before and after, is what they are compared with. A batch of orders in one
call is measured twice: while the workers carry and list what it brings, and by itself.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import Engine

from bench import _histories, _programs, _report
from bench.propagation import running_bus
from ingest.api import examples
from mes.callers import keys
from mes.callers.model import Scope
from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.errors import MesError
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.pricing.rates import rate_cards, rate_store
from mes.runtime import cluster, location, ports, up
from mes.runtime.embedded import database
from mes.runtime.location import Database
from mes.samples import history
from mes.samples.history_plan import History

CLIENTS = 16
_PGBENCH_SCALE = 20
_BATCH = 5_000
_BEFORE = History(20_000, _histories.SEED, _histories.UNTIL)
_LUA = """
local counter = 0
local thread_number = 0
function setup(thread)
  thread:set("number", thread_number)
  thread_number = thread_number + 1
end
function request()
  counter = counter + 1
  local id = run .. "-" .. number .. "-" .. counter
  local body = string.gsub(order, "NUMBER", id)
  return wrk.format("POST", "/v1/orders",
    {["authorization"] = "Bearer " .. key, ["content-type"] = "application/json", ["idempotency-key"] = id}, body)
end
function done(summary, latency, requests)
  io.write(string.format("\\nRESULT %d %d %f %f %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), summary.errors.status + summary.errors.timeout))
end
"""


class WrkMissing(MesError):
    """`wrk` is not installed: apt-get install wrk."""

    code = "wrk_missing"


@dataclass(frozen=True)
class Target:
    """What is loaded: the API's processes, and a key for them."""

    folder: Path
    apis: list[int]
    key: str


@dataclass(frozen=True)
class Load:
    """What came of a load: orders a second, and milliseconds each."""

    per_s: float
    p50_ms: float
    p99_ms: float
    refused: int


def main() -> int:
    """Print medians of all repeats."""
    parser = argparse.ArgumentParser(prog="mes bench ingest-api", description=__doc__)
    parser.add_argument("--apis", type=int, default=1, help="processes of the API; `mes up` starts one")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each load")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is measured")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        raise WrkMissing
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mes-bench-")))
        settings = Settings(home=folder / "home", requests_per_s=100_000)
        found = stack.enter_context(database(settings))
        connections = stack.enter_context(prepared(found, settings))
        settings = settings.model_copy(update={"nats_url": stack.enter_context(running_bus(folder))})
        workers = ports.free("127.0.0.1", settings.worker_port)
        apis = [stack.enter_context(_programs.running_api(settings, found)) for _ in range(asked.apis)]
        with connections.begin() as conn:
            key = keys.create(conn, "bench", Scope.SHOP).key
        upload(apis[0], key)
        target = Target(folder, apis, key)
        with _programs.running_worker(settings, found, workers, "relay,refresh"):
            figures = _measure(found, target, asked.seconds, asked.repeats)
        figures["batch_per_s"] = statistics.median(_batch(target, f"alone{n}") for n in range(asked.repeats))
        with connections.begin() as conn:
            figures["orders"] = query.number(conn, "select count(*) from ops.orders")
    _report.show(figures, as_json=asked.json)
    return 0


@contextmanager
def prepared(found: Database, settings: Settings) -> Iterator[Engine]:
    """A workshop that has had orders before, and rates; `pgbench` has a database of its own."""
    migrate.upgrade(found.url)
    connections = engines.connect(found.url, application="bench")
    history.ensure(connections, _BEFORE, ObjectStore(settings.objects_location), Limits.of(settings))
    up.run_step("build-read-models", [sys.executable, "-m", "pipelines.build_read_models"], settings, found)
    location.ensure_exists(location.named(found.libpq_url, "pgbench"))
    _pgbench(found, "-i", "-q", "-s", str(_PGBENCH_SCALE))
    try:
        with connections.begin() as conn:
            rate_store.load(conn, rate_cards.load_sample())
        yield connections
    finally:
        connections.dispose()


def _measure(found: Database, target: Target, seconds: float, repeats: int) -> dict[str, object]:
    ratios, loads, halves, batches, tps = [], [], [], [], []
    for repeat in range(repeats):
        before = _tps(found, seconds)
        load = put_under_load(target, f"full{repeat}", seconds, CLIENTS)
        after = _tps(found, seconds)
        half = put_under_load(target, f"half{repeat}", seconds, CLIENTS // 4)
        batches.append(_batch(target, f"beside{repeat}"))
        tps.append((before + after) / 2)
        loads.append(load)
        halves.append(half)
        ratios.append(load.per_s / tps[-1])
        print(f"  run {repeat + 1} of {repeats}: {load.per_s:,.0f}/s of {tps[-1]:,.0f}", file=sys.stderr)
    median = statistics.median
    return {
        "ratio_pgbench": median(ratios),
        "orders_per_s": median(load.per_s for load in loads),
        "pgbench_tps": median(tps),
        "full_p50_ms": median(load.p50_ms for load in loads),
        "full_p99_ms": median(load.p99_ms for load in loads),
        "light_per_s": median(load.per_s for load in halves),
        "p50_ms": median(load.p50_ms for load in halves),
        "p99_ms": median(load.p99_ms for load in halves),
        "batch_beside_workers_per_s": median(batches),
        "refused": sum(load.refused for load in [*loads, *halves]),
    }


def put_under_load(target: Target, run: str, seconds: float, clients: int) -> Load:
    """Place orders by `wrk` for so long."""
    parts = [_result(each.communicate()[0]) for each in start_load(target, run, seconds, clients)]
    return Load(
        sum(part.per_s for part in parts),
        statistics.mean(part.p50_ms for part in parts),
        max(part.p99_ms for part in parts),
        sum(part.refused for part in parts),
    )


def start_load(target: Target, run: str, seconds: float, clients: int) -> "list[subprocess.Popen[str]]":
    """Start to place orders by `wrk`; each API process gets its share of the clients."""
    order = json.dumps(examples.SMALL_ORDER | {"external_id": "NUMBER", "customer": {"external_id": "C-NUMBER"}})
    running = []
    for number, port in enumerate(target.apis):
        script = target.folder / f"order-{number}.lua"
        script.write_text(f"run = '{run}-{number}'\nkey = '{target.key}'\norder = [[{order}]]\n{_LUA}")
        share = clients // len(target.apis) + (number < clients % len(target.apis))
        argv = ["wrk", "-t1", f"-c{share}", f"-d{seconds:.0f}s", "-s", str(script), f"http://127.0.0.1:{port}"]
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
    return running


def _result(printed: str) -> Load:
    found = re.search(r"RESULT (\d+) (\d+) ([\d.]+) ([\d.]+) (\d+)", printed)
    if found is None:
        raise RuntimeError(f"wrk said: {printed}")
    requests, duration_us, p50_us, p99_us, refused = map(float, found.groups())
    return Load((requests - refused) / duration_us * 1e6, p50_us / 1000, p99_us / 1000, int(refused))


def _batch(target: Target, name: str) -> float:
    numbers = [(f"batch-{name}-{n}", {"external_id": f"C-{n % 997}"}) for n in range(_BATCH)]
    lines = [json.dumps(examples.SMALL_ORDER | {"external_id": order, "customer": who}) for order, who in numbers]
    headers = {"authorization": f"Bearer {target.key}", "content-type": "application/x-ndjson"}
    began = time.perf_counter()
    answer = httpx.post(
        f"http://127.0.0.1:{target.apis[0]}/v1/orders:batch",
        content="\n".join(lines).encode(),
        headers=headers,
        timeout=120,
    )
    taken = sum('"status":201' in line for line in answer.text.splitlines())
    return taken / (time.perf_counter() - began)


def upload(port: int, key: str) -> None:
    """Make the model known that all orders are of."""
    headers = {"authorization": f"Bearer {key}", "content-type": "model/stl"}
    httpx.post(f"http://127.0.0.1:{port}/v1/models", content=examples.STL.encode(), headers=headers, timeout=60)


def _tps(found: Database, seconds: float) -> float:
    printed = _pgbench(found, "-N", "-M", "simple", "-c", str(CLIENTS), "-j", "2", "-n", "-T", f"{seconds:.0f}")
    match = re.search(r"tps = ([\d.]+)", printed)
    if match is None:
        raise RuntimeError(f"pgbench said: {printed}")
    return float(match[1])


def _pgbench(found: Database, *arguments: str) -> str:
    parts = found.parameters
    argv = [
        str(cluster.binaries() / "pgbench"),
        "-h",
        parts["host"],
        "-p",
        parts["port"],
        "-U",
        parts["user"],
        *arguments,
    ]
    done = subprocess.run([*argv, "pgbench"], capture_output=True, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

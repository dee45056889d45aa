"""A price: cold from a file's bytes, known over HTTP, and by one or two workers; beside bare round trips."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from itertools import cycle, islice
from pathlib import Path

import psycopg
from sqlalchemy import Engine, text

from bench import _meshes, _programs, _report
from mes.callers import keys
from mes.callers.model import Caller, Scope
from mes.config import Settings
from mes.db import engine as engines
from mes.db import migrate, query
from mes.models import pending, sandbox
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.pricing.costs.levers import price_with_levers
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, parse
from mes.pricing.quotes import caller_quotes
from mes.pricing.quotes.caller_quotes import QuoteRequest
from mes.pricing.rates import rate_cards, rate_store
from mes.runtime import ports
from mes.runtime.embedded import database
from mes.runtime.location import Database, libpq_url

CALLER = Caller("shop", Scope.SHOP, "bench")
OPTIONS = {"material": "gold585", "finish": "polished", "quantity": 1, "longest_side_mm": 24.0}
BACKLOG_SIDE = 250  # the backlog's rings have 2 x 250 x 250 triangles: like most jewelry
_LOOK_S, _DONE_LIMIT_S = 0.5, 600.0  # looking more often would take the workers' time


@dataclass(frozen=True)
class Bench:
    """What the parts share: the database, where things are kept, and a caller's key."""

    settings: Settings
    found: Database
    engine: Engine
    key: str


def main() -> int:
    """Print the medians of all repeats."""
    parser = argparse.ArgumentParser(prog="mes bench quote", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000, help="quotes of a known model")
    parser.add_argument("--repeats", type=int, default=7, help="cold quotes, each of a file never seen")
    parser.add_argument("--backlog", type=int, default=60, help="models that wait for the workers, a quote each")
    parser.add_argument("--rounds", type=int, default=3, help="times that one worker and two do the backlog")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    name, vertices, faces = _meshes.large()
    content = _meshes.stl(vertices, faces)
    figures: dict[str, object] = {"model": name, "triangles": len(faces), "bytes": len(content)}
    figures |= cold(content, asked.repeats)
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder, _workshop(Path(folder)) as bench:
        figures |= over_http(bench, content, asked.repeats, asked.requests)
        figures |= by_workers(bench, asked.backlog, asked.rounds)
    _report.show(figures, as_json=asked.json)
    return 0


def cold(content: bytearray, repeats: int) -> dict[str, object]:
    """From the bytes on the disk to a breakdown, walls measured, in a warm process and its sandbox."""
    limits, options = Limits.of(Settings()), parse(OPTIONS)
    (card,) = rate_cards.load_sample()[-1:]
    sandbox.warm_up()
    seconds, measured = [], []
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
        file = Path(folder) / "model.stl"
        for repeat in range(repeats + 1):
            file.write_bytes(_meshes.renamed(content, repeat))
            began = time.perf_counter()
            geometry = sandbox.analyse(file, limits).geometry
            measured.append(time.perf_counter() - began)
            price, _ = price_with_levers(geometry, options, card)
            seconds.append(time.perf_counter() - began)
            if geometry.walls is None or not price.lines:
                raise RuntimeError("the model has no walls or no price")
            print(f"  cold {repeat} of {repeats}: {seconds[-1] * 1000:,.0f} ms", file=sys.stderr)
    return {"cold_ms": _ms(seconds[1:]), "cold_measure_ms": _ms(measured[1:])}  # the first one fills the page cache


def over_http(bench: Bench, content: bytearray, repeats: int, requests: int) -> dict[str, object]:
    """Uploads of new files with their first quotes, then quotes of a known one; beside what can't be avoided."""
    with _programs.running_api(bench.settings, bench.found) as port:
        client = Client(port, bench.key)
        uploads, firsts = [], []
        for repeat in range(repeats):
            began = time.perf_counter()
            model_id = client.upload(_meshes.renamed(content, 1_000 + repeat))
            uploads.append(time.perf_counter() - began)
            client.quote(model_id)
            firsts.append(time.perf_counter() - began)
        wishes = _wishes()  # many, or what is kept of one answer could make the next ones quick
        for wish in wishes:
            client.quote(model_id, **wish)
        known = [_timed(partial(client.quote, model_id, **wish)) for wish in islice(cycle(wishes), requests)]
        trivial = [_timed(client.look) for _ in range(requests)]
    with psycopg.connect(libpq_url(bench.found.url), autocommit=True) as conn:
        bare = [_timed(lambda: conn.execute("select 1")) for _ in range(requests)]
    return {
        "http_upload_ms": _ms(uploads),
        "http_upload_and_quote_ms": _ms(firsts),
        "requests": requests,
        **{f"known_p{share}_ms": _percentile(known, share) for share in (50, 99)},
        **{f"get_p{share}_ms": _percentile(trivial, share) for share in (50, 99)},
        **{f"postgres_p{share}_ms": _percentile(bare, share) for share in (50, 99)},
        "ratio_get": round(_percentile(known, 50) / _percentile(trivial, 50), 2),
    }


def by_workers(bench: Bench, backlog: int, rounds: int) -> dict[str, object]:
    """How much sooner two workers of one thread have measured and priced a backlog than one."""
    content = _meshes.stl(*_meshes.ring(BACKLOG_SIDE, BACKLOG_SIDE))
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(rounds):
        for workers in (1, 2) if turn % 2 else (2, 1):
            seconds = _work_off(bench, workers, content, backlog)
            speeds[workers].append(backlog / seconds)
            print(f"  {workers} worker(s): {speeds[workers][-1]:.2f} models/s", file=sys.stderr)
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    return {
        "backlog": backlog,
        "one_worker_per_s": round(statistics.median(speeds[1]), 2),
        "two_workers_per_s": round(statistics.median(speeds[2]), 2),
        "ratio_two_workers": round(statistics.median(ratios), 3),
    }


class Client:
    """One caller on one connection, which stays open."""

    def __init__(self, port: int, key: str) -> None:
        self._connection = HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": f"Bearer {key}"}

    def upload(self, content: bytearray) -> str:
        """Send a model that is new; gives its id."""
        answer = self._ask("POST", "/v1/models", bytes(content), {"Content-Type": "model/stl"}, 201)
        return str(json.loads(answer)["model_id"])

    def quote(self, model_id: str, **wishes: object) -> None:
        """Ask for a price that is given at once."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
        asked = {"model_id": model_id, **OPTIONS, **wishes}
        self._ask("POST", "/v1/quotes", json.dumps(asked).encode(), headers, 200)

    def look(self) -> None:
        """Ask for what needs neither a key nor the database."""
        self._ask("GET", "/healthz", None, {}, 200)

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str], expected: int) -> bytes:
        self._connection.request(method, path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != expected:
            raise RuntimeError(f"{method} {path}: {answer.status} {content[:500]!r}")
        return content


@contextmanager
def _workshop(folder: Path) -> Iterator[Bench]:
    settings = Settings(home=folder / "home")
    with database(settings) as found:
        migrate.upgrade(found.url)
        engine = engines.connect(found.url, application="bench")
        try:
            with engine.begin() as conn:
                rate_store.load(conn, rate_cards.load_sample())
                key = keys.create(conn, CALLER.key_name, Scope.SHOP).key
            yield Bench(settings, found, engine, key)
        finally:
            engine.dispose()


def _work_off(bench: Bench, workers: int, content: bytearray, backlog: int) -> float:
    """Seconds from the commit of a backlog until it is done by workers that are ready."""
    settings = bench.settings.model_copy(update={"model_threads": 1})
    with ExitStack() as stack:
        taken: set[int] = set()
        for _ in range(workers):
            port = ports.free("127.0.0.1", settings.worker_port, frozenset(taken))
            taken.add(port)
            stack.enter_context(_programs.running_worker(settings, bench.found, port))
        began = _enqueue(bench, content, backlog)
        while _left(bench.engine):
            if time.time() - began > _DONE_LIMIT_S:
                raise TimeoutError("the workers did not finish in time")
            time.sleep(_LOOK_S)
        return _last_priced(bench.engine) - began


def _enqueue(bench: Bench, content: bytearray, backlog: int) -> float:
    """Models never seen before, each with a quote that waits for it; gives when they were committed."""
    store = ObjectStore(bench.settings.objects_location)
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder, bench.engine.begin() as conn:
        file = Path(folder) / "model.stl"
        for _ in range(backlog):
            file.write_bytes(_meshes.renamed(content, uuid.uuid4().int))
            stored = store.put_model(file)
            pending.remember(conn, CALLER, stored.sha256, stored.bytes)
            asked = QuoteRequest.model_validate({"model_id": stored.sha256, **OPTIONS})
            caller_quotes.request(conn, CALLER, asked)
    return time.time()


def _last_priced(engine: Engine) -> float:
    """When the last quote got its price, as the worker's clock said, which is ours."""
    with engine.begin() as conn:
        return float(conn.scalar(text("select extract(epoch from max(created_at)) from ops.quotes")))


def _left(engine: Engine) -> int:
    with engine.begin() as conn:
        if failed := query.number(conn, "select count(*) from procrastinate_jobs where status = 'failed'"):
            raise RuntimeError(f"{failed} jobs failed")
        return query.number(conn, "select count(*) from procrastinate_jobs where status in ('todo', 'doing')")


def _wishes() -> list[dict[str, object]]:
    return [
        {"material": material, "finish": finish.value, "quantity": quantity, "longest_side_mm": 18.0 + quantity}
        for quantity in range(1, 13)
        for finish in Finish
        for material in MATERIALS
    ]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ms(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1000, 1)


def _percentile(seconds: Sequence[float], share: int) -> float:
    return round(statistics.quantiles(seconds, n=100, method="inclusive")[share - 1] * 1000, 3)


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

"""Changed orders into the order list: how the cost grows with the table, how many a second, and how soon they show.

Orders change as work moves them: status, queue and version of random open ones, committed by one writer. The refresher
is the worker's, in processes of its own. The data sets are those of `order-list`.
"""

import argparse
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import Connection, Engine, text

from bench import _histories, _programs, _report
from bench._histories import Dataset
from mes.lists import refresher
from mes.runtime import ports

SMALL, LARGE = 100_000, 10_000_000
CHANGED = 1_000
# a little more than the 2,000 that must be kept up, since what waits at the end does not count
_SINGLE_RATE, _BULK_RATE, _BULK = 300, 2_200, 20
_LOOK_S = 0.002
_WARMED_AT_ONCE = 10_000
# not counted: a page that changes for the first time after a checkpoint is logged whole, and our server just made one
_FIRST_MERGES = 60
_DRAIN_LIMIT_S = 120.0
_MOVE = """
    update ops.orders set
        status = case status
            when 'MANUFACTURING_STARTED' then 'MANUFACTURING_COMPLETED'::ops.order_status
            else 'MANUFACTURING_STARTED'::ops.order_status
        end,
        assigned_to = :operator, version = version + 1, changed_at = clock_timestamp()
    where order_id = any(cast(:ids as uuid[]))
    returning order_id, version
"""


def main() -> int:
    """Print growth, throughput and delay."""
    parser = argparse.ArgumentParser(prog="mes bench refresh", description=__doc__)
    parser.add_argument("--orders", type=int, default=LARGE, help="size of the larger data set")
    parser.add_argument("--small", type=int, default=SMALL, help="size of the one that it is compared with")
    parser.add_argument("--repeats", type=int, default=60, help="how often 1,000 changed orders are merged")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each rate of changes is kept up")
    parser.add_argument("--workers", type=int, default=1, help="processes that refresh")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    with _histories.dataset(asked.small) as data:
        small = _merges(data, asked.repeats)
    with _histories.dataset(asked.orders) as data:
        large = _merges(data, asked.repeats)
        with _refreshing(data, asked.workers):
            delays = _delays(data, asked.seconds)
            sustained = _sustained(data, asked.seconds)
    figures = {
        "small_p50_ms": statistics.median(small),
        "large_p50_ms": statistics.median(large),
        "large_p99_ms": _report.percentile(large, 0.99),
        "ratio_growth": statistics.median(large) / statistics.median(small),
        "delay_p50_ms": statistics.median(delays),
        "p99_ms": _report.percentile(delays, 0.99),
        **sustained,
    }
    _report.show(figures, as_json=asked.json)
    return 0


def _merges(data: Dataset, repeats: int) -> list[float]:
    """Milliseconds that merging 1,000 changed orders took, each time others."""
    chance = random.Random(1)
    orders = _open_orders(data.engine)
    _drain(data.engine)
    _warm(data.engine, orders)
    times = []
    for _ in range(_FIRST_MERGES + repeats):
        with data.engine.begin() as conn:
            _move(conn, chance, chance.sample(orders, min(CHANGED, len(orders))))
        began = time.perf_counter()
        _drain(data.engine)
        times.append((time.perf_counter() - began) * 1000)
    return times[_FIRST_MERGES:]


@contextmanager
def _refreshing(data: Dataset, workers: int) -> Iterator[None]:
    with ExitStack() as stack:
        taken: set[int] = set()
        for _ in range(workers):
            port = ports.free("127.0.0.1", data.settings.worker_port, frozenset(taken))
            taken.add(port)
            stack.enter_context(_programs.running_worker(data.settings, data.found, port, "refresh"))
        yield


@dataclass
class _Waiting:
    """Orders whose change is not seen yet: the version that it made, and when its commit had returned."""

    of: dict[UUID, tuple[int, float]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False


def _delays(data: Dataset, seconds: float) -> list[float]:
    """Milliseconds from a commit to its order's new row in the list, at 300 commits a second of one order each."""
    waiting = _Waiting()
    writer = threading.Thread(target=_write_singly, args=(data.engine, waiting, seconds))
    writer.start()
    found: list[float] = []
    with data.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while not waiting.ended or waiting.of:
            with waiting.lock:
                pending = dict(waiting.of)
            seen = _versions(conn, list(pending))
            now = time.perf_counter()
            for order_id, (version, committed) in pending.items():
                if seen.get(order_id, 0) >= version:
                    found.append((now - committed) * 1000)
                    with waiting.lock:
                        del waiting.of[order_id]
            time.sleep(_LOOK_S)
    writer.join()
    return found


def _write_singly(engine: Engine, waiting: _Waiting, seconds: float) -> None:
    chance = random.Random(2)
    orders = _open_orders(engine)
    began, done = time.perf_counter(), 0
    try:
        while time.perf_counter() - began < seconds:
            with waiting.lock:
                order_id = next(each for each in iter(lambda: chance.choice(orders), None) if each not in waiting.of)
            with engine.begin() as conn:
                ((_, version),) = _move(conn, chance, [order_id])
            with waiting.lock:
                waiting.of[order_id] = version, time.perf_counter()
            done += 1
            time.sleep(max(0.0, began + done / _SINGLE_RATE - time.perf_counter()))
    finally:
        waiting.ended = True


def _sustained(data: Dataset, seconds: float) -> dict[str, float]:
    """Keep 2,200 changes a second up; the queue's length shows whether the refresher keeps up with them."""
    chance, orders = random.Random(3), _open_orders(data.engine)
    lengths: list[int] = []
    began, changed = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds:
        with data.engine.begin() as conn:
            changed += len(_move(conn, chance, chance.sample(orders, _BULK)))
        if len(lengths) < elapsed * 4:
            with data.engine.begin() as conn:
                lengths.append(refresher.backlog(conn))
        time.sleep(max(0.0, began + changed / _BULK_RATE - time.perf_counter()))
    lasted = time.perf_counter() - began
    with data.engine.begin() as conn:
        left = refresher.backlog(conn)
    late = len(lengths) // 2
    return {
        "written_per_s": changed / lasted,
        "changed_per_s": (changed - left) / lasted,
        "queue_first_half": statistics.median(lengths[:late]),
        "queue_second_half": statistics.median(lengths[late:]),
        "queue_most": max(lengths),
    }


def _open_orders(engine: Engine) -> list[UUID]:
    with engine.connect() as conn:
        return list(conn.execute(text("select order_id from marts.order_list where is_open")).scalars())


def _warm(engine: Engine, orders: Sequence[UUID]) -> None:
    """Read all open orders, as a server that has run for hours has them in memory; ours was started a moment ago."""
    read = text(f"""
        select count(live.search_text || list.search_text)
        from {refresher.VIEW} as live join {refresher.LIST} as list using (order_id)
        where live.order_id = any(cast(:ids as uuid[]))
    """)
    with engine.connect() as conn:
        for start in range(0, len(orders), _WARMED_AT_ONCE):
            conn.execute(read, {"ids": list(orders[start : start + _WARMED_AT_ONCE])})


def _move(conn: Connection, chance: random.Random, ids: Sequence[UUID]) -> list[tuple[UUID, int]]:
    rows = conn.execute(text(_MOVE), {"ids": list(ids), "operator": f"op{chance.randrange(40) + 1:03d}"})
    return [(row.order_id, row.version) for row in rows]


def _versions(conn: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    rows = conn.execute(
        text("select order_id, version from marts.order_list where order_id = any(cast(:ids as uuid[]))"),
        {"ids": list(ids)},
    )
    return {row.order_id: row.version for row in rows}


def _drain(engine: Engine) -> None:
    end = time.perf_counter() + _DRAIN_LIMIT_S
    while time.perf_counter() < end:
        with engine.begin() as conn:
            if not refresher.refresh_batch(conn).marks:
                return
    raise RuntimeError("the marks do not end")


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

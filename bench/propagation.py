"""How soon what happened is on the bus and in the order list: 300 events a second, through the workers that users run.

Events are notes to random open orders, each committed by itself. A subscriber of the bus and a reader of the list note
when they see each; workers with the roles relay and refresh, and NATS, run in processes of their own.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import nats
from nats.aio.msg import Msg
from sqlalchemy import text

from bench import _histories, _programs, _report
from bench._histories import Dataset
from mes.db import query
from mes.events import outbox, subjects
from mes.observability import logs
from mes.orders import repository, service
from mes.orders.life import System
from mes.orders.model import Actor
from mes.runtime import bus_server, ports

ORDERS = 10_000
_RATE, _WRITERS = 300, 6
_LOOK_S = 0.01
_LIMIT_S = 60.0
_PERSON = Actor(System.MES, "bench")

Key = tuple[UUID, int]


@dataclass
class _Seen:
    """When each event was committed, came to the bus, and stood in the list (seconds of one clock)."""

    committed: dict[Key, float] = field(default_factory=dict)
    unlisted: dict[Key, None] = field(default_factory=dict)
    on_bus: dict[Key, float] = field(default_factory=dict)
    in_list: dict[Key, float] = field(default_factory=dict)
    backlog: list[int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: threading.Event = field(default_factory=threading.Event)

    def complete(self) -> bool:
        """Whether all that was committed was seen twice."""
        return len(self.on_bus) >= len(self.committed) and len(self.in_list) >= len(self.committed)


def main() -> int:
    """Print delays in milliseconds, and the largest backlog of the relay."""
    parser = argparse.ArgumentParser(prog="mes bench propagation", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS, help="orders of the data set")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long events happen")
    parser.add_argument("--rate", type=float, default=_RATE, help="events a second")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    logs.configure_cli()  # what is done in this process must not come between the figures
    with ExitStack() as stack:
        data = stack.enter_context(_histories.dataset(asked.orders))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mes-bench-")))
        url = stack.enter_context(running_bus(folder))
        _begin_after_history(data)
        port = ports.free("127.0.0.1", data.settings.worker_port)
        settings = data.settings.model_copy(update={"nats_url": url})
        stack.enter_context(_programs.running_worker(settings, data.found, port, "relay,refresh"))
        seen = _measure(data, url, asked.seconds, asked.rate)
    _report.show(_figures(seen, asked.seconds), as_json=asked.json)
    return 0


@contextmanager
def running_bus(folder: Path) -> Iterator[str]:
    """A NATS of the benchmark's own; gives its URL."""
    url = bus_server.prepare(folder, ports.free("127.0.0.1", 4222))
    process = subprocess.Popen(bus_server.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + _LIMIT_S
        while not bus_server.answers(url):
            if time.monotonic() > end:
                raise RuntimeError("NATS does not answer")
            time.sleep(_LOOK_S)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=_LIMIT_S)


def _begin_after_history(data: Dataset) -> None:
    """What an earlier run told belongs to that run's bus, which is gone."""
    with data.engine.begin() as conn:
        while outbox.number(conn):
            pass
        conn.execute(text("delete from ops.carriers where name = 'jetstream'"))
        conn.execute(
            text("""
                insert into ops.carriers (name, position)
                select 'jetstream', position from ops.carriers where name = 'outbox'
            """)
        )


def _measure(data: Dataset, url: str, seconds: float, rate: float) -> _Seen:
    seen = _Seen()
    listening = threading.Event()
    with data.engine.connect() as conn:
        open_orders: list[UUID] = list(
            conn.execute(text("select order_id from marts.order_list where is_open")).scalars()
        )
    threads = [
        threading.Thread(target=asyncio.run, args=(_listen(seen, url, listening),)),
        threading.Thread(target=_watch_list, args=(data, seen)),
        threading.Thread(target=_watch_backlog, args=(data, seen)),
    ]
    for thread in threads:
        thread.start()
    if not listening.wait(_LIMIT_S):
        raise RuntimeError("the bus cannot be listened to")
    shares = [open_orders[number::_WRITERS] for number in range(_WRITERS)]
    writers = [threading.Thread(target=_write, args=(data, seen, share, seconds, rate / _WRITERS)) for share in shares]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    end = time.monotonic() + _LIMIT_S
    while not seen.complete() and time.monotonic() < end:
        time.sleep(_LOOK_S)
    seen.ended.set()
    for thread in threads:
        thread.join()
    return seen


def _write(data: Dataset, seen: _Seen, orders: Sequence[UUID], seconds: float, rate: float) -> None:
    chance = random.Random(orders[0].int)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        order_id = chance.choice(orders)
        with data.engine.begin() as conn:
            before = repository.get(conn, order_id)
            changed = service.write_note(conn, order_id, _PERSON, f"{before.version} at {time.perf_counter()}")
        with seen.lock:
            seen.committed[order_id, changed.version] = time.perf_counter()
            seen.unlisted[order_id, changed.version] = None
        done += 1
        time.sleep(max(0.0, began + done / rate - time.perf_counter()))


async def _listen(seen: _Seen, url: str, listening: threading.Event) -> None:
    client = await nats.connect(url)

    async def note(message: Msg) -> None:
        now = time.perf_counter()
        event = json.loads(message.data)
        with seen.lock:
            seen.on_bus.setdefault((UUID(event["subject"]), int(event["sequence"])), now)

    await client.subscribe(f"{subjects.OUT}.>", cb=note)
    await client.flush()
    listening.set()
    await asyncio.to_thread(seen.ended.wait)
    await client.close()


def _watch_list(data: Dataset, seen: _Seen) -> None:
    with data.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        while not seen.ended.is_set():
            with seen.lock:
                pending = list(seen.unlisted)
            rows = conn.execute(
                text("select order_id, version from marts.order_list where order_id = any(cast(:ids as uuid[]))"),
                {"ids": list({order_id for order_id, _ in pending})},
            )
            listed = {row.order_id: row.version for row in rows}
            now = time.perf_counter()
            with seen.lock:
                for order_id, version in pending:
                    if listed.get(order_id, 0) >= version:
                        seen.in_list[order_id, version] = now
                        del seen.unlisted[order_id, version]
            time.sleep(_LOOK_S)


def _watch_backlog(data: Dataset, seen: _Seen) -> None:
    while not seen.ended.wait(0.25):
        with data.engine.begin() as conn:
            waiting = query.number(
                conn,
                """
                select (select count(*) from ops.outbox where position is null) + (
                    select numbered.position - relay.position
                    from ops.carriers as numbered, ops.carriers as relay
                    where numbered.name = 'outbox' and relay.name = 'jetstream'
                )
                """,
            )
        seen.backlog.append(waiting)


def _figures(seen: _Seen, seconds: float) -> dict[str, object]:
    bus = [(seen.on_bus[key] - at) * 1000 for key, at in seen.committed.items() if key in seen.on_bus]
    listed = [(seen.in_list[key] - at) * 1000 for key, at in seen.committed.items() if key in seen.in_list]
    both = [
        (max(seen.on_bus[key], seen.in_list[key]) - at) * 1000
        for key, at in seen.committed.items()
        if key in seen.on_bus and key in seen.in_list
    ]
    return {
        "events": len(seen.committed),
        "events_per_s": len(seen.committed) / seconds,
        "never_seen": len(seen.committed) - len(both),
        "p50_ms": statistics.median(both),
        "p99_ms": _report.percentile(both, 0.99),
        "bus_p99_ms": _report.percentile(bus, 0.99),
        "list_p99_ms": _report.percentile(listed, 0.99),
        "most_backlog": max(seen.backlog, default=0),
    }


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

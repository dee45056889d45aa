"""Hurts the running system while orders live their lives, and counts what was lost: `make faults`."""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mes.callers import keys
from mes.callers.model import Scope
from mes.events.carriers.carrier import BusUnavailable
from mes.pricing.rates import rate_cards, rate_store
from tests.faults.traffic import Ledger, Life, Senders, Shop, work
from tests.faults.world import World, running_world
from tests.listed import differences

_SETTLE_S = 60.0
_LOOK_S = 0.5

Figures = dict[str, object]


def main() -> int:
    """Print what was done and what was found; 1 when anything was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, help="orders that live their lives")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long faults happen")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between faults, on average")
    parser.add_argument("--seed", type=int, default=1, help="of all chance")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mes-faults-") as folder:
        figures = run(Path(folder) / "world", asked.orders, asked.seconds, asked.pause, asked.seed)
    if asked.json:
        print(json.dumps(figures))  # noqa: T201 - a command's output
    else:
        print("\n".join(f"{name:<36} {value}" for name, value in figures.items()))  # noqa: T201 - as above
    return 1 if any(figures[name] for name in FAILURES) else 0


FAILURES = (
    "orders_lost",
    "orders_unfinished",
    "events_lost",
    "events_twice",
    "out_of_order",
    "version_gaps",
    "list_differences",
    "undecided",
)


def run(home: Path, orders: int, seconds: float, pause_s: float, seed: int) -> Figures:
    """One run: traffic and faults for so long, then a minute at most to come to rest."""
    chance = random.Random(seed)
    lives = [Life(f"F-{number}", cancelled=chance.random() < 0.15) for number in range(orders)]
    ledger, stopping = Ledger(), threading.Event()
    with running_world(home) as world:
        with world.engine.begin() as conn:
            rate_store.load(conn, rate_cards.load_sample())
            key = keys.create(conn, "shop", Scope.SHOP).key
        shop = Shop(world, key, ledger, stopping)
        shop.upload()
        senders = Senders(world, lives, ledger, seed)
        placing = [
            threading.Thread(target=shop.place, args=(half, seconds * 0.8))
            for half in (lives[: orders // 2], lives[orders // 2 :])
        ]
        others = [
            threading.Thread(target=senders.send, args=(seconds * 0.9, stopping)),
            threading.Thread(target=work, args=(world.engine, stopping)),
        ]
        for thread in (*placing, *others):
            thread.start()
        try:
            _hurt(world, senders, chance, seconds, pause_s)
            last_fault = time.monotonic()
            for thread in placing:
                thread.join()
            settled = _wait(lambda: _at_rest(world, ledger, lives), _SETTLE_S)
        finally:
            stopping.set()
            for thread in (*placing, *others):
                thread.join()
        return {
            "orders": len(ledger.orders),
            "events_sent": len(ledger.events),
            "faults": sum(world.done.values()),
            "kills": sum(count for name, count in world.done.items() if name.startswith("kill")),
            **{name: world.done[name] for name in sorted(world.done)},
            "settled_s": round(time.monotonic() - last_fault, 1) if settled else -1,
            **_findings(world, ledger, lives),
        }


def _hurt(world: World, senders: Senders, chance: random.Random, seconds: float, pause_s: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(chance.expovariate(1 / pause_s))
        world.hurt(chance, senders.once_more)


def _at_rest(world: World, ledger: Ledger, lives: list[Life]) -> bool:
    """Whether all orders are where their lives end, and all has been told."""
    if len(ledger.orders) < len(lives):
        return False
    try:
        found = _findings(world, ledger, lives)
    except (SQLAlchemyError, BusUnavailable, OSError, TimeoutError):
        return False
    return not any(found[name] for name in FAILURES)


def _findings(world: World, ledger: Ledger, lives: list[Life]) -> Figures:
    with world.engine.begin() as conn:
        rows = conn.execute(text("select external_id, order_id, status, version from ops.orders")).all()
        events = conn.execute(
            text("select order_id, sequence, source_event_id from ops.order_events order by order_id, sequence")
        ).all()
        undecided = conn.execute(
            text("select count(*) from ops.inbox where state in ('waiting', 'parked')")
        ).scalar_one()
    known = {row.external_id: row for row in rows}
    ends = {life.number: {"CANCELLED"} if life.cancelled else {"CLOSED"} for life in lives}
    recorded: dict[object, list[int]] = defaultdict(list)
    applied: dict[str, int] = defaultdict(int)
    for event in events:
        recorded[event.order_id].append(event.sequence)
        if event.source_event_id:
            applied[event.source_event_id] += 1
    told: dict[str, list[int]] = defaultdict(list)
    for cloud_event in world.bus.events():
        told[cloud_event["subject"]].append(int(cloud_event["sequence"]))
    expected = {str(row.order_id): list(range(1, row.version + 1)) for row in rows}
    return {
        "orders_lost": sum(
            number not in known or known[number].order_id != order_id for number, order_id in ledger.orders.items()
        ),
        "orders_unfinished": sum(row.status not in ends[row.external_id] for row in rows),
        "events_lost": sum(len(set(numbers) - set(told[order])) for order, numbers in expected.items()),
        "events_twice": sum(len(numbers) - len(set(numbers)) for numbers in told.values())
        + sum(count - 1 for count in applied.values()),
        "out_of_order": sum(numbers != sorted(numbers) for numbers in told.values()),
        "version_gaps": sum(recorded[row.order_id] != list(range(1, row.version + 1)) for row in rows),
        "list_differences": differences(world.engine),
        "undecided": undecided,
    }


def _wait(holds: Callable[[], bool], limit_s: float) -> bool:
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(_LOOK_S)
    return holds()


if __name__ == "__main__":
    sys.exit(main())

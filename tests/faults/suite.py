"""Hurts the running system while orders live their lives, and counts what was lost: `make faults`."""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nats.errors import Error as NatsError
from sqlalchemy.exc import SQLAlchemyError

from bench._report import machine
from mes.callers import keys
from mes.callers.model import Scope
from mes.observability import logs
from mes.pricing.rates import rate_cards, rate_store
from tests.faults import findings
from tests.faults.findings import FAILURES, Figures
from tests.faults.hurting import Hurting
from tests.faults.receiver import TYPES, Receiver, receiving
from tests.faults.senders import Senders
from tests.faults.traffic import Ledger, Life, Pace, Shop, Workshop, lives
from tests.faults.world import World, running_world

SETTLE_S = 60.0
"""All must be at rest within this time after the last fault."""

_PATIENCE_S = 600.0  # what is lost can only be counted at rest, however late that is
_LOOK_S = 0.5
_SHOPS, _OPERATORS = 4, 3
_MODELS_PAUSE_S = 3.0
# a bus that has lost all is told a hundred thousand events again, which takes the first half of the minute that is left
_LOSSES_UNTIL = 0.85


@dataclass(frozen=True)
class Plan:
    """How much happens, and for how long."""

    orders: int
    seconds: float
    pause_s: float
    seed: int
    under_way: int = 300
    """Orders at a time: others are placed as these end."""

    most_s: float = float("inf")
    """After so long no further order begins: what a slow machine has not placed by then is left out."""

    once_each: bool = False


def main() -> int:
    """Print what was done and what was found; 1 when anything was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=2_000, help="orders that live their lives")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long faults happen")
    parser.add_argument("--pause", type=float, default=1.5, help="seconds between faults, on average")
    parser.add_argument("--under-way", type=int, default=300, help="orders at a time; others are placed as these end")
    parser.add_argument("--most", type=float, default=float("inf"), help="seconds after which no further order begins")
    parser.add_argument("--seed", type=int, default=1, help="of all chance")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    parser.add_argument("--home", type=Path, help="where to keep all that is written, logs too; else it is removed")
    asked = parser.parse_args()
    logs.configure_cli()  # what operators do in this process must not come between the figures
    plan = Plan(asked.orders, asked.seconds, asked.pause, asked.seed, asked.under_way, asked.most)
    with tempfile.TemporaryDirectory(prefix="mes-faults-") as folder:
        figures = run(asked.home or Path(folder) / "world", plan)
    figures |= {"measured_on": datetime.now(UTC).date().isoformat(), "machine": machine()}
    if asked.json:
        print(json.dumps(figures, indent=1))  # noqa: T201 - a command's output
    else:
        print("\n".join(f"{name:<52} {value}" for name, value in figures.items()))  # noqa: T201 - as above
    return 0 if is_sound(figures) else 1


def is_sound(figures: Figures) -> bool:
    """Whether nothing was lost, repeated or out of order, and all was at rest in time."""
    return not any(figures[name] for name in FAILURES) and 0 <= float(str(figures["settled_s"])) <= SETTLE_S


def run(home: Path, plan: Plan) -> Figures:
    """One run: traffic and faults for so long, then the time that it takes to come to rest."""
    chance = random.Random(plan.seed)
    with receiving(plan.seed) as receiver, running_world(home) as world:
        for missing in world.missing():
            print(missing, file=sys.stderr)  # noqa: T201 - what was not tried must be seen
        traffic = _Traffic(world, lives(plan.orders, chance, by_rabbit=world.rabbit is not None), receiver, plan)
        hurting = Hurting(world, chance, traffic.senders.once_more)
        try:
            traffic.start()
            _hurt(hurting, traffic, plan)
            last_fault = time.monotonic()
            settled = _wait(traffic.is_over, last_fault + _PATIENCE_S)
            settled_s = round(time.monotonic() - last_fault, 1)
        finally:
            traffic.stop()
        traffic.complain()
        return _figures(traffic, hurting, settled_s if settled else -1, receiver)


class _Traffic:
    """All who use the system, each in a thread of its own."""

    def __init__(self, world: World, of: Sequence[Life], receiver: Receiver, plan: Plan) -> None:
        self.world, self._lives, self.ledger = world, of, Ledger(most=len(of))
        self.stopping = threading.Event()
        self.senders = Senders(world, of, self.ledger, plan.seed)
        pace = Pace(world.engine, plan.under_way)
        shop = Shop(world, _key(world), self.ledger, stopping=self.stopping, pace=pace, seed=plan.seed)
        shop.upload()
        receiver.secret = shop.subscribe(receiver.url, TYPES)
        workshop = Workshop(world.console, self.ledger, self.stopping, _OPERATORS)
        self._faults: list[BaseException] = []
        self._threads = [
            *(self._thread(shop.place, of[number::_SHOPS], plan.seconds * 0.8) for number in range(_SHOPS)),
            self._thread(shop.send_models, min(_MODELS_PAUSE_S, plan.seconds / 20)),
            self._thread(self.senders.send, self.stopping),
            *(self._thread(workshop.work, number) for number in range(_OPERATORS)),
        ]

    @property
    def lives(self) -> Sequence[Life]:
        """Of the orders that are to be placed."""
        return self._lives[: self.ledger.most]

    def start(self) -> None:
        """Let them begin."""
        for thread in self._threads:
            thread.start()

    def is_sent(self) -> bool:
        """Whether all orders are placed, and all events of others sent.

        Raises:
            BaseException: an answer that nobody should get; whoever got it has ended.
        """
        self.complain()
        return len(self.ledger.orders) == len(self.lives) and self.senders.have_sent()

    def is_over(self) -> bool:
        """Whether all orders are where their lives end, and all has been told; raises what `is_sent` does."""
        self.complain()
        try:
            return findings.at_rest(self.world, self.ledger, self.lives)
        except (SQLAlchemyError, NatsError, OSError, TimeoutError):
            return False

    def stop(self) -> None:
        """Let them end."""
        self.stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _thread(self, work: Callable[..., None], *values: object) -> threading.Thread:
        def run() -> None:
            try:
                work(*values)
            except BaseException as fault:  # noqa: BLE001 - `complain` raises it
                self._faults.append(fault)

        return threading.Thread(target=run)

    def complain(self) -> None:
        """Raise what ended one of them."""
        if self._faults:
            raise self._faults[0]


def _hurt(hurting: Hurting, traffic: _Traffic, plan: Plan) -> None:
    """As long as was asked for, or longer: until all kinds have happened and all orders are under way."""
    began = time.monotonic()
    if plan.once_each:
        hurting.once_each()
    try:
        while (passed := time.monotonic() - began) < plan.seconds or hurting.has_more() or not traffic.is_sent():
            if passed > plan.most_s:
                traffic.ledger.cut_short()
            time.sleep(hurting.pause(plan.pause_s))
            hurting.hurt(may_lose=passed < plan.seconds * _LOSSES_UNTIL)
    finally:
        hurting.undo()


def _figures(traffic: _Traffic, hurting: Hurting, settled_s: float, receiver: Receiver) -> Figures:
    done, ledger = hurting.done, traffic.ledger
    if settled_s < 0:
        with traffic.world.engine.begin() as conn:
            print("\n".join(findings.unfinished(conn)), file=sys.stderr)  # noqa: T201 - for whoever looks for why
    return {
        "orders": len(ledger.orders),
        "events_sent": len(ledger.events),
        "moves_by_operators": len(ledger.moves),
        "models_sent": len(ledger.models),
        "faults": sum(done.values()),
        "kills": sum(count for name, count in done.items() if name.startswith("kill")),
        **{name: done[name] for name in sorted(done)},
        **{f"refused {name}": count for name, count in sorted(ledger.refusals.items())},
        "settled_s": settled_s,
        **findings.found(traffic.world, ledger, traffic.lives, receiver),
    }


def _key(world: World) -> str:
    with world.engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        return keys.create(conn, "shop", Scope.SHOP).key


def _wait(holds: Callable[[], bool], until: float) -> bool:
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(_LOOK_S)
    return holds()


if __name__ == "__main__":
    sys.exit(main())

"""What happens to systems, done to a running one: kills, restarts, pauses, lost stores, broken lines, full disks."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from mes.runtime import bus_server
from tests.faults.world import World

_RESTART_S = (5.0, 40.0)
_CAUGHT_S = 4.0  # a relay that has something to publish does so many times in this time
_HOUR_S = 3_600
_CLOCKS = (-_HOUR_S, -90, 90, _HOUR_S)

Fault = Callable[[], None]


class Hurting:
    """Does one fault after another; what lasts is undone after a while, and all of it at the end."""

    def __init__(self, world: World, chance: random.Random, on_loss: Callable[[], None]) -> None:
        """Begin with nothing broken.

        Args:
            world: what is hurt.
            chance: decides what, where and for how long.
            on_loss: is called when NATS has lost what it had: senders send what they sent before once more.
        """
        self.done: Counter[str] = Counter()
        self._world, self._chance, self._on_loss = world, chance, on_loss
        self._undoing: list[threading.Timer] = []
        self._restart_at = time.monotonic() + chance.uniform(*_RESTART_S)
        self._once: list[Fault] = []

    def once_each(self) -> None:
        """Let each kind of fault happen before any happens again."""
        self._once = list({fault.__name__: fault for fault in (*self._kinds(), *self._losses())}.values())
        self._chance.shuffle(self._once)

    def has_more(self) -> bool:
        """Whether there are kinds left that have to happen once."""
        return bool(self._once)

    def pause(self, average_s: float) -> float:
        """How long to wait before the next one, seconds."""
        return self._chance.expovariate(1 / average_s)

    def hurt(self, *, may_lose: bool) -> None:
        """Do the next one; with `may_lose` it may be that NATS loses what it has."""
        now = time.monotonic()
        if now >= self._restart_at:
            self._restart_database()
            self._restart_at = now + self._chance.uniform(*_RESTART_S)
        elif self._once:
            self._once.pop()()
        elif may_lose and self._chance.random() < 0.05:
            self._chance.choice(self._losses())()
        else:
            self._chance.choice(self._kinds())()

    def undo(self) -> None:
        """Set everything right: lines, disk, clocks; programs go on."""
        for timer in self._undoing:
            timer.cancel()
            timer.join()
        for line in self._world.lines.values():
            line.heal()
        self._world.disk.free()
        for program in self._world.programs:
            program.signal(signal.SIGCONT)
            if program.clock is not None:
                program.clock.set_wrong(0)

    def _kinds(self) -> list[Fault]:
        return [
            *[self._kill] * 8,
            *[self._kill_relay_before_its_note] * 2,
            self._kill_relays,
            *[self._break_line] * 4,
            self._kill_bus,
            self._pause_bus,
            self._pause_program,
            self._fill_disk,
            *([self._kill_rabbit] if self._world.rabbit is not None else []),
            *([self._set_clock_wrong] * 2 if self._world.programs[0].clock is not None else []),
        ]

    def _losses(self) -> list[Fault]:
        return [self._wipe_bus, self._truncate_bus]

    def _later(self, seconds: float, undo: Fault) -> None:
        """In a thread of its own, since other faults take their time: a broker takes many seconds to start."""
        timer = threading.Timer(seconds, undo)
        timer.start()
        self._undoing.append(timer)

    def _kill(self) -> None:
        program = self._chance.choice(self._world.programs)
        program.signal(signal.SIGKILL)
        self.done[f"kill -9 of {program.name}"] += 1

    def _kill_relays(self) -> None:
        """Both at once, whatever they do."""
        for program in self._world.relays:
            program.signal(signal.SIGKILL)
        self.done["kill -9 of both relays"] += 1

    def _kill_relay_before_its_note(self) -> None:
        """Exactly between publish and note: whoever waits for the row that we have locked has published by then."""
        try:
            with self._world.engine.begin() as conn:
                noted = conn.execute(
                    text("select position from ops.carriers where name = 'jetstream' for update")
                ).scalar_one_or_none()
                caught = noted is not None and self._is_awaited(lambda: conn.execute(_AWAITED).scalar_one())
                if not caught:
                    return
                for program in self._world.relays:
                    program.signal(signal.SIGKILL)
        except SQLAlchemyError:  # the database is not there just now
            return
        self.done["kill -9 of the relay between publish and note"] += 1

    def _is_awaited(self, look: Callable[[], bool]) -> bool:
        end = time.monotonic() + _CAUGHT_S
        while time.monotonic() < end:
            if look():
                return True
            time.sleep(0.01)
        return False

    def _restart_database(self) -> None:
        try:
            state = json.loads((self._world.home / "postgres.json").read_text())
            os.kill(int(state["postmaster"]), signal.SIGINT)
        except (FileNotFoundError, ProcessLookupError):  # it has not come back from the last time
            return
        self.done["Postgres restarted"] += 1

    def _kill_bus(self) -> None:
        self._world.bus.kill()
        time.sleep(self._chance.random())
        self._world.bus.start()
        self.done["kill -9 of NATS"] += 1

    def _pause_bus(self) -> None:
        self._world.bus.signal(signal.SIGSTOP)
        time.sleep(self._chance.uniform(0.5, 4))
        self._world.bus.signal(signal.SIGCONT)
        self.done["NATS paused"] += 1

    def _wipe_bus(self) -> None:
        self._world.bus.kill()
        self._world.bus.wipe()
        self._world.bus.start()
        self._on_loss()
        self.done["store of NATS wiped"] += 1

    def _truncate_bus(self) -> None:
        """Each stream's last file ends somewhere in its middle, as after a crash of a disk that told lies."""
        self._world.bus.kill()
        streams = bus_server.folder(self._world.bus.home) / "data"
        last = {file.parent: file for file in sorted(streams.rglob("*.blk"), key=lambda file: int(file.stem))}
        for file in last.values():
            os.truncate(file, int(file.stat().st_size * self._chance.random()))
        self._world.bus.start()
        self._on_loss()
        self.done["store of NATS truncated"] += 1

    def _kill_rabbit(self) -> None:
        if self._world.rabbit is not None:
            self._world.rabbit.kill()
            self._world.rabbit.start()
            self.done["kill -9 of RabbitMQ"] += 1

    def _pause_program(self) -> None:
        """For longer than a lease: it wakes up when another has its work."""
        program = self._chance.choice(self._world.programs[1:])
        program.signal(signal.SIGSTOP)
        self._later(self._chance.uniform(1, 7), lambda: program.signal(signal.SIGCONT))
        self.done[f"{program.name} paused"] += 1

    def _break_line(self) -> None:
        name, line = self._chance.choice(list(self._world.lines.items()))
        way, breaks = self._chance.choice(
            [
                ("cut", line.cut),
                ("torn in a message", lambda: line.tear(self._chance.randrange(20_000))),
                ("stalled", line.stall),
                ("slow", lambda: line.slow(self._chance.randrange(5, 60))),
            ]
        )
        breaks()
        self._later(self._chance.uniform(0.5, 6), line.heal)
        self.done[f"line to {name} {way}"] += 1

    def _fill_disk(self) -> None:
        self._world.disk.fill()
        self._later(self._chance.uniform(2, 10), self._world.disk.free)
        self.done[f"disk of the object store {self._world.disk.kind}"] += 1

    def _set_clock_wrong(self) -> None:
        program = self._chance.choice(self._world.programs)
        if program.clock is None:
            return
        by_s, clock = self._chance.choice(_CLOCKS), program.clock
        clock.set_wrong(by_s)
        self._later(self._chance.uniform(2, 20), lambda: clock.set_wrong(0))
        self.done[f"clock of a program {'ahead' if by_s > 0 else 'behind'}"] += 1


_AWAITED = text("select exists (select from pg_stat_activity where pg_backend_pid() = any(pg_blocking_pids(pid)))")

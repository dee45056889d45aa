"""The whole system in processes of its own, each of which is started again when it dies, and ways to hurt it."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from mes.db import engine as engines
from mes.db import migrate
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.location import libpq_url, sqlalchemy_url
from tests.api_server import answers
from tests.bus import Bus
from tests.conftest import REPOSITORY, build_read_models
from tests.processes import free_port

_WATCH_S = 0.2
_START_LIMIT_S = 60.0


class Kept:
    """A program that somebody starts again whenever it ends, as a supervisor does."""

    def __init__(self, name: str, argv: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._argv, self._environment, self._log = argv, environment, log
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keep-{name}")
        self._thread.start()

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> None:
        """End it, for good."""
        self._stopping.set()
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        self._thread.join()

    def _keep(self) -> None:
        with self._log.open("ab") as log:
            while not self._stopping.is_set():
                self._process = subprocess.Popen(
                    [sys.executable, *self._argv],
                    cwd=REPOSITORY,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
                while self._process.poll() is None and not self._stopping.wait(_WATCH_S):
                    pass
            if self._process is not None:
                self.signal(signal.SIGTERM)
                try:
                    self._process.wait(timeout=15)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()


class World:
    """Database, bus, an API and a worker for each role, two of them for the relay."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        self.postgres = stack.enter_context(EmbeddedPostgres(home))
        self._looking_after = threading.Event()
        looking = threading.Thread(target=self._look_after_database)
        looking.start()
        stack.callback(looking.join)
        stack.callback(self._looking_after.set)
        self._make_database()
        url = self.postgres.url("world")
        self.engine: Engine = engines.connect(sqlalchemy_url(url), application="workshop", pool_size=20)
        stack.callback(self.engine.dispose)
        self.bus = Bus(home / "bus", free_port())
        self.bus.start()
        stack.callback(self.bus.stop)
        self.api_port = free_port()
        self._environment = {
            **os.environ,
            "MES_DATABASE_URL": libpq_url(url),
            "MES_HOME": str(home / "programs"),
            "MES_NATS_URL": self.bus.url,
            "MES_LOG_LEVEL": "WARNING",
        }
        (home / "programs").mkdir()
        self.programs = [
            self._program("api", ["-m", "ingest.api", "--port", str(self.api_port)], stack),
            *(
                self._program(name, ["-m", "ingest.worker", "--roles", roles], stack)
                for name, roles in (
                    ("relay-1", "relay"),
                    ("relay-2", "relay,webhooks"),
                    ("inbox", "inbox"),
                    ("refresher", "refresh,dispatch"),
                    ("pricing", "pricing"),
                )
            ),
        ]
        self.done: Counter[str] = Counter()
        self._await_api()

    @property
    def api_url(self) -> str:
        """Where the API answers while it does."""
        return f"http://127.0.0.1:{self.api_port}"

    def hurt(self, chance: random.Random, on_loss: Callable[[], None]) -> None:
        """Do one of the things that happen to systems.

        Args:
            chance: decides which.
            on_loss: is called when the bus has lost what it had: senders send what they sent before once more.
        """
        faults = [
            *[self._kill] * 6,
            self._kill_relay_at_work,
            self._restart_database,
            self._kill_bus,
            self._pause_bus,
            self._pause_program,
        ]
        fault = chance.choice(faults)
        if chance.random() < 0.05:
            self._wipe_bus()
            on_loss()
        else:
            fault(chance)

    def _kill(self, chance: random.Random) -> None:
        program = chance.choice(self.programs)
        program.signal(signal.SIGKILL)
        self.done[f"kill -9 of {program.name}"] += 1

    def _kill_relay_at_work(self, chance: random.Random) -> None:
        """Some milliseconds after there was something to publish: between a publish and its note, with luck."""
        time.sleep(chance.random() * 0.05)
        for program in self.programs[1:3]:
            program.signal(signal.SIGKILL)
        self.done["kill -9 of both relays"] += 1

    def _restart_database(self, _chance: random.Random) -> None:
        try:
            state = json.loads((self.home / "postgres.json").read_text())
            os.kill(int(state["postmaster"]), signal.SIGINT)
        except (FileNotFoundError, ProcessLookupError):  # it has not come back from the last time
            return
        self.done["database restarted"] += 1

    def _kill_bus(self, chance: random.Random) -> None:
        self.bus.kill()
        time.sleep(chance.random())
        self.bus.start()
        self.done["kill -9 of NATS"] += 1

    def _pause_bus(self, chance: random.Random) -> None:
        self.bus.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0.5, 4))
        self.bus.signal(signal.SIGCONT)
        self.done["NATS paused"] += 1

    def _wipe_bus(self) -> None:
        self.bus.kill()
        self.bus.wipe()
        self.bus.start()
        self.done["store of NATS wiped"] += 1

    def _pause_program(self, chance: random.Random) -> None:
        """For longer than a lease: it wakes up when another has its work."""
        program = chance.choice(self.programs[1:])
        program.signal(signal.SIGSTOP)
        time.sleep(chance.uniform(1, 7))
        program.signal(signal.SIGCONT)
        self.done[f"{program.name} paused"] += 1

    def _look_after_database(self) -> None:
        """As `mes up` does: what keeps the server gives up when it ends again and again."""
        while not self._looking_after.wait(1.0):
            if not self.postgres.is_kept():
                self.postgres.start()

    def _await_api(self) -> None:
        end = time.monotonic() + _START_LIMIT_S
        while not answers(f"{self.api_url}/readyz"):
            if time.monotonic() > end:
                raise AssertionError(f"the API did not start:\n{(self.home / 'api.log').read_text()[-3000:]}")
            time.sleep(_WATCH_S)

    def _make_database(self) -> None:
        with psycopg.connect(libpq_url(self.postgres.url("postgres")), autocommit=True) as connection:
            connection.execute("create database world")
        url = self.postgres.url("world")
        migrate.upgrade(sqlalchemy_url(url))
        build_read_models(url, self.home)

    def _program(self, name: str, argv: list[str], stack: ExitStack) -> Kept:
        environment = {**self._environment, "MES_WORKER_PORT": str(free_port())}
        kept = Kept(name, argv, environment, self.home / f"{name}.log")
        stack.callback(kept.stop)
        return kept


@contextmanager
def running_world(home: Path) -> Iterator[World]:
    """All of it, for the time of the block."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with ExitStack() as stack:
        yield World(home, stack)

"""The whole system in processes of its own, each of which is started again when it dies."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Engine

from mes.db import engine as engines
from mes.db import migrate
from mes.models.store import ObjectStore
from mes.runtime import cluster
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.location import libpq_url, parameters, sqlalchemy_url
from tests import rabbit
from tests.api_server import answers
from tests.bus import Bus
from tests.conftest import REPOSITORY, build_read_models
from tests.faults import clock
from tests.faults.clock import ProgramClock
from tests.faults.disk import small_disk
from tests.faults.proxy import Proxy, Server
from tests.processes import free_port
from tests.rabbit import Rabbit

_WATCH_S = 0.2
_START_LIMIT_S = 240.0  # eight programs at once, on a machine that has other work
_ROLES = (
    ("relay-1", "relay"),
    ("relay-2", "relay"),
    ("inbox", "inbox"),
    ("refresher", "refresh,dispatch"),
    ("pricing", "pricing"),
    ("webhooks", "webhooks"),
)


class Kept:
    """A program that somebody starts again whenever it ends, as a supervisor does."""

    def __init__(
        self, name: str, argv: list[str], environment: dict[str, str], log: Path, clock_: ProgramClock | None
    ) -> None:
        self.name, self.clock = name, clock_
        self._argv, self._environment, self._log = argv, environment, log
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"keep-{name}")
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Its process, if it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

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
    """Database, buses, an API, a worker for each role (the relay has two), and lines between that can be broken."""

    def __init__(self, home: Path, stack: ExitStack) -> None:
        self.home = home
        starting = stack.enter_context(ThreadPoolExecutor(1)).submit(self._start_rabbit, stack)
        self.postgres = stack.enter_context(EmbeddedPostgres(home))
        self._looking_after = threading.Event()
        looking = threading.Thread(target=self._look_after_database)
        looking.start()
        stack.callback(looking.join)
        stack.callback(self._looking_after.set)
        self._make_database()
        self.engine = self._connect(self.postgres.url("world"), stack)
        self.bus = Bus(home / "bus", free_port())
        self.bus.start()
        stack.callback(self.bus.stop)
        self.rabbit = starting.result()
        self.lines = {name: self._line(server, stack) for name, server in self._servers()}
        database_url = f"postgresql://{cluster.SUPERUSER}@127.0.0.1:{self.lines['Postgres'].port}/world"
        self.console = self._connect(database_url, stack)
        self.objects = home / "objects"
        self.disk = small_disk(self.objects, lambda: self.programs[0].pid)
        stack.callback(self.disk.stop)
        self._clocks = clock.build(home)
        self.api_port = free_port()
        (home / "programs").mkdir()
        self._environment = {
            **os.environ,
            "MES_DATABASE_URL": database_url,
            "MES_HOME": str(home / "programs"),
            "MES_OBJECTS_URL": str(self.objects),
            "MES_NATS_URL": self.bus.url.replace(f":{self.bus.port}", f":{self.lines['NATS'].port}"),
            "MES_WEBHOOK_LOOPBACK": "true",
            "MES_LOG_LEVEL": "WARNING",
        }
        if self.rabbit is not None:
            self._environment["MES_RABBITMQ_URL"] = f"amqp://guest:guest@127.0.0.1:{self.lines['RabbitMQ'].port}/"
        self.programs = [
            self._program("api", ["-m", "ingest.api", "--port", str(self.api_port)], stack),
            *(self._program(name, ["-m", "ingest.worker", "--roles", roles], stack) for name, roles in _ROLES),
        ]
        self._await_api()

    @property
    def api_url(self) -> str:
        """Where the API answers while it does."""
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def store(self) -> ObjectStore:
        """Where models are kept."""
        return ObjectStore(str(self.objects))

    @property
    def relays(self) -> list[Kept]:
        """The workers that publish."""
        return [program for program in self.programs if program.name.startswith("relay")]

    def missing(self) -> list[str]:
        """What cannot be done on this machine, and why."""
        return [
            *(["RabbitMQ takes no part: rabbitmq-server is not installed"] if self.rabbit is None else []),
            *(["no clock jumps: there is no C compiler"] if self._clocks is None else []),
        ]

    def _servers(self) -> list[tuple[str, Server]]:
        where = parameters(self.postgres.url())
        servers = [
            ("Postgres", Server(path=f"{where['host']}/.s.PGSQL.{where['port']}")),
            ("NATS", Server(port=self.bus.port)),
        ]
        return servers if self.rabbit is None else [*servers, ("RabbitMQ", Server(port=self.rabbit.port))]

    def _line(self, server: Server, stack: ExitStack) -> Proxy:
        line = Proxy(server)
        stack.callback(line.stop)
        return line

    def _connect(self, url: str, stack: ExitStack) -> Engine:
        engine = engines.connect(sqlalchemy_url(url), application="workshop", pool_size=20)
        stack.callback(engine.dispose)
        return engine

    def _start_rabbit(self, stack: ExitStack) -> Rabbit | None:
        if not rabbit.SERVER.is_file():
            return None
        broker = Rabbit(self.home / "rabbit", free_port(), free_port())
        broker.start()
        stack.callback(broker.kill)
        return broker

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
        own_clock = ProgramClock(self.home / f"{name}.clock", self._clocks) if self._clocks is not None else None
        environment |= own_clock.environment if own_clock is not None else {}
        kept = Kept(name, argv, environment, self.home / f"{name}.log", own_clock)
        stack.callback(kept.stop)
        return kept


@contextmanager
def running_world(home: Path) -> Iterator[World]:
    """All of it, for the time of the block."""
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    with ExitStack() as stack:
        yield World(home, stack)

"""Runs a real NATS for tests, the one that users run, and reads what is on it."""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import nats
from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from mes.runtime import bus_server
from tests import asynchronous
from tests.processes import free_port

_START_LIMIT_S = 20.0
_Given = TypeVar("_Given")


@dataclass
class Bus:
    """A NATS server of the test's own."""

    home: Path
    port: int
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        """Start it, or start it again, and wait until it answers."""
        self.url = bus_server.prepare(self.home, self.port)
        self.process = subprocess.Popen(
            bus_server.command(self.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = time.monotonic() + _START_LIMIT_S
        while not bus_server.answers(self.url):
            if time.monotonic() > end:
                raise TimeoutError("NATS does not answer")
            time.sleep(0.02)

    def kill(self) -> None:
        """As a crash does."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """In good order."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(timeout=_START_LIMIT_S)
            self.process = None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wipe(self) -> None:
        """Lose all that it keeps; it must be down."""
        shutil.rmtree(bus_server.folder(self.home) / "data", ignore_errors=True)

    def ask(self, work: Callable[[JetStreamContext], Awaitable[_Given]]) -> _Given:
        """Do something with JetStream by a connection of its own."""

        async def run() -> _Given:
            client = await nats.connect(self.url, allow_reconnect=False)
            try:
                return await work(client.jetstream())
            finally:
                await client.close()

        return asynchronous.run(run)

    def events(self, stream: str = "MES") -> list[dict[str, Any]]:
        """All events of a stream, in the order in which it has them."""

        async def read(js: JetStreamContext) -> list[dict[str, Any]]:
            try:
                state = (await js.stream_info(stream)).state
            except NotFoundError:
                return []
            if not state.messages:
                return []
            reading = await js.subscribe("", stream=stream, ordered_consumer=True)
            return [json.loads((await reading.next_msg(timeout=10)).data) for _ in range(state.messages)]

        return self.ask(read)


@contextmanager
def running_bus(home: Path) -> Iterator[Bus]:
    """A NATS server, for the time of the block."""
    bus = Bus(home, free_port())
    bus.start()
    try:
        yield bus
    finally:
        bus.stop()

"""Runs a real RabbitMQ for tests, from Debian's package, on ports of its own."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.processes import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_LIMIT_S = 90.0


@dataclass
class Rabbit:
    """A broker of the test's own."""

    home: Path
    port: int
    epmd_port: int
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start it, or start it again, and wait until it greets."""
        self.home.mkdir(parents=True, exist_ok=True)
        config = self.home / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.default = 127.0.0.1:{self.port}\nloopback_users = none\nlog.console = true\n")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"mes{self.port}@localhost",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
        }
        (self.home / "plugins").write_text("[].")
        with (self.home / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [str(SERVER)],
                env=environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        end = time.monotonic() + _START_LIMIT_S
        while not self._greets():
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"RabbitMQ did not start:\n{(self.home / 'output').read_text()[-3000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        """As a crash does; with all that it has started."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        for mapper in psutil.process_iter(["name"]):  # its port mapper is a daemon, which nobody else uses
            with suppress(psutil.Error):
                if mapper.info["name"] == "epmd" and mapper.environ().get("ERL_EPMD_PORT") == str(self.epmd_port):
                    mapper.kill()

    def _greets(self) -> bool:
        """A broker that listens answers a wrong greeting with its own, once it is up."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as link:
                link.settimeout(1)
                link.sendall(b"AMQP\x00\x00\x00\x00")
                return link.recv(4) == b"AMQP"
        except OSError:
            return False


@contextmanager
def running_rabbit(home: Path) -> Iterator[Rabbit]:
    """A broker, for the time of the block; skips the test, saying so, where the package is missing."""
    if not SERVER.is_file():
        pytest.skip("rabbitmq-server is not installed; scripts/system-packages.sh test installs it")
    rabbit = Rabbit(home, free_port(), free_port())
    rabbit.start()
    try:
        yield rabbit
    finally:
        rabbit.kill()

"""Starts the system's programs for tests, on a database of the test's own, and ends them."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mes.runtime.location import libpq_url

REPOSITORY = Path(__file__).resolve().parents[1]
START_LIMIT_S = 60.0
_STOP_LIMIT_S = 20.0


@dataclass(frozen=True)
class Program:
    """A program that answers at `url`; what it prints is in `log`."""

    process: "subprocess.Popen[bytes]"
    url: str
    log: Path


@contextmanager
def running(
    argv: Sequence[str], database_url: str, home: Path, *, port: int | str | None = None, **changes: str
) -> Iterator[Program]:
    """A program of the system, ready; `{port}` in its arguments and in `changes` becomes `port`, or a free one."""
    port = int(port or free_port())
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "MES_DATABASE_URL": libpq_url(database_url), "MES_HOME": str(home)}
    environment |= {name: value.format(port=port) for name, value in changes.items()}
    log = home / f"{argv[1].replace('.', '-')}-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *(part.format(port=port) for part in argv)],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            program = Program(process, f"http://127.0.0.1:{port}", log)
            _await_ready(program)
            yield program
        finally:
            process.terminate()
            process.wait(timeout=_STOP_LIMIT_S)


@contextmanager
def running_worker(database_url: str, home: Path, roles: str = "refresh,pricing,dispatch") -> Iterator[Program]:
    """A worker."""
    with running(["-m", "ingest.worker", "--roles", roles], database_url, home, MES_WORKER_PORT="{port}") as program:
        yield program


@contextmanager
def running_api(database_url: str, home: Path, **changes: str) -> Iterator[Program]:
    """A process of the sync API."""
    with running(["-m", "ingest.api", "--port", "{port}"], database_url, home, **changes) as program:
        yield program


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _await_ready(program: Program) -> None:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and program.process.poll() is None:
        try:
            with urllib.request.urlopen(f"{program.url}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"it did not start:\n{program.log.read_text()}")

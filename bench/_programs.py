"""Starts the system's programs for benchmarks, as `mes up` does, and ends them."""

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from mes import config
from mes.config import Settings
from mes.runtime import paths, ports
from mes.runtime.location import Database, libpq_url

_START_LIMIT_S, _STOP_LIMIT_S = 120.0, 20.0
_LOOK_S = 0.05


@contextmanager
def running_api(settings: Settings, found: Database) -> Iterator[int]:
    """A process of the API, ready; gives its port."""
    port = ports.free("127.0.0.1", settings.api_port, frozenset())
    argv = [sys.executable, "-m", "ingest.api", "--port", str(port)]
    with running(argv, settings, found, port):
        yield port


@contextmanager
def running_worker(settings: Settings, found: Database, port: int, roles: str = "pricing") -> Iterator[None]:
    """A worker's process with these roles, ready; it answers for its health on `port`."""
    argv = [sys.executable, "-m", "ingest.worker", "--roles", roles]
    with running(argv, settings, found, port):
        yield


@contextmanager
def running(
    argv: list[str],
    settings: Settings | None,
    found: Database | None,
    port: int,
    path: str = "/readyz",
    *,
    log: Path | None = None,
) -> Iterator[psutil.Process]:
    """A program that answers on `port`, for our database where one is given; its process. It logs into `log`."""
    environment = dict(os.environ)
    if settings is not None and found is not None:
        environment |= config.environment(settings)
        environment |= {
            config.variable("database_url"): libpq_url(found.url),
            config.variable("worker_port"): str(port),
        }
    with ExitStack() as stack:
        # what it prints must not come between our figures
        output = stack.enter_context(log.open("ab")) if log is not None else sys.stderr
        process = subprocess.Popen(
            argv, cwd=paths.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        try:
            _await_ready(process, port, path)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=_STOP_LIMIT_S)


def _await_ready(process: "subprocess.Popen[bytes]", port: int, path: str) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(_LOOK_S)
    raise RuntimeError(f"it did not start: {process.args!r}")

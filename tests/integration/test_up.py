"""`mes up` as users run it: everything comes up, comes back, and goes away."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.conftest import REPOSITORY
from tests.integration.test_main_job import MES

pytestmark = pytest.mark.timeout(300)
WATCHED = shutil.which("prometheus") is not None and shutil.which("prometheus-alertmanager") is not None


class Up:
    """A running `mes up`."""

    def __init__(self, home: Path, console_port: int) -> None:
        self.home, self.console_port = home, console_port
        self.output = home / "up.out"
        home.mkdir(exist_ok=True)
        with self.output.open("wb") as output:
            self.process = self._start(output)

    def _start(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [MES, "up", *(["--observability"] if WATCHED else [])],
            cwd=REPOSITORY,
            env={
                **os.environ,
                "MES_PROMETHEUS_PORT": "19090",
                "MES_ALERTMANAGER_PORT": "19093",
                "MES_HOME": str(self.home),
                "MES_CONSOLE_PORT": str(self.console_port),
                "MES_DAGSTER_PORT": "13000",
                "MES_API_PORT": "18000",
                "MES_WORKER_PORT": "19100",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_ready(self) -> str:
        """The console's URL, from the line that scripts wait for."""
        _until(lambda: bool(self._ready_lines()) or self.process.poll() is not None, 200)
        ready = self._ready_lines()
        assert ready, self.output.read_text()
        return ready[0].split()[1]

    def _ready_lines(self) -> list[str]:
        return [line for line in self.output.read_text().splitlines() if line.startswith("ready http")]

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and (
                    process.environ().get("MES_HOME") == str(self.home) or str(self.home) in " ".join(process.cmdline())
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def up(tmp_path: Path, taken_port: int) -> Iterator[Up]:
    running = Up(tmp_path / "home", taken_port)
    yield running
    if running.process.poll() is None:
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(timeout=30)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.2)
    return condition()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _watched(prometheus: str) -> dict[str, str]:
    """How each kind of process looks from Prometheus, and whether it knows an Alertmanager."""
    found = {}
    for path in ("targets", "alertmanagers"):
        with urllib.request.urlopen(f"{prometheus}/api/v1/{path}", timeout=5) as answer:
            found[path] = json.load(answer)["data"]
    jobs = {target["labels"]["job"]: target["health"] for target in found["targets"]["activeTargets"]}
    return jobs | {"alertmanager": "up" if found["alertmanagers"]["activeAlertmanagers"] else "away"}


def test_everything_comes_up_comes_back_and_goes_away(taken_port: int, up: Up) -> None:
    console = up.wait_ready()
    # the console's port was taken: it says so and uses another
    assert f"Port {taken_port} is taken" in up.output.read_text()
    assert not console.endswith(f":{taken_port}")
    assert _answers(f"{console}/_stcore/health")
    addresses = {line.split()[0]: line.split()[1] for line in up.output.read_text().splitlines() if "http://" in line}
    assert _answers(f"{addresses['Dagster']}/server_info")
    for name in ("API", "worker", "console"):
        for path in ("healthz", "readyz", "metrics"):
            assert _answers(f"{addresses[name]}/{path}"), (name, path)
    with urllib.request.urlopen(f"{addresses['worker']}/metrics", timeout=10) as told:
        assert b"mes_pipelines_up 1.0" in told.read()
    if WATCHED:
        wanted = dict.fromkeys(("api", "worker", "console", "prometheus", "alertmanager"), "up")
        assert _until(lambda: _watched(addresses["Prometheus"]) == wanted, 60), _watched(addresses["Prometheus"])

    # a second one says that it is running, and where
    second = subprocess.run(
        [MES, "up"],
        cwd=REPOSITORY,
        env={**os.environ, "MES_HOME": str(up.home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert second.returncode == 0
    assert console in second.stdout
    assert str(up.process.pid) in second.stdout

    # what is killed comes back
    for part in ("ingest.worker", "ingest.api", "streamlit"):
        victim = next(process for process in up.processes() if part in " ".join(process.cmdline()))
        victim.kill()

        def is_back(gone: int = victim.pid, name: str = part) -> bool:
            return any(name in " ".join(process.cmdline()) and process.pid != gone for process in up.processes())

        assert _until(is_back, 30), part
    assert _until(lambda: _answers(f"{console}/_stcore/health"), 60)

    # SIGTERM ends all; orchestrators give ten seconds, of which a busy test machine may take several for itself
    up.process.send_signal(signal.SIGTERM)
    up.process.wait(timeout=30)
    assert _until(lambda: up.processes() == [], 2), up.processes()


def test_a_wrong_setting_stops_the_start_by_its_name(tmp_path: Path) -> None:
    failed = subprocess.run(
        [MES, "up"],
        env={**os.environ, "MES_HOME": str(tmp_path), "MES_CONSOLE_PORT": "eighty"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert failed.returncode == 2
    assert "MES_CONSOLE_PORT" in failed.stderr
    assert "Traceback" not in failed.stderr

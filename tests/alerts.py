"""Runs the real Prometheus and Alertmanager with our rules, for tests that break things."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from mes.runtime import alerting
from tests.processes import free_port

SOON_S = 120.0
_SCARCE = 0.25

needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus-alertmanager") is None,
    reason="Prometheus and Alertmanager are not installed",
)


@contextmanager
def alerting_on(folder: Path, urls: dict[str, str]) -> Iterator[Callable[[], set[str]]]:
    """Both programs, looking every second; gives the names of the alerts that somebody would be told of.

    `Watchdog` is always there, and named only while it is not.
    """
    ports = {"prometheus": free_port(), "alertmanager": free_port()}
    commands = alerting.prepare(folder, "127.0.0.1", ports, urls)
    file = folder / "alerting/prometheus.yml"
    said = yaml.safe_load(file.read_text())
    said["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    file.write_text(yaml.safe_dump(said))
    with ExitStack() as stack:
        for name, argv in (("alertmanager", commands.alertmanager), ("prometheus", commands.prometheus)):
            output = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(argv, stdout=output, stderr=output)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        client = stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{ports['alertmanager']}", timeout=10))

        def firing() -> set[str]:
            try:
                answer = client.get("/api/v2/alerts", params={"inhibited": "false", "silenced": "false"})
            except httpx.TransportError:
                return {"not there yet"}
            return ({alert["labels"]["alertname"] for alert in answer.json()} ^ {"Watchdog"}) - _of_this_machine(folder)

        yield firing


def _of_this_machine(folder: Path) -> set[str]:
    """What may rightly fire of the machine that the tests run on, which they write on: its disk may be rather full."""
    disk = shutil.disk_usage(folder)
    return {"DiskFilling"} if disk.free / disk.total < _SCARCE else set()


def await_alerts(firing: Callable[[], set[str]], wanted: set[str]) -> None:
    """Wait until these fire and no others; within two minutes, as whoever is on call can expect."""
    end = time.monotonic() + SOON_S
    while (found := firing()) != wanted:
        assert time.monotonic() < end, f"too many: {found - wanted}; not there: {wanted - found}"
        time.sleep(0.5)

"""The doctor names what keeps the system from running, and what to do."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mes import config
from mes.config import Settings
from mes.runtime import doctor
from mes.runtime.cli import app
from mes.runtime.doctor import Check, Verdict


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in Settings.model_fields:
        monkeypatch.delenv(config.variable(name), raising=False)
    monkeypatch.setenv("MES_HOME", str(tmp_path / "home"))
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def check(name: str) -> Check:
    (found,) = (check for check in doctor.examine() if check.name == name)
    return found


def test_a_machine_that_can_run_it_has_no_fault() -> None:
    assert [found for found in doctor.examine() if found.verdict is Verdict.FAULT] == []
    assert check("embedded postgres").found.startswith("postgres (PostgreSQL) 18")


def test_a_wrong_setting_is_a_fault_and_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_CONSOLE_PORT", "99999")
    run = CliRunner().invoke(app, ["doctor", "--json"])
    assert run.exit_code == 1
    first = json.loads(run.stdout)[0]
    assert (first["name"], first["verdict"]) == ("configuration", "fault")
    assert "MES_CONSOLE_PORT" in first["found"]


def test_an_unreachable_database_is_a_fault_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_DATABASE_URL", "postgresql://mes:hunter22@127.0.0.1:1/mes")
    found = check("database")
    assert found.verdict is Verdict.FAULT
    assert "MES_DATABASE_URL" in found.found
    assert "hunter22" not in found.found


def test_a_taken_port_is_only_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MES_CONSOLE_PORT", str(server.getsockname()[1]))
        assert check("console port").verdict is Verdict.WARNING


def test_a_home_that_cannot_be_made_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_HOME", "/proc/mes")
    assert check("home").verdict is Verdict.FAULT


def test_a_full_disk_and_a_network_home_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _path: SimpleNamespace(free=1))
    monkeypatch.setattr("psutil.disk_partitions", lambda **_: [SimpleNamespace(mountpoint="/", fstype="nfs4")])
    assert check("disk").verdict is Verdict.FAULT
    assert check("file system").verdict is Verdict.FAULT
    assert "local disk" in check("file system").advice


def test_a_missing_package_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PACKAGES", ("no_such_package",))
    assert check("packages").verdict is Verdict.FAULT
    assert "no_such_package" in check("packages").found


def test_feeds_that_are_not_there_yet_are_a_warning() -> None:
    assert check("feeds").verdict is Verdict.WARNING
    assert "mes demo" in check("feeds").advice


def test_a_bus_that_is_away_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_NATS_URL", "nats://mes:hunter22@127.0.0.1:1, nats://127.0.0.1:2")
    found = check("bus")
    assert (found.verdict, found.found) == (Verdict.WARNING, "nats://127.0.0.1:1,nats://127.0.0.1:2 does not answer")
    assert "MES_NATS_URL" in found.advice


def test_the_bus_of_ones_own_needs_a_port() -> None:
    assert check("bus").verdict in {Verdict.OK, Verdict.WARNING}
    assert "4222" in check("bus").found

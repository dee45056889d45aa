"""Settings come from the environment, and a wrong one is named; the command line shows them without secrets."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from mes import config
from mes.config import BadConfiguration, Settings
from mes.runtime import paths, ports, up
from mes.runtime.cli import app
from mes.runtime.location import Database


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in Settings.model_fields:
        monkeypatch.delenv(config.variable(name), raising=False)
    monkeypatch.chdir(tmp_path)
    config.load.cache_clear()
    yield
    config.load.cache_clear()


def test_everything_has_a_default_that_works(tmp_path: Path) -> None:
    settings = config.load()
    assert settings.home == tmp_path / ".mes"
    assert settings.objects_location == str(tmp_path / ".mes" / "objects")
    assert settings.feeds_location == str(tmp_path / ".mes" / "shop" / "feeds")
    assert settings.models_location == tmp_path / ".mes" / "shop" / "models"


def test_every_setting_says_what_it_is_for() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("MES_CONSOLE_PORT", "99999", "less than or equal to 65535"),
        ("MES_DAGSTER_PORT", "http", "valid integer"),
        ("MES_LOG_LEVEL", "LOUD", "'DEBUG'"),
        ("MES_DATABASE_URL", "mysql://mes:hunter22@db/mes", "must start with postgresql://"),
        ("MES_DATABASE_URL", "postgresql://mes:hunter22@[::1/mes", "an IPv6 address in brackets"),
        ("MES_DATABASE_URL", "postgresql://mes:hunter22/2@db/mes", "special characters of the password as %XX"),
        ("MES_DATABASE_URL", "postgresql://mes:hunter22@db:99999/mes", "port from 0 to 65535"),
        ("MES_DAGSTER_DATABASE_URL", "postgresql://mes:hunter22@db/", "must name a database"),
        ("MES_REFRESH_INTERVAL_S", "0", "greater than 0"),
        ("MES_SESSION_HOURS", "0", "greater than 0"),
    ],
)
def test_a_wrong_value_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadConfiguration) as raised:
        config.load()
    assert variable in str(raised.value)
    assert reason in str(raised.value)
    assert "hunter22" not in str(raised.value)


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_CONSOLE_PORT", "0")
    monkeypatch.setenv("MES_LOG_LEVEL", "LOUD")
    with pytest.raises(BadConfiguration, match=r"MES_CONSOLE_PORT.*MES_LOG_LEVEL"):
        config.load()


def test_a_child_in_another_folder_gets_the_same_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MES_FEEDS_URL", "feeds")
    monkeypatch.setenv("MES_OBJECTS_URL", "s3://bucket/prefix")
    settings = config.load()
    assert settings.feeds_url == str(tmp_path / "feeds")
    for name, value in config.environment(settings).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    config.load.cache_clear()
    assert config.load() == settings


def test_config_lists_all_settings_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_DATABASE_URL", "postgresql://mes:hunter22@db/mes")
    shown = CliRunner().invoke(app, ["config"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0
    assert "hunter22" not in shown.output
    for name in Settings.model_fields:
        assert config.variable(name) in shown.output


def test_an_error_is_one_line_and_exit_status_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MES_LOG_LEVEL", "LOUD")
    run = subprocess.run(
        [sys.executable, "-c", "from mes.runtime.cli import app; app()", "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.startswith("error: The configuration cannot be used. MES_LOG_LEVEL: ")
    assert len(run.stderr.splitlines()) == 1


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom mes.runtime.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print({'pydantic', 'sqlalchemy', 'structlog', 'psycopg', 'alembic', 'dagster'} & set(sys.modules))"
    )
    started = time.monotonic()
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "set()"
    assert time.monotonic() - started < 5  # 0.12 s on an idle machine


def test_a_taken_port_gives_way_to_the_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not ports.is_free("127.0.0.1", taken)
        assert ports.free("127.0.0.1", taken) > taken
    assert ports.url("::", 8501) == "http://[::1]:8501"
    with pytest.raises(ports.NoFreePort, match="MES_HOST"):
        ports.free("203.0.113.7", 8501)


def test_an_installation_without_its_repository_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    with pytest.raises(paths.RepositoryMissing, match="editable"):
        paths.require_repository()


def test_supervised_processes_get_the_resolved_database_and_ports_of_their_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports = dict.fromkeys(("api_port", "console_port", "dagster_port", "worker_port", "nats_port"), taken)
        settings = Settings(home=tmp_path / "home", **ports)
        databases = Database("postgresql://a@/mes?host=/run/x", "postgresql://a@/mes_dagster?host=/run/x")
        addresses, specs = up.plan(settings, databases)
    urls = {addresses.api, addresses.console, addresses.dagster, addresses.worker}
    assert len(urls | {f"http://127.0.0.1:{taken}"}) == 5
    assert all(str(taken) in note for note in addresses.notes)
    assert [spec.name for spec in specs] == ["nats", "worker", "api", "console", "dagster", "dagster-daemon"]
    for spec in specs[1:]:
        assert urlsplit(spec.env["MES_NATS_URL"]).port not in (None, taken)
        assert spec.env["MES_DATABASE_URL"] == databases.libpq_url
        assert spec.env["MES_DAGSTER_STORAGE_URL"] == "postgresql+psycopg2://a@/mes_dagster?host=/run/x"
        assert spec.env["MES_HOME"] == str(tmp_path / "home")

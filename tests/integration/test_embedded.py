"""The embedded Postgres starts from nothing, is shared, survives kills, and is gone when nobody uses it."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from mes.config import Settings
from mes.runtime import cluster, location
from mes.runtime.embedded import EmbeddedPostgres, PostgresFailed, database
from mes.runtime.file_locks import is_locked


def eventually(holds: Callable[[], object], within_s: float = 20.0) -> None:
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def state(home: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads((home / cluster.STATE_NAME).read_text())
    return found


def server_processes(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and process.cwd() == str(home / "postgres"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def user_of(home: Path) -> "subprocess.Popen[bytes]":
    """Another process that uses the server of the home, and says so in a file."""
    code = f"""
        import os, pathlib, time, psycopg
        from mes.runtime.embedded import EmbeddedPostgres
        with EmbeddedPostgres(pathlib.Path({str(home)!r})) as server:
            psycopg.connect(server.url("postgres")).close()
            pathlib.Path({str(home)!r}, f"used-by-{{os.getpid()}}").touch()
            time.sleep(600)
        """
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])


def uses(home: Path, user: "subprocess.Popen[bytes]") -> bool:
    return (home / f"used-by-{user.pid}").exists()


@pytest.fixture(scope="module")
def warm_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose data directory exists, shared by the tests of this file; each leaves it without a server."""
    home = tmp_path_factory.mktemp("warm") / "home"
    with EmbeddedPostgres(home):
        pass
    yield home
    for process in server_processes(home):
        process.kill()


@pytest.fixture
def home(warm_home: Path) -> Iterator[Path]:
    eventually(lambda: not is_locked(warm_home / cluster.LOCK_NAME))
    yield warm_home
    eventually(lambda: not is_locked(warm_home / cluster.LOCK_NAME))
    assert server_processes(warm_home) == []


def test_from_nothing_to_both_databases_and_back_to_no_process(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "new home")
    with database(settings) as databases:
        with psycopg.connect(databases.libpq_url) as conn:
            assert conn.execute("select current_database(), current_setting('fsync')").fetchone() == ("mes", "on")
            assert conn.execute("select current_setting('timezone')").fetchone() == ("UTC",)
            assert conn.execute("select uuidv7() is not null").fetchone() == (True,)
        with psycopg.connect(databases.dagster_libpq_url) as conn:
            assert conn.execute("select current_database()").fetchone() == ("mes_dagster",)
        assert databases.url.startswith("postgresql+psycopg://")
        assert databases.dagster_url.startswith("postgresql+psycopg2://")
        assert psycopg.connect(**databases.parameters).close() is None
    assert not EmbeddedPostgres(settings.home).running()
    assert server_processes(settings.home) == []


def test_only_its_owner_can_reach_the_socket(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        folder = Path(location.parameters(server.url())["host"])
        assert folder.stat().st_mode & 0o077 == 0
        assert len(str(folder)) < 60


def test_a_home_with_a_very_long_path_works(home: Path) -> None:
    long = home / ("x" * 150) / "home"
    long.mkdir(parents=True)
    folder = cluster.prepare_socket_dir(long, None)
    assert len(str(folder)) < 60
    folder.rmdir()


def test_a_long_temporary_folder_is_not_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = home / ("y" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(long))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    folder = cluster.prepare_socket_dir(home / "other", None)
    assert folder.parent == Path("/tmp")  # noqa: S108
    folder.rmdir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_socket_folder_of_somebody_else_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(home))
    folder = cluster.prepare_socket_dir(home / "other", None)
    os.chown(folder, 12345, -1)
    with pytest.raises(PostgresFailed, match="belongs to somebody else"):
        cluster.prepare_socket_dir(home / "other", None)


def test_two_starters_at_once_share_one_server(tmp_path: Path) -> None:
    users = [user_of(tmp_path), user_of(tmp_path)]
    for user in users:
        eventually(lambda: uses(tmp_path, user))  # noqa: B023  called at once
    postmasters = [process for process in server_processes(tmp_path) if process.ppid() == state(tmp_path)["keeper"]]
    assert len(postmasters) == 1
    for user in users:
        user.kill()
        user.wait()
    eventually(lambda: not server_processes(tmp_path))


def test_the_server_outlives_one_user_and_not_the_last(home: Path) -> None:
    other = user_of(home)
    with EmbeddedPostgres(home) as server:
        eventually(lambda: uses(home, other))
    assert server.running()
    other.send_signal(signal.SIGKILL)  # even a killed one counts no more
    other.wait()
    eventually(lambda: not server.running())


def test_a_killed_postmaster_is_started_again(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        first = state(home)["postmaster"]
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute("create table if not exists kept (id int)")
            conn.execute("insert into kept values (1)")
            os.kill(first, signal.SIGKILL)
        eventually(lambda: server.running() and state(home)["postmaster"] != first)
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            assert conn.execute("select count(*) from kept").fetchone() == (1,)
            conn.execute("drop table kept")


def test_a_killed_keeper_takes_its_server_along_and_the_next_start_recovers(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        os.kill(state(home)["keeper"], signal.SIGKILL)
        eventually(lambda: not server.is_kept())
        server.start()
        assert server.running()


def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(home: Path) -> None:
    with EmbeddedPostgres(home):
        lines = (home / "postgres" / "postmaster.pid").read_text().splitlines()
    stranger = subprocess.Popen(["sleep", "600"], user=cluster.system_user())
    try:
        lines[0] = str(stranger.pid)
        (home / "postgres" / "postmaster.pid").write_text("\n".join(lines) + "\n")
        with EmbeddedPostgres(home) as server:
            assert server.running()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_half_made_data_directory_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18")
    with EmbeddedPostgres(tmp_path) as server:
        assert server.running()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9.6\n")
    with pytest.raises(PostgresFailed, match="could not be started"):
        EmbeddedPostgres(tmp_path).start()
    assert not is_locked(tmp_path / cluster.LOCK_NAME)


def test_a_configured_server_is_used_and_its_databases_are_made(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        settings = Settings(home=home / "unused", database_url=server.url("workshop-1"))
        with database(settings) as databases:
            assert databases.parameters["dbname"] == "workshop-1"
            with psycopg.connect(databases.dagster_libpq_url) as conn:
                assert conn.info.dbname == "workshop-1_dagster"
        assert not (home / "unused").exists()


def test_a_user_who_may_not_create_a_database_is_told_the_statement(home: Path) -> None:
    with EmbeddedPostgres(home) as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute("create role clerk login")
        url = server.url("missing").replace("postgres@", "clerk@")
        with pytest.raises(location.DatabaseNotPermitted, match='create database "missing" owner "clerk"'):
            location.ensure_exists(url)
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute("drop role clerk")


def test_an_unreachable_server_is_an_error_without_the_password() -> None:
    with pytest.raises(location.DatabaseUnreachable, match="MES_DATABASE_URL") as raised:
        location.ensure_exists("postgresql://mes:hunter22@127.0.0.1:1/mes")
    assert "hunter22" not in str(raised.value)


def test_an_old_server_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(location, "MINIMUM_VERSION", 99)
    with (
        EmbeddedPostgres(home) as server,
        pytest.raises(location.UnsupportedPostgres, match="This is Postgres 18; 99 or later"),
    ):
        location.require_version(server.url("postgres"))


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("postgresql://a:p%40ss@db:6000/mes?sslmode=require", ("db", "6000", "a", "p@ss", "mes")),
        ("postgres://a@/mes?host=/run/x&port=5432", ("/run/x", "5432", "a", "", "mes")),
        ("postgresql+psycopg://a@%2Frun%2Fx/mes", ("/run/x", "5432", "a", "", "mes")),
    ],
)
def test_parts_of_a_url(url: str, parts: tuple[str, ...]) -> None:
    assert location.parameters(url) == dict(zip(("host", "port", "user", "password", "dbname"), parts, strict=True))

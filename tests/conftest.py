"""What all tests share: real Postgres with a template cloned per test, and the real data set where it is present."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine

from mes.db import engine as engines
from mes.db import migrate
from mes.models import intake
from mes.models.store import ObjectStore
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.file_locks import FileLock
from mes.runtime.location import libpq_url, named, sqlalchemy_url
from tests import quiet_logs
from tests.log_scan import LogScan
from tests.workshop import LIMITS, REAL_MODELS, Workshop

REPOSITORY = Path(__file__).resolve().parents[1]
_LOCK_LIMIT_S = 240.0
_names = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Look through all logs at the end; in the process that the others report to."""
    quiet_logs.restore()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(LogScan(), "log-scan")


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """What a test does to the logs of its own process is undone after it."""
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook
    yield
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers, root.level, sys.excepthook = before
    logging.captureWarnings(capture=False)
    quiet_logs.restore()


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder with real orders and meshes; skips the test, saying so, where it is absent."""
    root = Path(os.environ.get("MES_TEST_DATA", "../shared/data"))
    root = root if root.is_absolute() else (REPOSITORY / root).resolve()
    if not root.is_dir():
        pytest.skip(f"real data set not found at {root}; set MES_TEST_DATA to its folder to run this test")
    return root


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all test processes of this run."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base


@pytest.fixture(scope="session")
def server(shared_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded server that users run, shared by all test processes; the last one out stops it.

    It does not wait for the disk, which a clone for each test would do all the time: 0.1 s in place of 0.8 s. Tests of
    crashes start servers of their own.
    """
    with EmbeddedPostgres(shared_folder / "server") as running:
        for setting in ("fsync", "full_page_writes"):
            _execute(running, f"alter system set {setting} = off")
        _execute(running, "select pg_reload_conf()")
        yield running


@pytest.fixture(scope="session")
def template(server: EmbeddedPostgres, shared_folder: Path) -> str:
    """Name of a database with all migrations, to clone from."""
    return _made_once(server, shared_folder, "template_migrated", lambda url: migrate.upgrade(sqlalchemy_url(url)))


@pytest.fixture(scope="session")
def marts_template(server: EmbeddedPostgres, shared_folder: Path, template: str) -> str:
    """Name of a database with migrations and dbt's models, empty, to clone from."""
    return _made_once(
        server, shared_folder, "template_marts", lambda url: build_read_models(url, shared_folder), template
    )


@pytest.fixture(scope="session")
def measured_template(server: EmbeddedPostgres, shared_folder: Path, template: str, data_root: Path) -> str:
    """Name of a migrated database that knows the models of the real feeds, measured once for all tests."""

    def measure(url: str) -> None:
        connections = engines.connect(url)
        with connections.begin() as conn:
            store = ObjectStore(str(shared_folder / "measured"))
            intake.take_in(conn, REAL_MODELS, store=store, root=data_root, limits=LIMITS)
        connections.dispose()

    return _made_once(server, shared_folder, "template_measured", measure, template)


@pytest.fixture
def workshop(server: EmbeddedPostgres, measured_template: str, data_root: Path, tmp_path: Path) -> Iterator[Workshop]:
    """A database of the test's own that knows the real models, to load feeds into."""
    with ExitStack() as stack:
        connections = engines.connect(_clone(server, measured_template, stack), application="test")
        yield Workshop(connections, tmp_path, data_root)
        connections.dispose()


@pytest.fixture
def database_url(server: EmbeddedPostgres, template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    with ExitStack() as stack:
        yield _clone(server, template, stack)


@pytest.fixture
def marts_database_url(server: EmbeddedPostgres, marts_template: str) -> Iterator[str]:
    """A database of the test's own, with dbt's models built."""
    with ExitStack() as stack:
        yield _clone(server, marts_template, stack)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Connections to a migrated database of the test's own."""
    connections = engines.connect(database_url, application="test")
    yield connections
    connections.dispose()


@pytest.fixture
def marts_engine(marts_database_url: str) -> Iterator[Engine]:
    """Connections to a database of the test's own, with dbt's models built."""
    connections = engines.connect(marts_database_url, application="test")
    yield connections
    connections.dispose()


@pytest.fixture(scope="module")
def module_marts_engine(server: EmbeddedPostgres, marts_template: str) -> Iterator[Engine]:
    """Connections to a database with dbt's models that a module's tests share, since filling it takes long."""
    with ExitStack() as stack:
        connections = engines.connect(_clone(server, marts_template, stack), application="test")
        yield connections
        connections.dispose()


@pytest.fixture
def conn(engine: Engine) -> Iterator[Connection]:
    """A transaction on a migrated database of the test's own."""
    with engine.begin() as connection:
        yield connection


def build_read_models(url: str, home: Path) -> None:
    """What `mes up` does before it serves."""
    environment = {**os.environ, "MES_DATABASE_URL": libpq_url(url), "MES_HOME": str(home / "home")}
    argv = [sys.executable, "-m", "pipelines.build_read_models"]
    subprocess.run(argv, cwd=REPOSITORY, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=240)


def _made_once(
    server: EmbeddedPostgres, shared: Path, name: str, make: Callable[[str], None], template: str = "template1"
) -> str:
    done = shared / f"{name}.done"
    lock = FileLock(shared / f"{name}.lock")
    if not lock.acquire(exclusive=True, wait_s=_LOCK_LIMIT_S):
        raise TimeoutError(f"another test process has been making {name} for too long")
    try:
        if not done.exists():
            _execute(server, f'create database "{name}" template "{template}" strategy file_copy')
            make(named(server.url(), name))
            done.touch()
    finally:
        lock.release()
    return name


def _clone(server: EmbeddedPostgres, template: str, stack: ExitStack) -> str:
    name = f"test_{os.getpid()}_{next(_names)}"
    _execute(server, f'create database "{name}" template "{template}" strategy file_copy')
    stack.callback(_execute, server, f'drop database "{name}" with (force)')
    return named(server.url(), name)


def _execute(server: EmbeddedPostgres, statement: str) -> None:
    with psycopg.connect(libpq_url(server.url("postgres")), autocommit=True) as connection:
        connection.execute(statement)

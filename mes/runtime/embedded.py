"""Gives every command a Postgres: the one that is configured, or an embedded one that runs while somebody uses it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg
import structlog

from mes.config import Settings
from mes.runtime import cluster, location, run_marker
from mes.runtime.cluster import PostgresFailed
from mes.runtime.file_locks import FileLock, is_locked
from mes.runtime.location import Database
from mes.runtime.process_log import tail

__all__ = ["Database", "EmbeddedPostgres", "PostgresFailed", "database"]

MAIN_DATABASE = "mes"

_POLL_S = 0.05
_LEASE_WAIT_S = 600.0  # an earlier server that is writing its last checkpoint to a slow disk
_STOP_WAIT_S = 600.0
_KEEPER_STARTS = 2  # the second for a server that was just about to stop; more would hide that it cannot run here

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """The embedded server of one home, shared by all processes that use it; a context manager that starts and stops it.

    Any number of processes may start it at once: one server results. It stops when the last one has stopped it or
    died. It listens on a unix socket in a private folder only, and keeps its data in `<home>/postgres`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home.expanduser().resolve()
        self._lease = FileLock(self.home / cluster.LEASE_NAME)
        self._leased = False

    def start(self) -> None:
        """Start the server, or join the running one, and wait until it answers, however long crash recovery takes.

        Raises:
            PostgresFailed: it cannot be started; the message ends with the tail of its log.
        """
        if not self._leased and not self._lease.acquire(exclusive=False, wait_s=_LEASE_WAIT_S):
            raise PostgresFailed("An earlier server is still shutting down. Try again later.", home=self.home)
        self._leased = True
        try:
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop using the server; the last user stops the server itself and waits until it is down."""
        if not self._leased:
            return
        self._leased = False
        if self._lease.acquire(exclusive=True):
            self._end_keeper()
        self._lease.release()

    def exists(self) -> bool:
        """Whether the home holds a server's data; the server need not run."""
        return cluster.is_initialised(self.home)

    def running(self) -> bool:
        """Whether the server answers now, whoever started it."""
        return self._state() is not None and self._answers()

    def is_kept(self) -> bool:
        """Whether a process looks after the server; cheaper than `running`, and true while it still starts."""
        return is_locked(self.home / cluster.LOCK_NAME)

    def url(self, database: str = MAIN_DATABASE) -> str:
        """The libpq URL of one of its databases.

        Raises:
            PostgresFailed: the server is not running.
        """
        state = self._state()
        if state is None:
            raise PostgresFailed("The embedded database is not running.", home=self.home)
        name = quote(database, safe="")
        return f"postgresql://{cluster.SUPERUSER}@/{name}?host={state['socket_dir']}&port={state['port']}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_answer(self) -> None:
        for _ in range(_KEEPER_STARTS):
            if not self.is_kept():
                self._start_keeper()
            while self.is_kept():
                if self.running():
                    return
                time.sleep(_POLL_S)
        raise PostgresFailed(f"The embedded Postgres could not be started. Its log ends with:\n{self._log_tail()}")

    def _start_keeper(self) -> None:
        """Start the keeper, which detaches itself once it holds its lock; nothing happens if another was quicker."""
        output = cluster.keeper_log_path(self.home)
        output.parent.mkdir(parents=True, exist_ok=True)
        marks = run_marker.RUN, run_marker.PROCESS  # it serves others too, so it is no part of our run
        with output.open("ab") as stream:
            subprocess.run(
                [sys.executable, "-m", "mes.runtime.keeper", str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={name: value for name, value in os.environ.items() if name not in marks},
                start_new_session=True,  # and our terminal's Ctrl-C is not for it
                check=False,
            )

    def _end_keeper(self) -> None:
        end = time.monotonic() + _STOP_WAIT_S
        while self.is_kept() and time.monotonic() < end:
            state = self._state()  # none yet while it still makes the data directory
            if state is not None:
                with suppress(ProcessLookupError):
                    os.kill(int(state["keeper"]), signal.SIGTERM)
            time.sleep(_POLL_S)

    def _state(self) -> dict[str, str | int] | None:
        try:
            state: dict[str, str | int] = json.loads((self.home / cluster.STATE_NAME).read_text())
        except FileNotFoundError:
            return None
        return state

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except (psycopg.OperationalError, PostgresFailed):  # not up yet, recovering, or just gone
            return False
        return True

    def _log_tail(self) -> str:
        logs = (cluster.keeper_log_path(self.home), cluster.log_path(self.home))
        return "\n".join(text for text in map(tail, logs) if text)


@contextmanager
def database(settings: Settings) -> Iterator[Database]:
    """The databases to work with, existing and new enough, for the time of the block.

    Raises:
        PostgresFailed: the embedded server cannot be started.
        DatabaseUnreachable, UnsupportedPostgres, DatabaseNotPermitted: the configured server cannot be used.
    """
    if settings.database_url is not None:
        yield prepared(settings.database_url, settings.dagster_database_url)
        return
    with EmbeddedPostgres(settings.home) as server:
        yield prepared(server.url(MAIN_DATABASE), settings.dagster_database_url)


def prepared(url: str, dagster_url: str | None) -> Database:
    """Both databases of a server, made if they are missing; Dagster's is `<name>_dagster` unless given.

    Raises:
        DatabaseUnreachable, UnsupportedPostgres, DatabaseNotPermitted: the server cannot be used.
    """
    location.ensure_exists(url)
    location.require_version(url)
    dagster = dagster_url or location.named(url, f"{location.parameters(url)['dbname']}_dagster")
    location.ensure_exists(dagster)
    return Database(libpq_url=location.libpq_url(url), dagster_libpq_url=location.libpq_url(dagster))

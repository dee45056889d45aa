"""Starts a Postgres of a test's own, from the wheel that users run: one to be copied, stopped and killed."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from mes.db import engine as engines
from mes.db import migrate
from mes.runtime import cluster, leash

_LIMIT_S = 60.0


class Server:
    """A Postgres that a test starts and ends."""

    def __init__(self, home: Path, *settings: str) -> None:
        self.home = home
        self.user = cluster.system_user()
        home.mkdir()
        if self.user:
            cluster.make_reachable(home / "postgres", self.user)
            cluster.make_reachable(cluster.binaries() / "postgres", self.user)
        self.socket = cluster.prepare_socket_dir(home, self.user)
        # what is cleared away meanwhile would end a read of the replica, which a test does by itself
        ours = ("shared_buffers=16MB", "fsync=off", "autovacuum=off", *settings)
        self._settings = [part for each in ours for part in ("-c", each)]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{cluster.SUPERUSER}@/mes?host={self.socket}&port={cluster.PORT}"

    def start(self, database: str = "mes") -> None:
        argv = [*cluster.server_command(self.home, self.socket), *self._settings]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                leash.command(argv, signal.SIGKILL, self.user),
                cwd="/",
                env=cluster.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._answers(database))

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
        shutil.rmtree(self.socket)

    def copy_from(self, primary: "Server") -> None:
        data = cluster.data_dir(self.home)
        data.mkdir(mode=0o700)
        if self.user:
            os.chown(data, pwd.getpwnam(self.user).pw_uid, pwd.getpwnam(self.user).pw_gid)
        argv = [str(cluster.binaries() / "pg_basebackup"), "--pgdata", str(data), "--host", str(primary.socket)]
        argv += ["--port", str(cluster.PORT), "--username", cluster.SUPERUSER, "--write-recovery-conf"]
        argv += ["--checkpoint=fast", "--no-sync"]
        subprocess.run(
            leash.command(argv, signal.SIGKILL, self.user), cwd="/", env=cluster.environment(), check=True, timeout=60
        )

    def run(self, sql: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as conn:
            conn.execute(sql.encode())

    def _answers(self, database: str) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.home / "log").read_text()
        try:
            psycopg.connect(self.url.replace("/mes?", f"/{database}?")).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def migrated(home: Path) -> Iterator[Server]:
    """One with our tables, which can be streamed."""
    server = Server(home)
    cluster.initialise(server.home, server.user)
    server.start("postgres")
    try:
        with psycopg.connect(server.url.replace("/mes?", "/postgres?"), autocommit=True) as conn:
            conn.execute("create database mes")
        migrate.upgrade(engines.sqlalchemy_url(server.url))
        yield server
    finally:
        server.stop()


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + _LIMIT_S
    while not holds():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)

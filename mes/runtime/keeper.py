"""Keeps the embedded Postgres running as long as anybody uses it, and stops it after the last one, even a killed one.

Each user of the server holds a shared lock on the lease file. The kernel releases it when the user dies, so this
process, which alone wants the lock exclusively, learns of the last user's end without asking anyone.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from mes.observability import logs
from mes.runtime import cluster, leash
from mes.runtime.file_locks import FileLock
from mes.runtime.process_log import ProcessLog

log = structlog.get_logger(__name__)

_POLL_S = 0.1
_MAX_RESTARTS = 5  # in a row; a server that stayed up for a minute starts a new row
_HEALTHY_S = 60.0
_ORPHANS_S = 10.0


class Keeper:
    """Owns the postmaster of one home."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lease = FileLock(home / cluster.LEASE_NAME)
        self._log = ProcessLog(cluster.log_path(home), "postgres")
        self._told_to_stop = False

    def run(self) -> None:
        """Serve until nobody uses the server, or SIGTERM.

        Raises:
            PostgresFailed: the server cannot be started, or keeps ending.
        """
        signal.signal(signal.SIGTERM, lambda *_: self._stop_soon())
        user = cluster.system_user()
        if user:
            cluster.make_reachable(cluster.data_dir(self._home), user)
            cluster.make_reachable(cluster.binaries() / "postgres", user)
        cluster.initialise(self._home, user)
        _end_leftovers(cluster.data_dir(self._home))
        restarts = 0
        while not self._is_over():
            started = time.monotonic()
            was_ready = self._serve(user)
            if self._is_over():
                break
            restarts = 0 if time.monotonic() - started > _HEALTHY_S else restarts + 1
            if not was_ready or restarts > _MAX_RESTARTS:
                raise cluster.PostgresFailed("The database server ended by itself.")
            log.warning("postgres ended and is started again", restarts=restarts)
            _end_leftovers(cluster.data_dir(self._home))

    def _serve(self, user: str | None) -> bool:
        """Run the server once, until it ends; True if it had become ready."""
        socket_dir = cluster.prepare_socket_dir(self._home, user)
        argv = leash.command(cluster.server_command(self._home, socket_dir), signal.SIGINT, user)
        server = subprocess.Popen(
            argv,
            cwd="/",
            env=cluster.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if server.stdout is None:
            raise AssertionError("Popen gives a stream for PIPE")
        reader = self._log.follow(server.stdout)
        self._publish(server.pid, socket_dir)
        log.info("postgres started", pid=server.pid, socket_dir=str(socket_dir))
        was_ready = False
        while server.poll() is None and not self._is_over():
            was_ready = was_ready or _is_ready(cluster.data_dir(self._home))
            time.sleep(_POLL_S)
        if server.poll() is None:
            server.send_signal(signal.SIGINT)  # a fast shutdown: sessions end, all is written, none is lost
            server.wait()  # as long as the checkpoint takes; killing would only move that work to the next start
        was_ready = was_ready or _is_ready(cluster.data_dir(self._home))  # a killed one leaves its pid file
        reader.join(timeout=5)
        log.info("postgres ended", status=server.returncode)
        (self._home / cluster.STATE_NAME).unlink(missing_ok=True)
        with suppress(OSError):  # a killed server leaves its socket there; the next start uses the folder again
            socket_dir.rmdir()
        return was_ready

    def _publish(self, postmaster: int, socket_dir: Path) -> None:
        state = {"keeper": os.getpid(), "postmaster": postmaster, "socket_dir": str(socket_dir), "port": cluster.PORT}
        new = self._home / f"{cluster.STATE_NAME}.new"
        new.write_text(json.dumps(state))
        new.replace(self._home / cluster.STATE_NAME)

    def _is_over(self) -> bool:
        # once taken, the lease is kept to the end, so that a new user waits until the server is down
        return self._told_to_stop or self._lease.acquire(exclusive=True)

    def _stop_soon(self) -> None:
        self._told_to_stop = True


def _is_ready(data: Path) -> bool:
    """Whether the postmaster accepts connections: it says so in the eighth line of its pid file, as pg_ctl knows."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004


def _end_leftovers(data: Path) -> None:
    """End server processes left by a keeper or postmaster that was killed, then drop a pid file that names a stranger.

    Postgres itself refuses to start when the pid in its file is in use, though after a restart of the machine or the
    container that is often another program.
    """
    leftovers = [process for process in psutil.process_iter(["name"]) if _serves(process, data)]
    for process in leftovers:
        process.send_signal(signal.SIGINT)
    _, stuck = psutil.wait_procs(leftovers, timeout=_ORPHANS_S)
    for process in stuck:
        process.kill()
    psutil.wait_procs(stuck, timeout=_ORPHANS_S)
    if leftovers:
        log.warning("server processes of an earlier run were ended", pids=[process.pid for process in leftovers])
    pid_file = data / "postmaster.pid"
    if not pid_file.is_file():
        return
    first = pid_file.read_text().partition("\n")[0].strip()
    if first.isdecimal() and psutil.pid_exists(int(first)):
        log.warning("stale postmaster.pid removed", pid=int(first))
        pid_file.unlink()


def _serves(process: psutil.Process, data: Path) -> bool:
    if process.info["name"] != "postgres":
        return False
    try:
        return process.cwd() == str(data)
    except psutil.Error:
        return False


def main(home: Path) -> int:
    """Run the keeper of a home, detached from whoever started it; 0 at once if there is one already."""
    logs.configure("postgres-keeper")
    lock = FileLock(home / cluster.LOCK_NAME)
    if not lock.acquire(exclusive=True, wait_s=2.0):  # others look at the lock for an instant, a keeper holds it
        return 0
    (home / cluster.STATE_NAME).unlink(missing_ok=True)  # a killed keeper's, whose server is going down
    if os.fork() != 0:
        return 0  # the starter waits for this; the lock stays held by the child
    try:
        Keeper(home).run()
    except (cluster.PostgresFailed, OSError) as error:
        log.error("postgres failed", reason=str(error))  # noqa: TRY400  the message says it all
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

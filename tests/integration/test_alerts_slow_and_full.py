"""Alerts of what goes on, but late, or not for long: slow prices, a replica that lags, a disk that is full."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import prometheus_client
import pytest
from sqlalchemy import Engine, text

from mes.db import engine as engines
from mes.db import reads
from mes.db.reads import Reads
from mes.observability import metrics
from mes.orders import placing
from tests.alerts import alerting_on, await_alerts, needs_prometheus
from tests.callers import SHOP, add_model, new_order
from tests.postgres_server import Server, migrated
from tests.processes import free_port, running, running_api

_DISK_MB = 64
_LATE, _IN_TIME, _FEW = 24, 700, 10
_PRICED_S = 60.0


@needs_prometheus
@pytest.mark.slow
def test_what_is_slow_or_full_wakes_somebody_until_it_is_mended(marts_engine: Engine, tmp_path: Path) -> None:
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        add_model(conn)
    with ExitStack() as stack:
        disk = stack.enter_context(_small_disk(tmp_path / "worker"))
        roles = ["-m", "ingest.worker", "--roles"]
        stack.enter_context(running([*roles, "refresh,relay"], url, tmp_path / "other", MES_WORKER_PORT="{port}"))
        worker = stack.enter_context(running([*roles, "pricing"], url, disk, MES_WORKER_PORT="{port}"))
        api = stack.enter_context(running_api(url, tmp_path / "api"))
        primary = stack.enter_context(migrated(tmp_path / "primary"))
        replica = stack.enter_context(_replica_of(primary, tmp_path / "replica"))
        reader = stack.enter_context(_reading(primary, replica))
        firing = stack.enter_context(alerting_on(tmp_path, {"api": api.url, "worker": worker.url, "console": reader}))
        _place_a_few_at_once(marts_engine, "quiet", _FEW)
        await_alerts(firing, set())

        filling = _fill(disk)
        replica.run("select pg_wal_replay_pause()")
        worker.process.send_signal(signal.SIGSTOP)
        _place(marts_engine, "late", _LATE)
        time.sleep(2)
        worker.process.send_signal(signal.SIGCONT)
        await_alerts(firing, {"DiskFull", "ReplicaBehind", "PricesLateFast"})

        filling.unlink()
        replica.run("select pg_wal_replay_resume()")
        _place_a_few_at_once(marts_engine, "in-time", _IN_TIME)
        await_alerts(firing, {"PricesLateSlowly"})  # more than one in a hundred, of three days


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a disk to be filled cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(disk: Path) -> Path:
    """As full as the last megabyte."""
    filling = disk / "filling"
    with filling.open("wb") as file:
        room = os.statvfs(disk)
        file.write(bytes(room.f_bavail * room.f_frsize - 1_000_000))
    return filling


@contextmanager
def _replica_of(primary: Server, home: Path) -> Iterator[Server]:
    server = Server(home)
    server.copy_from(primary)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _reading(primary: Server, replica: Server) -> Iterator[str]:
    """Somebody reads once a second, as an open page of the console does, while orders come in; gives his metrics."""
    writer, replicas = engines.connect(primary.url), reads.connect(replica.url)
    among, stopping, port = Reads(writer, replicas), threading.Event(), free_port()

    def read() -> None:
        while not stopping.wait(1):
            with writer.begin() as conn:
                conn.execute(text("insert into ops.customers (source, external_id) values ('shop', uuidv7())"))
            with among.connection() as conn:
                conn.execute(text("select count(*) from ops.customers"))

    server, serving = prometheus_client.start_http_server(port, "127.0.0.1", metrics.REGISTRY)
    reading = threading.Thread(target=read)
    reading.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stopping.set()
        reading.join()
        server.shutdown()
        serving.join()
        server.server_close()
        for engine in (writer, replicas):
            engine.dispose()


def _place(engine: Engine, name: str, number: int) -> None:
    for nth in range(number):
        with engine.begin() as conn:
            placing.place(conn, SHOP, new_order(f"{name}-{nth}"))


def _place_a_few_at_once(engine: Engine, name: str, number: int) -> None:
    """So that none waits behind many."""
    for few in range(number // _FEW):
        _place(engine, f"{name}-{few}", _FEW)
        end = time.monotonic() + _PRICED_S
        while _unpriced(engine):
            assert time.monotonic() < end
            time.sleep(0.05)


def _unpriced(engine: Engine) -> int:
    with engine.connect() as conn:
        found: int = conn.execute(text("select count(*) from ops.orders where status = 'SUBMITTED'")).scalar_one()
    return found

"""Runs the whole system on this machine: migrates, then supervises bus, API, worker, console and Dagster."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from mes import config
from mes.config import Settings
from mes.errors import MesError
from mes.runtime import alerting, bus_server, embedded, leash, paths, ports, programs, run_marker, run_state, watchdog
from mes.runtime.embedded import EmbeddedPostgres
from mes.runtime.environment import environment, prepare_dagster_home
from mes.runtime.location import Database
from mes.runtime.process_log import ProcessLog, tail
from mes.runtime.supervisor import ProcessSpec, Supervisor

log = structlog.get_logger(__name__)

_LOOK_AFTER_DATABASE_S = 1.0


class StepFailed(MesError):
    """A step of the start failed."""

    code = "step_failed"


@dataclass(frozen=True)
class Addresses:
    """Where the processes listen, and what a person should know about it; of the bus, without its password."""

    api: str
    console: str
    dagster: str
    worker: str
    bus: str
    prometheus: str | None = None
    alertmanager: str | None = None
    notes: tuple[str, ...] = ()


def up(settings: Settings, on_ready: Callable[[Addresses], None], *, observability: bool = False) -> None:
    """Bring everything up and keep it running until SIGINT or SIGTERM; with `observability`, Prometheus too.

    Raises:
        AlreadyRunning: it runs from this home already.
        AlertingMissing: Prometheus or Alertmanager is asked for and not installed.
        MesError: the database, a migration, the read models or a process failed.
    """
    if (state := run_state.running(settings.home)) is not None:
        raise run_state.AlreadyRunning(state)
    paths.require_repository()
    if observability:
        alerting.require()
    with embedded.database(settings) as database:
        prepare(settings, database)
        serve(settings, database, on_ready, observability=observability)


def prepare(settings: Settings, database: Database) -> None:
    """Migrate the database and build the read models; quick when nothing changed.

    Raises:
        StepFailed: the read models cannot be built; the message ends with the tail of the log.
    """
    from mes.db import migrate  # noqa: PLC0415  alembic takes 0.4 s to import, and most commands need none of it

    migrate.upgrade(database.url)
    run_step("build-read-models", [sys.executable, "-m", "pipelines.build_read_models"], settings, database)


def serve(
    settings: Settings,
    database: Database,
    on_ready: Callable[[Addresses], None] = lambda _addresses: None,
    *,
    observability: bool = False,
) -> None:
    """Supervise bus, API, worker, console and Dagster on a prepared database until SIGINT or SIGTERM.

    Call it in the main thread; `database` stays the caller's to close.

    Raises:
        AlreadyRunning: somebody else serves this home.
        ProcessFailed: a process does not come up.
        PostgresFailed: the embedded server is gone and cannot be started again.
    """
    root = paths.require_repository()
    addresses, specs = plan(settings, database, observability=observability)
    supervisor: Supervisor

    def ready() -> None:
        urls = {"console": addresses.console, "api": addresses.api, "dagster": addresses.dagster}
        run_state.write(settings.home, run_state.RunState(os.getpid(), supervisor.run_id, urls))
        on_ready(addresses)

    supervisor = Supervisor(
        specs, settings.home / "logs", root, on_ready=ready, on_tick=_looking_after_the_database(settings)
    )
    with run_state.claimed(settings.home, supervisor.run_id):
        prepare_dagster_home(settings.home, root)
        supervisor.run()


def plan(settings: Settings, database: Database, *, observability: bool = False) -> tuple[Addresses, list[ProcessSpec]]:
    """The processes to run, with ports that are free, and where they will listen.

    Raises:
        AlertingMissing: Prometheus or Alertmanager is asked for and not installed.
        NoFreePort: there is no free port on `settings.host`.
    """
    wanted = {
        "api": settings.api_port,
        "console": settings.console_port,
        "dagster": settings.dagster_port,
        "worker": settings.worker_port,
        **({"nats": settings.nats_port} if settings.nats_url is None else {}),
        **(
            {"prometheus": settings.prometheus_port, "alertmanager": settings.alertmanager_port}
            if observability
            else {}
        ),
    }
    chosen: dict[str, int] = {}
    for name, port in wanted.items():
        chosen[name] = ports.free(settings.host, port, taken=frozenset(chosen.values()))
    bus_url = settings.nats_url or bus_server.prepare(settings.home, chosen["nats"])
    urls = {name: ports.url(settings.host, port) for name, port in chosen.items() if name != "nats"}
    notes = tuple(
        f"Port {wanted[name]} is taken; {name} uses {got}." for name, got in chosen.items() if got != wanted[name]
    )
    env = environment(settings, database, bus_url)
    bus = [] if settings.nats_url is not None else [_bus(settings.home, bus_url)]
    watching = _alerting(settings, chosen, urls) if observability else []
    return Addresses(**urls, bus=bus_server.shown(bus_url), notes=notes), [
        *bus,
        *_specs(settings.host, chosen, urls, env),
        *watching,
    ]


def _bus(home: Path, url: str) -> ProcessSpec:
    return ProcessSpec("nats", bus_server.command(home), ready=lambda: bus_server.answers(url))


def _alerting(settings: Settings, port: Mapping[str, int], url: Mapping[str, str]) -> list[ProcessSpec]:
    commands = alerting.prepare(settings.home, settings.host, port, {name: url[name] for name in alerting.SCRAPED})
    return [
        ProcessSpec("alertmanager", commands.alertmanager, ready_url=f"{url['alertmanager']}/-/ready"),
        ProcessSpec("prometheus", commands.prometheus, ready_url=f"{url['prometheus']}/-/ready"),
    ]


def _specs(host: str, port: dict[str, int], url: dict[str, str], env: dict[str, str]) -> list[ProcessSpec]:
    return [
        ProcessSpec(
            "worker",
            programs.worker(),
            {**env, config.variable("worker_port"): str(port["worker"])},
            ready_url=f"{url['worker']}/readyz",
        ),
        ProcessSpec("api", programs.api(host, port["api"]), env, ready_url=f"{url['api']}/readyz"),
        ProcessSpec(
            "console", programs.console(host, port["console"]), env, ready_url=f"{url['console']}/_stcore/health"
        ),
        ProcessSpec(
            "dagster",
            programs.dagster_webserver(host, port["dagster"]),
            env,
            ready_url=f"{url['dagster']}/server_info",
        ),
        # after the other, since one at a time makes their tables
        ProcessSpec("dagster-daemon", programs.dagster_daemon(), env, after=("dagster",)),
    ]


def run_step(
    name: str,
    argv: list[str],
    settings: Settings,
    database: Database,
    on_line: Callable[[str], None] = lambda _line: None,
) -> None:
    """Run one program of the repository to its end; its output goes to `<home>/logs/<name>.jsonl`.

    `on_line` is told every line, as it is kept there: one JSON object. Nothing that it started outlives it, or us.

    Raises:
        StepFailed: it ended with an error.
    """
    root = paths.require_repository()
    prepare_dagster_home(settings.home, root)
    output = ProcessLog(settings.home / "logs" / f"{name}.jsonl", name, on_line=on_line)
    with _guarded_run() as run_id:
        process = subprocess.Popen(
            leash.command(argv, signal.SIGKILL),
            cwd=root,
            env={**os.environ, **environment(settings, database), **run_marker.marks(run_id, name)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the terminal comes to us alone, and we end it whole
        )
        if process.stdout is None:
            raise AssertionError("Popen gives a stream for PIPE")
        reader = output.follow(process.stdout)
        status = process.wait()
    reader.join(timeout=5)
    output.close()
    if status != 0:
        raise StepFailed(f"{name} failed with status {status}. {output.path} ends with:\n{tail(output.path)}")


@contextmanager
def _guarded_run() -> Iterator[str]:
    """The id of a run for marking processes: all that bear it are ended after the block, or when we are killed."""
    run_id = uuid.uuid4().hex
    guard = watchdog.start(run_id)
    try:
        yield run_id
    finally:
        if resisting := run_marker.kill(run_id):
            log.error("processes could not be killed", pids=resisting)
        guard.communicate()  # closes its pipe: it looks once more for leftovers, and ends


def _looking_after_the_database(settings: Settings) -> Callable[[], None]:
    """Starts the embedded server again should its keeper have been killed; nothing to do for a configured one."""
    if settings.database_url is not None:
        return lambda: None
    server, looked_at = EmbeddedPostgres(settings.home), time.monotonic()

    def look() -> None:
        nonlocal looked_at
        if time.monotonic() - looked_at < _LOOK_AFTER_DATABASE_S:
            return
        looked_at = time.monotonic()
        if not server.is_kept():
            log.warning("the database's keeper is gone; starting it again")
            server.start()

    return look

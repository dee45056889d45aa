"""Runs the background work of its roles until it is told to stop: `python -m ingest.worker --roles refresh,pricing`."""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from procrastinate.exceptions import ConnectorException
from psycopg import Error as PsycopgError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from ingest import worker_http
from ingest.buses import carriers, receivers
from ingest.loops import Dispatch, Numbering, Refresh
from ingest.receiving import Apply, Receive
from mes import config
from mes.config import Settings
from mes.db import engine
from mes.errors import MesError
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.receiver import Receiver
from mes.events.relay import Relay
from mes.events.webhooks.calling import Calls
from mes.events.webhooks.fanout import WebhookFanout
from mes.events.webhooks.sending import Sender
from mes.observability import health, pipeline_gauges, surroundings, telemetry
from mes.observability.database_gauges import DatabaseGauges
from mes.observability.health import Heartbeat, Readiness
from mes.runtime import garbage

log = structlog.get_logger(__name__)

LONGEST_PAUSE_S = 10.0
STEADY_S = 60.0  # after so long without a failure, the next pause is short again
_DISPATCH_PAUSE_S = 0.5
_INBOX_PAUSE_S = 0.1
_RELAY_PAUSE_S, _RELAY_LONGEST_PAUSE_S = 0.05, 2.0  # a bus that is there again is used within seconds
_MOST_DOUBLINGS = 10
# jobs in hand at the word to stop are given this long; they are transactions, and other workers take them up again
_GRACE_S = 5.0
_LOOK_S = 1.0
_DAGSTER_LIMIT_S = 1.0  # with our own database's limit it must stay below a scrape's
_CONNECTIONS = 10  # each loop has one at a time
_ROLES = ("refresh", "pricing", "dispatch", "relay", "inbox", "webhooks")
_AWAY = (DBAPIError, ConnectorException, PsycopgError)


@dataclass(frozen=True)
class Role:
    """What is done over and over; `step` gives whether there may be more to do at once, else a pause follows."""

    name: str
    step: Callable[[], bool]
    pause_s: float
    longest_pause_s: float = LONGEST_PAUSE_S
    close: Callable[[], None] = lambda: None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the asked roles, each in a thread of its own, until SIGTERM or SIGINT."""
    names = _asked_roles(arguments)
    settings = config.load()
    telemetry.start("worker", settings)
    logging.getLogger("procrastinate").setLevel(logging.WARNING)  # of each job we log what came of it
    if settings.database_url is None:
        raise MesError("A worker needs MES_DATABASE_URL; `mes up` sets it for the workers that it starts.")
    stopping, heartbeat = threading.Event(), Heartbeat()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    database = engine.connect(settings.database_url, application="mes-worker", pool_size=_CONNECTIONS)
    surroundings.watch(settings)
    if "pricing" in names:
        from ingest import pricing  # noqa: PLC0415 - as in `_roles`

        pricing.warm_up(database)
    roles = [role for name in names for role in _roles(name, settings, database, stopping, heartbeat)]
    server = worker_http.start(
        settings.host,
        settings.worker_port,
        healthz=lambda: health.healthz(heartbeat),
        readyz=Readiness(settings.database_url),
        gauges=_gauges(settings, settings.database_url),
    )
    garbage.search_rarely()
    threads = [_start(role, stopping, heartbeat) for role in roles]
    while not stopping.wait(_LOOK_S):
        pass  # a signal that comes just after SIGCONT goes to another thread, and does not wake this one
    late = time.monotonic() + _GRACE_S
    for thread in threads:
        thread.join(max(0.0, late - time.monotonic()))
    server.close()
    if any(thread.is_alive() for thread in threads):
        log.warning("work in hand is left to other workers", roles=[each.name for each in threads if each.is_alive()])
        telemetry.stop(within_s=0.5)
        os._exit(0)  # threads cannot be stopped: the database undoes what they have begun
    database.dispose()
    telemetry.stop()
    return 0


def _gauges(settings: Settings, database_url: str) -> Sequence[DatabaseGauges]:
    """What every worker tells of the whole system: of our database, and of Dagster's where it is known."""
    ours = DatabaseGauges(database_url)
    if settings.dagster_database_url is None:
        return (ours,)
    dagsters = DatabaseGauges(
        settings.dagster_database_url,
        subject=pipeline_gauges.SUBJECT,
        groups=pipeline_gauges.GROUPS,
        limit_s=_DAGSTER_LIMIT_S,
    )
    return ours, dagsters


def run(role: Role, stopping: threading.Event, beat: Callable[[], None]) -> None:
    """Do a role's work until told to stop; after a failure it goes on, with growing pauses."""
    log.info("role started", role=role.name)
    failures, failed_at = 0, 0.0
    while not stopping.is_set():
        beat()
        try:
            if role.step():
                continue
        except Exception as error:  # noqa: BLE001 - whatever it is, the other orders must not wait for a restart
            failures = failures + 1 if time.monotonic() - failed_at < STEADY_S else 1
            failed_at = time.monotonic()
            _tell(role, failures, error)
        else:
            failures = 0
        stopping.wait(min(role.pause_s * 2 ** min(failures, _MOST_DOUBLINGS), role.longest_pause_s))
    _close(role)
    log.info("role stopped", role=role.name)


def _close_all(buses: Sequence[Receiver]) -> None:
    for bus in buses:
        bus.close()


def _close(role: Role) -> None:
    try:
        role.close()
    except (MesError, *_AWAY) as error:
        log.warning("role could not tidy up", role=role.name, error=type(error).__name__)


def _tell(role: Role, failures: int, error: Exception) -> None:
    if isinstance(error, _AWAY):
        log.warning("database failed, trying again", role=role.name, failures=failures, error=_reason(error))
    elif isinstance(error, BusUnavailable):
        log.warning("bus failed, trying again", role=role.name, failures=failures, error=str(error))
    else:
        log.error("role failed, trying again", role=role.name, failures=failures, exc_info=error)


def _asked_roles(arguments: Sequence[str] | None) -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m ingest.worker", description=__doc__)
    parser.add_argument("--roles", default=",".join(_ROLES), help=f"comma-separated, of: {', '.join(_ROLES)}")
    asked = dict.fromkeys(name.strip() for name in parser.parse_args(arguments).roles.split(",") if name.strip())
    if not asked:
        parser.error(f"name at least one role of: {', '.join(_ROLES)}")
    if unknown := sorted(set(asked) - set(_ROLES)):
        parser.error(f"no such role: {', '.join(unknown)}; there are: {', '.join(_ROLES)}")
    return list(asked)


def _roles(
    name: str, settings: Settings, database: Engine, stopping: threading.Event, heartbeat: Heartbeat
) -> list[Role]:
    """A role's loops: most have one; each carrier has its own, so that one bus that is away stops no other."""
    if name == "refresh":
        return [Role(name, Refresh(database).step, settings.refresh_interval_s)]
    if name == "dispatch":
        return [Role(name, Dispatch(database).step, _DISPATCH_PAUSE_S)]
    if name == "relay":
        relays = [Relay(database, carrier) for carrier in carriers(settings)]
        publishing = [
            Role(f"relay-{each.name}", each.step, _RELAY_PAUSE_S, _RELAY_LONGEST_PAUSE_S, each.close) for each in relays
        ]
        return [Role(name, Numbering(database).step, _RELAY_PAUSE_S), *publishing]
    if name == "webhooks":
        fanout = Relay(database, WebhookFanout(database))
        sender = Sender(database, partial(Calls, loopback=settings.webhook_loopback))

        def send() -> bool:
            sender.run(stopping, partial(heartbeat.beat, name))
            return False

        return [
            Role(name, send, _DISPATCH_PAUSE_S),
            Role("webhooks-fanout", fanout.step, _RELAY_PAUSE_S, _RELAY_LONGEST_PAUSE_S, fanout.close),
        ]
    if name == "inbox":
        listening = receivers(settings)
        receiving = [
            Role(
                f"inbox-{each.name}-{each.sender}",
                Receive(database, each).step,
                _RELAY_PAUSE_S,
                _RELAY_LONGEST_PAUSE_S,
                each.close,
            )
            for each in listening
        ]
        asking = receivers(settings)
        return [Role(name, Apply(database, asking).step, _INBOX_PAUSE_S, close=partial(_close_all, asking)), *receiving]
    from ingest import pricing  # noqa: PLC0415 - its libraries take a second that other roles need not wait

    work_on_jobs = pricing.worker(settings, database, stopping, partial(heartbeat.beat, name))
    return [Role(name, work_on_jobs, settings.refresh_interval_s)]


def _start(role: Role, stopping: threading.Event, heartbeat: Heartbeat) -> threading.Thread:
    thread = threading.Thread(target=run, args=(role, stopping, partial(heartbeat.beat, role.name)), name=role.name)
    heartbeat.expect(role.name, alive=lambda: thread.is_alive() or stopping.is_set())
    thread.start()
    return thread


def _reason(error: Exception) -> str:
    return str(error.orig) if isinstance(error, DBAPIError) else str(error.__cause__ or error)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MesError as error:
        log.error("the worker cannot start", code=error.code, reason=str(error))  # noqa: TRY400 - says all there is
        sys.exit(2)

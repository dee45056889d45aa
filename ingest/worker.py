"""Runs the background work of a role until it is told to stop: `python -m ingest.worker --roles refresh`."""

import argparse
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from mes import config
from mes.db import engine
from mes.db.migrate import ensure_event_partitions
from mes.errors import MesError
from mes.lists import refresher
from mes.observability import logs

log = structlog.get_logger(__name__)
stopping = threading.Event()

# what depends on the clock is looked at this often; partitions are made two months before they are needed
CLOCKWORK_INTERVAL = timedelta(seconds=5)
PARTITIONS_AHEAD = timedelta(days=62)
LONGEST_PAUSE_S = 10.0
# of a bulk load, the first few say enough
ORDERS_LOGGED = 20


class Refresh:
    """Keeps the order list true: merges dirty orders, flips what becomes late, makes the events' next partitions."""

    def __init__(self, database: Engine) -> None:
        self.database = database
        self.looked_at_clock = datetime.min.replace(tzinfo=UTC)

    def step(self) -> bool:
        """Do one batch; gives whether there may be more."""
        now = datetime.now(UTC)
        if now - self.looked_at_clock >= CLOCKWORK_INTERVAL:
            with self.database.begin() as conn:
                refresher.flip_overdue(conn)
                ensure_event_partitions(conn, now.date(), (now + PARTITIONS_AHEAD).date())
            self.looked_at_clock = now
        with self.database.begin() as conn:
            if not refresher.is_built(conn):
                return False
            done = refresher.refresh_batch(conn)
        if done.orders:
            shown = [str(order_id) for order_id in done.order_ids[:ORDERS_LOGGED]]
            log.info("order list refreshed", orders=done.orders, marks=done.marks, order_ids=shown)
        return done.orders >= refresher.BATCH


ROLES: dict[str, Callable[[Engine], Refresh]] = {"refresh": Refresh}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the asked roles, each in a thread of its own, until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="python -m ingest.worker", description=__doc__)
    parser.add_argument("--roles", default="refresh", help=f"comma-separated, of: {', '.join(ROLES)}")
    roles = [role.strip() for role in parser.parse_args(arguments).roles.split(",") if role.strip()]
    unknown = sorted(set(roles) - set(ROLES))
    if unknown:
        parser.error(f"no such role: {', '.join(unknown)}; there are: {', '.join(ROLES)}")
    settings = config.load()
    logs.configure("worker", settings.log_level)
    if settings.database_url is None:
        raise MesError("A worker needs MES_DATABASE_URL; `mes up` sets it for the workers that it starts.")
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stopping.set())
    database = engine.connect(settings.database_url, application="mes-worker")
    threads = [
        threading.Thread(target=run, args=(role, ROLES[role](database), settings.refresh_interval_s), name=role)
        for role in roles
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database.dispose()
    return 0


def run(role: str, work: Refresh, pause_s: float) -> None:
    """Do a role's work until told to stop; a database that is away is waited for, with growing pauses."""
    log.info("role started", role=role)
    failures = 0
    while not stopping.is_set():
        try:
            if work.step():
                continue
            failures = 0
        except DBAPIError as error:
            failures += 1
            log.warning("database failed, trying again", role=role, failures=failures, error=str(error.orig))
        stopping.wait(min(pause_s * 2**failures, LONGEST_PAUSE_S))
    log.info("role stopped", role=role)


if __name__ == "__main__":
    sys.exit(main())

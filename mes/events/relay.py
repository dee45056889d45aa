"""Carries the outbox to a bus: one process at a time, one batch after another, from where the last one got to."""

import os
import socket
import time
from collections.abc import Sequence
from uuid import uuid4

import structlog
from opentelemetry.trace import SpanKind
from sqlalchemy import Engine

from mes.clock import Clock, utc_now
from mes.events import leases, outbox
from mes.events.carriers.carrier import Carrier
from mes.events.leases import Lease
from mes.events.outbox import LeaseLost, Progress, Told
from mes.observability import metrics, traces

# a bus that lost its store is found out within this time, though nothing new is to be told
LOOK_S = 2.0
_RENEW_S = leases.TTL.total_seconds() / 4

log = structlog.get_logger(__name__)


class Relay:
    """Publishes to one carrier for as long as it holds the carrier's lease; others stand by.

    State is in the database alone, so that whoever takes over goes on from there. What was published and not yet noted
    is published again: carriers see to it that this does no harm.
    """

    def __init__(self, database: Engine, carrier: Carrier, *, clock: Clock = utc_now) -> None:
        self._database, self._carrier, self._clock = database, carrier, clock
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{uuid4().hex[:8]}"
        self._lease: Lease | None = None
        self._renewed_at = self._looked_at = float("-inf")
        self._progress = Progress(0)

    @property
    def name(self) -> str:
        """The carrier's."""
        return self._carrier.name

    def step(self) -> bool:
        """Carry one batch; gives whether there may be more at once.

        Raises:
            BusUnavailable: the batch is carried again by the next step.
        """
        lease = self._leased()
        if lease is None:
            return False
        try:
            self._look(lease)
            with self._database.begin() as conn:
                events = outbox.after(conn, self._progress.position)
            if not events:
                return False
            self._carry(lease, events)
        except LeaseLost:
            log.warning("another relay has taken over", carrier=self._carrier.name)
            self._lease = None
            return False
        except BaseException:
            self._looked_at = float("-inf")  # whatever happened, the bus is looked at before it is used again
            raise
        return len(events) == outbox.BATCH

    def close(self) -> None:
        """End the lease, so that another need not wait, and leave the bus."""
        if self._lease is not None:
            with self._database.begin() as conn:
                leases.give_back(conn, self._lease)
        self._carrier.close()

    def _carry(self, lease: Lease, events: Sequence[Told]) -> None:
        what: dict[str, str | int] = {
            "messaging.system": self._carrier.name,
            "messaging.operation.type": "send",
            "messaging.batch.message_count": len(events),
        }
        causes = (event.event.get(traces.HEADER) for event in events)
        with traces.span(f"publish {self._carrier.name}", kind=SpanKind.PRODUCER, causes=causes, attributes=what):
            carried = self._carrier.carry(events)
            with self._database.begin() as conn:
                outbox.note(conn, lease, carried)
        self._progress = carried
        now = self._clock()
        metrics.observe_publishing(self._carrier.name, [(now - event.created_at).total_seconds() for event in events])

    def _leased(self) -> Lease | None:
        if self._lease is not None and time.monotonic() - self._renewed_at < _RENEW_S:
            return self._lease
        with self._database.begin() as conn:
            lease = leases.take(conn, self._carrier.name, self._holder)
            if lease is not None and lease != self._lease:
                self._progress = outbox.progress(conn, self._carrier.name)
                self._looked_at = float("-inf")
                log.info("relay carries", carrier=self._carrier.name, position=self._progress.position)
        self._lease, self._renewed_at = lease, time.monotonic()
        return lease

    def _look(self, lease: Lease) -> None:
        """Ask the bus now and then whether it still has what it had; go back to what it has lost."""
        if time.monotonic() - self._looked_at < LOOK_S:
            return
        back = self._carrier.resume(self._progress)
        if back is not None:
            with self._database.begin() as conn:
                outbox.note(conn, lease, back)
            self._progress = back
        self._looked_at = time.monotonic()

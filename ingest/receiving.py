"""Takes in what shop and CRM tell by a bus, and has it applied."""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

import structlog
from opentelemetry.trace import Span, SpanKind
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError

from ingest.loops import Every
from mes.clock import utc_now
from mes.events import applying, inbox, incoming
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.receiver import Message, Receiver
from mes.events.inbox import Key, Rejected
from mes.events.incoming import Incoming, UnreadableEvent
from mes.observability import metrics, traces

_REFUSED = "The database does not take what it says."
_WAKE_EVERY = timedelta(seconds=0.5)

log = structlog.get_logger(__name__)


class Receive:
    """Keeps what one bus brings of one sender; what is kept is acknowledged, after the commit."""

    def __init__(self, database: Engine, receiver: Receiver) -> None:
        self._database, self._receiver = database, receiver

    def step(self) -> bool:
        """Take in the next messages; gives whether there were any.

        Raises:
            BusUnavailable: they come again.
        """
        messages = self._receiver.receive()
        if not messages:
            return False
        try:
            with self._span(messages):
                keep(self._database, self._receiver, messages)
        except BaseException:
            self._receiver.give_back(messages)
            raise
        self._receiver.acknowledge(messages)
        return True

    def _span(self, messages: Sequence[Message]) -> AbstractContextManager[Span]:
        what: dict[str, str | int] = {
            "messaging.system": self._receiver.name,
            "messaging.operation.type": "receive",
            "messaging.batch.message_count": len(messages),
        }
        causes = [traces.of_message(message.headers) for message in messages]
        name = f"receive {self._receiver.sender}"
        return traces.span(name, kind=SpanKind.CONSUMER, causes=causes, attributes=what, foreign=True)


class Apply:
    """Applies what is due, and asks the buses again for what is missing."""

    def __init__(self, database: Engine, receivers: Sequence[Receiver]) -> None:
        self._database, self._receivers = database, receivers
        self._waking = Every(_WAKE_EVERY, lambda _now: self._wake())

    def step(self) -> bool:
        """Look at one batch of orders; gives whether there may be more."""
        self._waking()
        with self._database.begin() as conn:
            looked = applying.look(conn)
        if looked.applied:
            metrics.observe_applied(looked.applied)
            log.info("events applied", events=looked.applied, orders=looked.orders)
        for key in looked.gaps:
            if not self._ask_again(key):
                break  # a bus is away; the others are asked about when their turn comes again
        return looked.orders >= applying.BATCH

    def _wake(self) -> None:
        with self._database.begin() as conn:
            inbox.wake(conn)

    def _ask_again(self, key: Key) -> bool:
        """Ask every bus of the sender; gives whether all could be asked."""
        for receiver in self._receivers:
            if receiver.sender != key.sender:
                continue
            try:
                found = keep(self._database, receiver, receiver.ask_again(key))
            except BusUnavailable as error:
                log.warning("a missing event cannot be asked for", external_id=key.external_id, error=str(error))
                return False
            log.warning("asked again for a missing event", external_id=key.external_id, found=found)
        return True


def keep(database: Engine, receiver: Receiver, messages: Sequence[Message]) -> int:
    """Keep what is new of these, and set aside what nobody can read; gives how many were new."""
    events: list[Incoming] = []
    rejected: list[Rejected] = []
    for message in messages:
        try:
            event = incoming.read(receiver.sender, message.body, message.headers, now=utc_now(), bare=receiver.bare)
            events.append(event)
        except UnreadableEvent as error:
            log.warning("unreadable message set aside", sender=receiver.sender, reason=error.message)
            rejected.append(Rejected(receiver.sender, message.subject, message.body, error.message))
    with database.begin() as conn:
        new, refused = _accept(conn, events, receiver.name)
        rejected += [
            Rejected(each.sender, f"{each.source} {each.external_id}", json.dumps(each.event).encode(), _REFUSED)
            for each in refused
        ]
        for each in rejected:
            inbox.reject(conn, each, receiver.name)
    metrics.observe_received(receiver.sender, receiver.name, new, len(events) - new, len(rejected))
    return new


def _accept(conn: Connection, events: Sequence[Incoming], carrier: str) -> tuple[int, Sequence[Incoming]]:
    """How many were new, and those that the database refuses: one such message must not keep the others out."""
    try:
        with conn.begin_nested():
            return inbox.accept(conn, events, carrier), ()
    except DataError:
        if len(events) == 1:
            return 0, events
    new, refused = 0, list[Incoming]()
    for event in events:
        added, bad = _accept(conn, [event], carrier)
        new += added
        refused += bad
    return new, refused

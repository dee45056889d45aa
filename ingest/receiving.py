"""Takes in what shop and CRM tell by a bus, and has it applied."""

from collections.abc import Sequence
from datetime import timedelta

import structlog
from sqlalchemy import Engine

from ingest.loops import Every
from mes.clock import utc_now
from mes.events import applying, inbox, incoming
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.receiver import Message, Receiver
from mes.events.inbox import Key, Rejected
from mes.events.incoming import Incoming, UnreadableEvent
from mes.observability import metrics

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
        keep(self._database, self._receiver, messages)
        self._receiver.acknowledge(messages)
        return True


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
            self._ask_again(key)
        return looked.orders >= applying.BATCH

    def _wake(self) -> None:
        with self._database.begin() as conn:
            inbox.wake(conn)

    def _ask_again(self, key: Key) -> None:
        for receiver in self._receivers:
            if receiver.sender != key.sender:
                continue
            try:
                found = keep(self._database, receiver, receiver.ask_again(key))
            except BusUnavailable as error:
                log.warning("a missing event cannot be asked for", external_id=key.external_id, error=str(error))
            else:
                log.warning("asked again for a missing event", external_id=key.external_id, found=found)


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
        new = inbox.accept(conn, events, receiver.name)
        for each in rejected:
            inbox.reject(conn, each, receiver.name)
    metrics.observe_received(receiver.sender, receiver.name, new, len(events) - new, len(rejected))
    return new

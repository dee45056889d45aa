"""Publishes events to NATS JetStream, each once and an order's in sequence, whoever crashed or woke up too late.

Each publish says which message must be the last one on the order's subject (`Nats-Expected-Last-Subject-Sequence`):
what was published before, by us or by a relay that took over, is refused by the server, found there, and counted as
done.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from uuid import UUID

import structlog
from nats.js.api import Header, StreamInfo
from nats.js.client import JetStreamContext
from nats.js.errors import BadRequestError, NotFoundError

from mes.events import fitting, subjects
from mes.events.carriers import nats_connection
from mes.events.carriers.nats_connection import OUT_STREAM, STREAMS, NatsConnection
from mes.events.outbox import BATCH, Progress, Told
from mes.observability import metrics, traces

NAME = "jetstream"
CONTENT_TYPE = "application/cloudevents+json"
SEQUENCE, POSITION = "Mes-Sequence", "Mes-Position"
"""Our headers: the order's version, and the event's position among all."""

# more orders at the same time than this gain nothing: the server writes one after another
_ORDERS_AT_ONCE = 128
_REMEMBERED = 100_000  # orders whose last message we know; of others the server is asked
_WRONG_LAST_SEQUENCE = {10071, 10164}  # "wrong last sequence", with and without a number

log = structlog.get_logger(__name__)


class JetStream:
    """The stream `MES`, which holds all events for as long as it is set up to."""

    name = NAME

    def __init__(self, url: str, *, kept: timedelta) -> None:
        self._bus = NatsConnection(url, "mes-relay")
        self._kept = kept
        self._last: OrderedDict[UUID, int] = OrderedDict()
        self._progress = Progress(0)

    def resume(self, progress: Progress) -> Progress | None:
        """Look at the stream, and make it if it is missing; says where to go on when it lost what it had.

        A stream that was made anew must be filled again. Of one that was cut short, what came after its last message is
        missing: that is of the last message's batch or a later one, and of each batch all was there before the next.

        Raises:
            BusUnavailable: it cannot be asked.
        """
        info = self._bus.run(lambda js: nats_connection.ensure_stream(js, STREAMS[0], kept=self._kept), anew=True)
        stream, last = nats_connection.made(info), info.state.last_seq
        metrics.observe_stream(NAME, info.state.messages, info.state.bytes)
        self._progress = Progress(progress.position, stream, last)
        if progress.stream is None or (stream == progress.stream and last >= progress.stream_sequence):
            return None
        self._last.clear()
        again = 0 if stream != progress.stream else self._position_of_last(info)
        back = Progress(min(progress.position, max(0, again - BATCH)), stream, last)
        log.warning("the bus has lost events; they are published again", carrier=NAME, from_position=back.position)
        return back

    def carry(self, events: Sequence[Told]) -> Progress:
        """Publish a batch: orders at the same time, each order's events one after another.

        Raises:
            BusUnavailable: not all were taken.
        """
        highest = self._bus.run(lambda js: self._publish_all(js, events))
        sequence = max(highest, self._progress.stream_sequence)
        self._progress = Progress(events[-1].position, self._progress.stream, sequence)
        return self._progress

    def close(self) -> None:
        """Leave the bus."""
        self._bus.close()

    def _position_of_last(self, info: StreamInfo) -> int:
        if not info.state.messages:
            return 0
        last = self._bus.run(lambda js: js.get_msg(OUT_STREAM, seq=info.state.last_seq))
        return int((last.headers or {}).get(POSITION, 0))

    async def _publish_all(self, js: JetStreamContext, events: Sequence[Told]) -> int:
        turns = asyncio.Semaphore(_ORDERS_AT_ONCE)

        async def publish_order(of_order: list[Told]) -> int:
            async with turns:
                return max([await self._publish(js, event) for event in of_order])

        by_order = sorted(events, key=lambda event: (event.order_id, event.position))
        chains = [list(chain) for _, chain in groupby(by_order, key=lambda event: event.order_id)]
        done = await asyncio.gather(*map(publish_order, chains), return_exceptions=True)
        for outcome in done:
            if isinstance(outcome, BaseException):
                raise outcome
        return max((sequence for sequence in done if isinstance(sequence, int)), default=0)

    async def _publish(self, js: JetStreamContext, event: Told) -> int:
        """Publish one event unless it is there; gives its stream sequence, or that of the one that came after it."""
        subject = subjects.of_order(event.order_id)
        expected = self._last.get(event.order_id)
        if expected is None:
            # of a new order there is nothing to ask for
            expected, passed = (0, False) if event.sequence == 1 else await self._look(js, subject, event)
            if passed:
                return self._remember(event, expected)
        while True:
            headers = {
                "Content-Type": CONTENT_TYPE,
                Header.MSG_ID: str(event.event["id"]),
                Header.EXPECTED_LAST_SUBJECT_SEQUENCE: str(expected),
                SEQUENCE: str(event.sequence),
                POSITION: str(event.position),
            } | traces.headers_if_sampled(event.event)
            body = fitting.encoded(event.event, self._bus.most_bytes)
            try:
                ack = await js.publish(subject, body, stream=OUT_STREAM, headers=headers)
            except BadRequestError as error:
                if error.err_code not in _WRONG_LAST_SEQUENCE:
                    raise
                expected, passed = await self._look(js, subject, event)
                if passed:
                    return self._remember(event, expected)
                continue
            return self._remember(event, ack.seq)

    async def _look(self, js: JetStreamContext, subject: str, event: Told) -> tuple[int, bool]:
        """The stream sequence of the subject's last message, and whether that is the event or a later one.

        A snapshot has the sequence of the event before it, so of two with the same one the position decides.
        """
        try:
            last = await js.get_last_msg(OUT_STREAM, subject, direct=True)
        except NotFoundError:
            return 0, False
        headers = last.headers or {}
        there = int(headers.get(SEQUENCE, 0)), int(headers.get(POSITION, 0))
        return last.seq or 0, there >= (event.sequence, event.position)

    def _remember(self, event: Told, stream_sequence: int) -> int:
        self._last[event.order_id] = stream_sequence
        self._last.move_to_end(event.order_id)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return stream_sequence

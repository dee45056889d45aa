"""Receives what shop and CRM publish to NATS JetStream, by a durable consumer that any number of workers share."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext

from mes.events import subjects
from mes.events.carriers import nats_connection
from mes.events.carriers.carrier import BusUnavailable
from mes.events.carriers.nats_connection import STREAMS, NatsConnection
from mes.events.carriers.receiver import Message
from mes.events.inbox import Key
from mes.observability import metrics

NAME = "jetstream"
CONSUMER = "mes-inbox"
_AT_ONCE = 200
_WAIT_S = 0.2
_UNDER_WAY = 1_000
_AGAIN_AFTER_S, _AGAIN_SOON_S = 30, 1
_OF_ONE_ORDER = 10_000
_LISTEN_S = 1.0


class JetStreamReceiver:
    """One sender's stream."""

    name = NAME
    bare = False

    def __init__(self, url: str, sender: str, *, kept: timedelta) -> None:
        self.sender = sender
        self._plan = next(plan for plan in STREAMS if plan.name == sender.upper())
        self._kept = kept
        self._bus = NatsConnection(url, f"mes-inbox-{sender}")
        self._reading: tuple[int, JetStreamContext.PullSubscription] | None = None

    def receive(self) -> Sequence[Message]:
        """The next messages, in the order of the stream apart from those that come again."""
        return [
            Message(message.subject, message.data, message.headers or {}, message)
            for message in self._bus.run(self._fetch, anew=True)
        ]

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Let the stream go on."""

        async def acknowledge(_js: JetStreamContext) -> None:
            for message in messages:
                await message.delivery.ack()

        self._bus.run(acknowledge)

    def give_back(self, messages: Sequence[Message]) -> None:
        """Have them delivered again after a second; what cannot be said is known to the stream after half a minute."""

        async def give_back(_js: JetStreamContext) -> None:
            for message in messages:
                await message.delivery.nak(delay=_AGAIN_SOON_S)

        with suppress(BusUnavailable):
            self._bus.run(give_back)

    def ask_again(self, key: Key) -> Sequence[Message]:
        """All that the stream has on the order's subject."""
        subject = subjects.incoming(key.sender, key.source, key.external_id)

        async def read(js: JetStreamContext) -> list[Message]:
            reading = await js.subscribe(subject, stream=self._plan.name, ordered_consumer=True)
            found: list[Message] = []
            try:
                while len(found) < _OF_ONE_ORDER:
                    message = await reading.next_msg(timeout=_LISTEN_S)
                    found.append(Message(message.subject, message.data, message.headers or {}))
                    if message.metadata.num_pending == 0:
                        break
            except TimeoutError:  # nothing came
                pass
            finally:
                await reading.unsubscribe()
            return found

        return self._bus.run(read, anew=True)

    def close(self) -> None:
        """Leave the bus."""
        self._bus.close()

    async def _fetch(self, js: JetStreamContext) -> list[Msg]:
        reading = await self._subscribed(js)
        try:
            messages = await reading.fetch(_AT_ONCE, timeout=_WAIT_S)
        except TimeoutError:  # nothing came
            messages = []
        metrics.observe_pending(NAME, self.sender, messages[-1].metadata.num_pending if messages else 0)
        return messages

    async def _subscribed(self, js: JetStreamContext) -> JetStreamContext.PullSubscription:
        if self._reading is None or self._reading[0] != self._bus.generation:
            await nats_connection.ensure_stream(js, self._plan, kept=self._kept)
            config = ConsumerConfig(
                durable_name=CONSUMER,
                deliver_policy=DeliverPolicy.ALL,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=_AGAIN_AFTER_S,
                max_deliver=-1,  # a message that is given up silently would be lost: orders are parked by us
                max_ack_pending=_UNDER_WAY,
            )
            await js.add_consumer(self._plan.name, config)
            reading = await js.pull_subscribe_bind(consumer=CONSUMER, stream=self._plan.name)
            self._reading = self._bus.generation, reading
        return self._reading[1]

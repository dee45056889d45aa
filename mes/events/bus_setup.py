"""Sets up the bus as the contract has it, and tells how it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from nats.js.client import JetStreamContext
from nats.js.errors import NotFoundError

from mes.events.carriers import nats_connection
from mes.events.carriers.nats_connection import STREAMS, NatsConnection


@dataclass(frozen=True)
class StreamReport:
    """A stream as it stands; `made` is false when it is missing."""

    name: str
    subjects: tuple[str, ...]
    made: bool
    messages: int = 0
    bytes: int = 0
    kept_days: float = 0.0
    replicas: int = 0


def init(url: str, *, kept: timedelta, replicas: int = 1) -> Sequence[StreamReport]:
    """Make the streams, or set those that are there to what is asked for; what they hold stays.

    Raises:
        BusUnavailable: NATS is away, or has no JetStream, or refuses.
    """

    async def make(js: JetStreamContext) -> None:
        for plan in STREAMS:
            await nats_connection.ensure_stream(js, plan, kept=kept, replicas=replicas, renew=True)

    bus = NatsConnection(url, "mes-bus-init")
    try:
        bus.run(make, anew=True)
        return bus.run(_look)
    finally:
        bus.close()


def status(url: str) -> Sequence[StreamReport]:
    """How the streams stand.

    Raises:
        BusUnavailable: NATS is away, or has no JetStream.
    """
    bus = NatsConnection(url, "mes-bus-status")
    try:
        return bus.run(_look, anew=True)
    finally:
        bus.close()


async def _look(js: JetStreamContext) -> Sequence[StreamReport]:
    found = []
    for plan in STREAMS:
        try:
            info = await js.stream_info(plan.name)
        except NotFoundError:
            found.append(StreamReport(plan.name, plan.subjects, made=False))
            continue
        found.append(
            StreamReport(
                plan.name,
                tuple(info.config.subjects or ()),
                made=True,
                messages=info.state.messages,
                bytes=info.state.bytes,
                kept_days=(info.config.max_age or 0.0) / 86_400,
                replicas=info.config.num_replicas or 1,
            )
        )
    return found

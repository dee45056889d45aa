"""Chooses the buses that this installation tells of its events, and those on which it is told."""

from datetime import timedelta

from mes.config import Settings
from mes.events import subjects
from mes.events.carriers.carrier import Carrier
from mes.events.carriers.jetstream import JetStream
from mes.events.carriers.jetstream_receiver import JetStreamReceiver
from mes.events.carriers.receiver import Receiver


def carriers(settings: Settings) -> list[Carrier]:
    """Those that events are published to; none is well, too: the feed of events needs no bus."""
    kept = timedelta(days=settings.bus_kept_days)
    return [JetStream(settings.nats_url, kept=kept)] if settings.nats_url is not None else []


def receivers(settings: Settings) -> list[Receiver]:
    """One for each sender and bus."""
    kept = timedelta(days=settings.bus_kept_days)
    if settings.nats_url is None:
        return []
    return [JetStreamReceiver(settings.nats_url, sender, kept=kept) for sender in subjects.SENDERS]

"""Chooses the buses that this installation publishes to."""

from datetime import timedelta

from mes.config import Settings
from mes.events.carriers.carrier import Carrier
from mes.events.carriers.jetstream import JetStream


def carriers(settings: Settings) -> list[Carrier]:
    """Those that are configured; none is well, too: the feed of events needs no bus."""
    kept = timedelta(days=settings.bus_kept_days)
    return [JetStream(settings.nats_url, kept=kept)] if settings.nats_url is not None else []

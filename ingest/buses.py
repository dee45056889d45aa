"""Chooses the buses that this installation tells of its events, and those on which it is told."""

from datetime import timedelta

from mes.config import Settings
from mes.events import subjects
from mes.events.carriers.carrier import Carrier
from mes.events.carriers.jetstream import JetStream
from mes.events.carriers.jetstream_receiver import JetStreamReceiver
from mes.events.carriers.rabbitmq import RabbitPublisher, RabbitReceiver
from mes.events.carriers.receiver import Receiver


def carriers(settings: Settings) -> list[Carrier]:
    """Those that events are published to; none is well, too: the feed of events needs no bus."""
    found: list[Carrier] = []
    if settings.nats_url is not None:
        found.append(JetStream(settings.nats_url, kept=timedelta(days=settings.bus_kept_days)))
    if settings.rabbitmq_url is not None:
        found.append(RabbitPublisher(settings.rabbitmq_url, settings.rabbitmq_exchange))
    return found


def receivers(settings: Settings) -> list[Receiver]:
    """One for each sender and bus."""
    found: list[Receiver] = []
    queues = {"shop": settings.rabbitmq_shop_queue, "crm": settings.rabbitmq_crm_queue}
    for sender in subjects.SENDERS:
        if settings.nats_url is not None:
            kept = timedelta(days=settings.bus_kept_days)
            found.append(JetStreamReceiver(settings.nats_url, sender, kept=kept))
        if settings.rabbitmq_url is not None:
            found.append(RabbitReceiver(settings.rabbitmq_url, sender, queues[sender]))
    return found

"""Hands events on to webhooks: as a carrier, so that the relay sees to it that none is left out."""

from collections.abc import Sequence

from sqlalchemy import Engine

from mes.events.outbox import Progress, Told
from mes.events.webhooks import deliveries

NAME = "webhooks"


class WebhookFanout:
    """Notes for each endpoint what it is to be told of; what was noted before is not noted again."""

    name = NAME

    def __init__(self, database: Engine) -> None:
        self._database = database

    def resume(self, progress: Progress) -> Progress | None:  # noqa: ARG002 - the database loses nothing
        """Nothing to look at."""
        return None

    def carry(self, events: Sequence[Told]) -> Progress:
        """Note a batch."""
        first, last = events[0].position, events[-1].position
        with self._database.begin() as conn:
            deliveries.add(conn, first - 1, last)
        return Progress(last)

    def close(self) -> None:
        """Nothing to leave."""

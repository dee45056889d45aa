"""What the relay asks of a bus, whichever it is."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from mes.errors import MesError
from mes.events.outbox import Progress, Told


class BusUnavailable(MesError):
    """The bus cannot be reached, or does not say that it has taken what was sent. Nothing is lost: it is sent again."""

    code: ClassVar[str] = "bus_unavailable"
    http_status: ClassVar[int] = 503


class Carrier(Protocol):
    """A bus that events are published to.

    Whoever publishes calls `resume` first, then `carry` with one batch after the other; an order's events go one after
    another, those of several orders at the same time. What is published again does no harm.
    """

    name: str

    def resume(self, progress: Progress) -> Progress | None:
        """Look whether the bus still has what it had; where to go on from when it has not, None when all is well.

        Raises:
            BusUnavailable: it cannot be asked.
        """

    def carry(self, events: Sequence[Told]) -> Progress:
        """Publish the events, and wait until the bus has them; gives how far it has got.

        Raises:
            BusUnavailable: not all were taken; publish all of them again.
        """

    def close(self) -> None:
        """Leave the bus."""

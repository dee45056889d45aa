"""What is asked of a bus that brings the events of others, whichever it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mes.events.inbox import Key


@dataclass(frozen=True)
class Message:
    """What came, and what the bus wants back to know that it has arrived."""

    subject: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Any = None


class Receiver(Protocol):
    """A bus on which one sender tells us.

    What was received and not acknowledged comes again. At most a few hundred messages are under way at a time, so that
    a sender in a hurry fills the bus, and not us.
    """

    name: str
    sender: str
    bare: bool
    """Whether messages may come without the envelope of a CloudEvent."""

    def receive(self) -> Sequence[Message]:
        """The next messages; none after a short wait in which none came.

        Raises:
            BusUnavailable: try again.
        """

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Say that these are kept.

        Raises:
            BusUnavailable: they come again, which does no harm.
        """

    def give_back(self, messages: Sequence[Message]) -> None:
        """Say that these could not be kept: they come again, soon. Never raises."""

    def ask_again(self, key: Key) -> Sequence[Message]:
        """All that the bus still has of an order; nothing where a bus keeps no history.

        Raises:
            BusUnavailable: try again.
        """

    def close(self) -> None:
        """Leave the bus."""

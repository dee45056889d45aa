"""What a gauge that is asked of the database consists of: its name, its labels, the question that answers it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

# beyond it a backlog is long, however long; counting on would cost what the workers need
COUNTED = 100_000

Labels = tuple[str, ...]
Samples = Sequence[tuple[str, Labels, float]]


@dataclass(frozen=True)
class Gauge:
    """A gauge as Prometheus knows it."""

    name: str
    meaning: str
    labels: Labels = ()


@dataclass(frozen=True)
class Group:
    """Gauges that one question answers; `ask` gives samples as (gauge, label values, value)."""

    name: str
    gauges: tuple[Gauge, ...]
    ask: Callable[[Connection], Samples]


def age(seconds: object) -> float:
    """None, where nothing waits, is 0; so is an age below it, when the transaction's clock was ahead."""
    return max(float(str(seconds)), 0.0) if seconds is not None else 0.0

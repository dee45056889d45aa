"""Tells the time, handed in wherever time matters so that tests can choose it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The time now, with its zone (UTC)."""
    return datetime.now(UTC)

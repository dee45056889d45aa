"""Hands out the feed of all events that a caller may see, for those who have no bus."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from mes.callers.model import Caller


@dataclass(frozen=True)
class FeedPage:
    """CloudEvents by position, and the position to go on after."""

    events: Sequence[Mapping[str, Any]]
    position: int


# a position is given after the commit: none can appear before one that was read
_ALL = text("""
    select position, event from ops.outbox where position > :after order by position limit :limit
""")
_OWN = text("""
    select position, event from ops.outbox
    where (event #>> '{data,order,source}') = :caller and position > :after order by position limit :limit
""")


def page(conn: Connection, caller: Caller, *, after: int, limit: int) -> FeedPage:
    """The next events that the caller may see, at most `limit`; an order's are in its sequence."""
    values = {"caller": caller.name, "after": after, "limit": limit}
    rows = conn.execute(_ALL if caller.sees_all else _OWN, values).all()
    return FeedPage([row.event for row in rows], rows[-1].position if rows else after)

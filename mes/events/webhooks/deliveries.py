"""Keeps what has to be told to which endpoint: an order's events one after another, tried again for three days."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

import structlog
from sqlalchemy import Connection, text

from mes.errors import MesError

# what Standard Webhooks recommends: three days in all
RETRIES = tuple(
    timedelta(seconds=seconds) for seconds in (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
KEPT = timedelta(days=30)
"""How long the log of deliveries is kept."""

_JITTER = 0.1  # endpoints that failed together should not be called together again
_LONGEST_ASKED = timedelta(hours=1)  # of a receiver's Retry-After
_CLAIM = timedelta(seconds=30)  # a call takes 15 s at most; a dead worker's are made again so soon
_GONE = 410
# whoever's keys are all revoked is told nothing any more
_IN_USE = "keys.revoked_at is null and (keys.expires_at is null or keys.expires_at > now())"

log = structlog.get_logger(__name__)


class NoSuchDelivery(MesError):
    """This webhook has no delivery with this id."""

    code: ClassVar[str] = "no_such_delivery"
    http_status: ClassVar[int] = 404


@dataclass(frozen=True)
class Call:
    """A delivery that is to be tried now, by whoever has claimed it at `claimed_at`."""

    delivery_id: int
    endpoint_id: UUID
    url: str
    secrets: Sequence[dict[str, str | None]]
    event: Mapping[str, Any]
    attempts: int
    claimed_at: datetime


@dataclass(frozen=True)
class Outcome:
    """What came of a call."""

    status: int | None
    error: str | None
    duration_ms: float
    retry_after: str | None = None

    @property
    def accepted(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.status is not None and 200 <= self.status < 300  # noqa: PLR2004  HTTP


def add(conn: Connection, after: int, up_to: int) -> int:
    """Note for each endpoint the events of these positions that it is to be told of; gives how many were new.

    Of an order whose earlier event still waits, the next one waits for that.
    """
    added = conn.execute(
        text(f"""
            with told as (
                select position, order_id, sequence, event ->> 'type' as type,
                    event #>> '{{data,order,source}}' as source
                from ops.outbox where position > :after and position <= :up_to
            )
            insert into ops.webhook_deliveries (endpoint_id, position, order_id, sequence, event_type, next_at)
            select
                endpoints.endpoint_id, told.position, told.order_id, told.sequence, told.type,
                case when row_number() over first_of_order = 1 and not exists (
                    select from ops.webhook_deliveries as earlier
                    where earlier.endpoint_id = endpoints.endpoint_id and earlier.order_id = told.order_id
                        and earlier.state = 'waiting'
                ) then now() else 'infinity' end
            from told inner join ops.webhook_endpoints as endpoints
                on endpoints.disabled_at is null and endpoints.deleted_at is null
                and endpoints.from_position < told.position
                and (endpoints.sees_all or endpoints.caller = told.source)
                and (endpoints.event_types is null or told.type = any(endpoints.event_types))
            where exists (select from ops.api_keys as keys where keys.caller = endpoints.caller and {_IN_USE})
            window first_of_order as (
                partition by endpoints.endpoint_id, told.order_id order by told.position
            )
            order by told.position
            on conflict (endpoint_id, position) do nothing
        """),
        {"after": after, "up_to": up_to},
    )
    return added.rowcount


def claim(conn: Connection, busy: Mapping[UUID, int], *, most: int) -> Sequence[Call]:
    """Take deliveries that are due, so that nobody else does; at most `most` of each endpoint.

    When they are due, and for how long they are claimed, is a matter of the database's clock: workers' may be wrong.

    Args:
        conn: a transaction.
        busy: calls that this worker has in hand, by endpoint; a slow one gets no more than its share.
        most: calls of one endpoint at a time.
    """
    rows = conn.execute(
        text(f"""
            with busy as (
                select * from unnest(cast(:busy_ids as uuid[]), cast(:busy_calls as integer[]))
                    as busy(endpoint_id, calls)
            ), due as (
                select first.delivery_id
                from ops.webhook_endpoints as endpoints
                left join busy using (endpoint_id)
                cross join lateral (
                    select delivery_id from ops.webhook_deliveries as deliveries
                    where deliveries.endpoint_id = endpoints.endpoint_id and state = 'waiting' and next_at <= now()
                        and (claimed_until is null or claimed_until < now())
                    order by next_at limit greatest(:most - coalesce(busy.calls, 0), 0)
                    for update skip locked
                ) as first
                where endpoints.disabled_at is null and endpoints.deleted_at is null
                    and exists (select from ops.api_keys as keys where keys.caller = endpoints.caller and {_IN_USE})
            )
            update ops.webhook_deliveries as mine set claimed_until = now() + :claim
            from due, ops.webhook_endpoints as endpoints, ops.outbox
            where mine.delivery_id = due.delivery_id and endpoints.endpoint_id = mine.endpoint_id
                and outbox.position = mine.position
            returning mine.delivery_id, mine.endpoint_id, endpoints.url, endpoints.secrets, outbox.event, mine.attempts,
                now() as claimed_at
        """),
        {"busy_ids": list(busy), "busy_calls": list(busy.values()), "most": most, "claim": _CLAIM},
    )
    return [Call(**row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping


def finish(conn: Connection, call: Call, outcome: Outcome) -> None:
    """Note what came of a call: it is done, tried again later, or given up after three days; 410 ends the endpoint.

    Once it is done or given up, the order's next event has its turn.
    """
    pause = None if outcome.accepted else _pause(call.attempts, outcome)
    ended = outcome.accepted or pause is None
    done = conn.execute(
        text("""
            update ops.webhook_deliveries set
                state = cast(:state as text), attempts = attempts + 1, claimed_until = null,
                next_at = coalesce(now() + cast(:pause as interval), next_at),
                finished_at = case when :ended then now() end
            where delivery_id = :delivery_id and state = 'waiting'
            returning endpoint_id, order_id
        """),
        {
            "delivery_id": call.delivery_id,
            "state": "delivered" if outcome.accepted else "failed" if ended else "waiting",
            "pause": pause,
            "ended": ended,
        },
    ).one_or_none()
    if done is None:  # its endpoint is gone, or another worker was quicker
        return
    conn.execute(_NOTE_ATTEMPT, {"delivery_id": call.delivery_id, **_came(outcome)})
    if outcome.status == _GONE:
        _disable(conn, call.endpoint_id, "the receiver answered 410 Gone")
    if ended:
        conn.execute(_NEXT_OF_ORDER, {"endpoint_id": done.endpoint_id, "order_id": done.order_id})


def release(conn: Connection, delivery_ids: Sequence[int]) -> None:
    """Give back what was claimed and not tried."""
    conn.execute(
        text("update ops.webhook_deliveries set claimed_until = null where delivery_id = any(:ids)"),
        {"ids": list(delivery_ids)},
    )


def sweep(conn: Connection) -> int:
    """Give a turn to events that nobody gave one: their predecessor ended in the moment in which they were noted."""
    return conn.execute(
        text("""
            update ops.webhook_deliveries as stuck set next_at = now()
            where state = 'waiting' and next_at = 'infinity' and not exists (
                select from ops.webhook_deliveries as earlier
                where earlier.endpoint_id = stuck.endpoint_id and earlier.order_id = stuck.order_id
                    and earlier.state = 'waiting' and earlier.position < stuck.position
            )
        """)
    ).rowcount


def purge(conn: Connection, now: datetime, limit: int = 10_000) -> int:
    """Forget deliveries that ended long ago, and endpoints that were deleted, at most `limit` rows; gives how many."""
    conn.execute(
        text("""
            delete from ops.webhook_deliveries where delivery_id in (
                select delivery_id from ops.webhook_deliveries as deliveries
                inner join ops.webhook_endpoints as endpoints using (endpoint_id)
                where endpoints.deleted_at is not null limit :limit for update of deliveries skip locked
            )
        """),
        {"limit": limit},
    )
    conn.execute(
        text("""
            delete from ops.webhook_endpoints as endpoints where deleted_at is not null and not exists (
                select from ops.webhook_deliveries as deliveries
                where deliveries.endpoint_id = endpoints.endpoint_id
            )
        """)
    )
    return conn.execute(
        text("""
            delete from ops.webhook_deliveries where delivery_id in (
                select delivery_id from ops.webhook_deliveries
                where finished_at < :before order by finished_at limit :limit for update skip locked
            )
        """),
        {"before": now - KEPT, "limit": limit},
    ).rowcount


def send_again(conn: Connection, delivery_id: int) -> None:
    """Try a delivery again at once, whoever it is for; a disabled webhook stays so until its owner enables it.

    Raises:
        NoSuchDelivery: there is none with this id.
    """
    if conn.execute(_AGAIN, {"delivery_id": delivery_id}).one_or_none() is None:
        raise NoSuchDelivery(delivery_id=delivery_id)


_AGAIN = text("""
    update ops.webhook_deliveries set
        state = 'waiting', next_at = now(), finished_at = null, claimed_until = null,
        attempts = case when state = 'waiting' then attempts else 0 end
    where delivery_id = :delivery_id
    returning delivery_id
""")
_NEXT_OF_ORDER = text("""
    update ops.webhook_deliveries set next_at = now() where delivery_id = (
        select delivery_id from ops.webhook_deliveries
        where endpoint_id = :endpoint_id and order_id = :order_id and state = 'waiting'
        order by position limit 1
    ) and next_at = 'infinity'
""")


_NOTE_ATTEMPT = text("""
    insert into ops.webhook_attempts (delivery_id, status, error, duration_ms)
    values (:delivery_id, :status, :error, :duration_ms)
""")


def _came(outcome: Outcome) -> dict[str, object]:
    return {"status": outcome.status, "error": outcome.error, "duration_ms": outcome.duration_ms}


def _pause(attempts: int, outcome: Outcome) -> timedelta | None:
    """After how long a failed call is tried again; None when it is given up."""
    if attempts >= len(RETRIES):
        return None
    pause = RETRIES[attempts] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - spreads calls, keeps no secret
    asked = outcome.retry_after
    if asked is not None and asked.isdecimal():
        pause = max(pause, min(timedelta(seconds=int(asked[:9])), _LONGEST_ASKED))
    return pause


def _disable(conn: Connection, endpoint_id: UUID, reason: str) -> None:
    log.warning("webhook disabled", webhook_id=str(endpoint_id), reason=reason)
    conn.execute(
        text("""
            update ops.webhook_endpoints set disabled_at = now(), disabled_reason = :reason
            where endpoint_id = :id and disabled_at is null
        """),
        {"id": endpoint_id, "reason": reason},
    )

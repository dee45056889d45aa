"""Shows what endpoints were told, what came of it, and what is in trouble; and has a call made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from mes.callers.model import Caller
from mes.events.webhooks import deliveries, endpoints
from mes.events.webhooks.deliveries import NoSuchDelivery

MOST_WAITING = 1_000
"""Up to which it is counted what waits for a webhook."""


@dataclass(frozen=True)
class Delivery:
    """A delivery as its owner sees it; `last_*` are of the last attempt."""

    delivery_id: int
    order_id: UUID
    sequence: int
    event_type: str
    state: str
    attempts: int
    next_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None
    last_duration_ms: float | None


@dataclass(frozen=True)
class Trouble:
    """A delivery that failed so far, or for good, as the workshop sees it."""

    delivery_id: int
    caller: str
    url: str
    order_id: UUID
    event_type: str
    state: str
    attempts: int
    last_status: int | None
    last_error: str | None
    disabled_reason: str | None
    created_at: datetime


@dataclass(frozen=True)
class Webhook:
    """An endpoint as the workshop sees it; `waiting` counts what it is still to be told, up to `MOST_WAITING`."""

    endpoint_id: UUID
    caller: str
    url: str
    disabled_reason: str | None
    waiting: int


def page(
    conn: Connection, caller: Caller, endpoint_id: UUID, *, state: str | None, before: int | None, limit: int
) -> Sequence[Delivery]:
    """A caller's own endpoint's deliveries, the newest first; `before` is the id of the last one seen.

    Raises:
        NoSuchWebhook: the caller has none with this id.
    """
    endpoints.get(conn, caller, endpoint_id)
    return of_webhook(conn, endpoint_id, state=state, before=before, limit=limit)


def of_webhook(
    conn: Connection, endpoint_id: UUID, *, state: str | None, before: int | None, limit: int
) -> Sequence[Delivery]:
    """An endpoint's deliveries, whoever it belongs to, as `page` gives them."""
    rows = conn.execute(
        text(f"""
            {_SHOWN}
            where endpoint_id = :endpoint_id and (cast(:state as text) is null or state = :state)
                and (cast(:before as bigint) is null or position < (
                    select position from ops.webhook_deliveries as last
                    where last.endpoint_id = :endpoint_id and last.delivery_id = :before
                ))
            order by position desc limit :limit
        """),
        {"endpoint_id": endpoint_id, "state": state, "before": before, "limit": limit},
    )
    return [_delivery(dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def redeliver(conn: Connection, caller: Caller, endpoint_id: UUID, delivery_id: int) -> Delivery:
    """Try a delivery again at once, whatever became of it; the receiver knows an event that it has by its id.

    Raises:
        NoSuchWebhook, NoSuchDelivery: the caller has none with this id.
    """
    endpoints.get(conn, caller, endpoint_id)
    mine = conn.execute(
        text("select from ops.webhook_deliveries where delivery_id = :delivery_id and endpoint_id = :endpoint_id"),
        {"delivery_id": delivery_id, "endpoint_id": endpoint_id},
    )
    if mine.first() is None:
        raise NoSuchDelivery(delivery_id=delivery_id)
    deliveries.send_again(conn, delivery_id)
    row = conn.execute(text(f"{_SHOWN} where delivery_id = :delivery_id"), {"delivery_id": delivery_id}).one()
    return _delivery(dict(row._mapping))  # noqa: SLF001 - as above


def in_trouble(conn: Connection, limit: int = 100) -> Sequence[Trouble]:
    """Deliveries that were given up, or have failed and wait for their next attempt; the newest first."""
    rows = conn.execute(
        text("""
            select
                deliveries.delivery_id, endpoints.caller, endpoints.url, deliveries.order_id, deliveries.event_type,
                deliveries.state, deliveries.attempts, last.status as last_status, last.error as last_error,
                endpoints.disabled_reason, deliveries.created_at
            from (select * from ops.webhook_endpoints where deleted_at is null) as endpoints
            cross join lateral (
                (
                    select * from ops.webhook_deliveries as waiting
                    where waiting.endpoint_id = endpoints.endpoint_id and state = 'waiting' and attempts > 0
                    order by next_at limit :limit
                )
                union all
                (
                    select * from ops.webhook_deliveries as failed
                    where failed.endpoint_id = endpoints.endpoint_id and state = 'failed'
                    order by position desc limit :limit
                )
            ) as deliveries
            left join lateral (
                select status, error from ops.webhook_attempts as attempts
                where attempts.delivery_id = deliveries.delivery_id order by attempt_id desc limit 1
            ) as last on true
            order by deliveries.delivery_id desc limit :limit
        """),
        {"limit": limit},
    )
    return [Trouble(**row._mapping) for row in rows]  # noqa: SLF001 - as above


def webhooks(conn: Connection) -> Sequence[Webhook]:
    """All endpoints, by caller and age."""
    rows = conn.execute(
        text("""
            select endpoint_id, caller, url, disabled_reason, (
                select count(*) from (
                    select from ops.webhook_deliveries as deliveries
                    where deliveries.endpoint_id = endpoints.endpoint_id and state = 'waiting' limit :most
                ) as counted
            ) as waiting
            from ops.webhook_endpoints as endpoints where deleted_at is null order by caller, created_at, endpoint_id
        """),
        {"most": MOST_WAITING},
    )
    return [Webhook(**row._mapping) for row in rows]  # noqa: SLF001 - as above


_SHOWN = """
    select delivery_id, order_id, sequence, event_type, state, attempts, nullif(next_at, 'infinity') as next_at,
        created_at, finished_at, last.attempted_at as last_at, last.status as last_status, last.error as last_error,
        last.duration_ms as last_duration_ms
    from ops.webhook_deliveries left join lateral (
        select attempted_at, status, error, duration_ms from ops.webhook_attempts as attempts
        where attempts.delivery_id = webhook_deliveries.delivery_id order by attempt_id desc limit 1
    ) as last on true
"""


def _delivery(fields: dict[str, Any]) -> Delivery:
    return Delivery(**fields | {"next_at": fields["next_at"] if fields["state"] == "waiting" else None})

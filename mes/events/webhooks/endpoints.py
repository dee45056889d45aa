"""Keeps the addresses that callers want to be told at, and the secrets by which they know that it is us."""

import base64
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Connection, Row, text

from mes.callers.model import Caller
from mes.clock import Clock, utc_now
from mes.errors import MesError
from mes.events.webhooks import addresses

MOST_ENDPOINTS = 20
OLD_SECRET_USED = timedelta(hours=24)
"""After a change of secrets, calls are signed with the old one, too, for so long."""

_SECRET_BYTES = 32  # Standard Webhooks asks for 24 to 64
_PREFIX = "whsec_"


class NoSuchWebhook(MesError):
    """You have no webhook with this id."""

    code: ClassVar[str] = "no_such_webhook"
    http_status: ClassVar[int] = 404


class TooManyWebhooks(MesError):
    """You have as many webhooks as you may: delete one, or change its address."""

    code: ClassVar[str] = "too_many_webhooks"
    http_status: ClassVar[int] = 409


@dataclass(frozen=True)
class Endpoint:
    """An address that is told of events; disabled ones are not."""

    endpoint_id: UUID
    url: str
    event_types: tuple[str, ...] | None
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclass(frozen=True)
class NewEndpoint:
    """An endpoint, and the secret that its calls are signed with; it is shown this once."""

    endpoint: Endpoint
    secret: str


_FIELDS = "endpoint_id, url, event_types, created_at, disabled_at, disabled_reason"


def create(
    conn: Connection, caller: Caller, url: str, event_types: Sequence[str] | None, *, loopback: bool = False
) -> NewEndpoint:
    """Tell the caller at this address from now on, in the caller's transaction; of all its events, or of these types.

    Raises:
        BadWebhookUrl: it is no address that we call.
        TooManyWebhooks: the caller has twenty.
    """
    addresses.check_url(url, loopback=loopback)
    conn.execute(  # the caller's endpoints are counted by one at a time
        text("select pg_advisory_xact_lock(hashtextextended('webhooks of ' || :caller, 0))"), {"caller": caller.name}
    )
    if len(every(conn, caller)) >= MOST_ENDPOINTS:
        raise TooManyWebhooks(most=MOST_ENDPOINTS)
    secret = _new_secret()
    row = conn.execute(
        text(f"""
            insert into ops.webhook_endpoints (caller, sees_all, url, event_types, secrets, from_position)
            select :caller, :sees_all, :url, :event_types, cast(:secrets as jsonb), position
            from ops.carriers where name = 'outbox'
            returning {_FIELDS}
        """),
        {
            "caller": caller.name,
            "sees_all": caller.sees_all,
            "url": url,
            "event_types": list(dict.fromkeys(event_types)) if event_types else None,
            "secrets": json.dumps([{"secret": secret, "until": None}]),
        },
    ).one()
    return NewEndpoint(_endpoint(row), secret)


def every(conn: Connection, caller: Caller) -> Sequence[Endpoint]:
    """The caller's endpoints, oldest first."""
    rows = conn.execute(
        text(f"""
            select {_FIELDS} from ops.webhook_endpoints
            where caller = :caller and deleted_at is null order by created_at, endpoint_id
        """),
        {"caller": caller.name},
    )
    return [_endpoint(row) for row in rows]


def get(conn: Connection, caller: Caller, endpoint_id: UUID) -> Endpoint:
    """One of the caller's endpoints.

    Raises:
        NoSuchWebhook: it has none with this id.
    """
    row = conn.execute(
        text(f"""
            select {_FIELDS} from ops.webhook_endpoints
            where endpoint_id = :id and caller = :caller and deleted_at is null
        """),
        {"id": endpoint_id, "caller": caller.name},
    ).one_or_none()
    if row is None:
        raise NoSuchWebhook(webhook_id=endpoint_id)
    return _endpoint(row)


def delete(conn: Connection, caller: Caller, endpoint_id: UUID) -> None:
    """Tell an endpoint nothing any more, and forget what waits for it; a worker removes that piece by piece.

    Raises:
        NoSuchWebhook: the caller has none with this id.
    """
    get(conn, caller, endpoint_id)
    conn.execute(
        text("update ops.webhook_endpoints set deleted_at = now() where endpoint_id = :id"), {"id": endpoint_id}
    )


def change_secret(conn: Connection, caller: Caller, endpoint_id: UUID, *, clock: Clock = utc_now) -> str:
    """A new secret; for a day, calls are signed with those before as well, so that no call fails meanwhile.

    Raises:
        NoSuchWebhook: the caller has none with this id.
    """
    get(conn, caller, endpoint_id)
    secret, until = _new_secret(), clock() + OLD_SECRET_USED
    conn.execute(
        text("""
            update ops.webhook_endpoints set secrets = jsonb_build_array(
                jsonb_build_object('secret', cast(:secret as text), 'until', null),
                jsonb_build_object('secret', secrets -> 0 ->> 'secret', 'until', cast(:until as text))
            ) || coalesce((
                select jsonb_agg(older) from jsonb_path_query(secrets, '$[1 to last]') as older
                where cast(older ->> 'until' as timestamptz) > :now
            ), '[]')
            where endpoint_id = :id
        """),
        {"id": endpoint_id, "secret": secret, "until": until.isoformat(), "now": clock()},
    )
    return secret


def enable(conn: Connection, caller: Caller, endpoint_id: UUID) -> Endpoint:
    """Tell a disabled endpoint again: first what waited for it, which is tried at once; not what happened meanwhile.

    Raises:
        NoSuchWebhook: the caller has none with this id.
    """
    get(conn, caller, endpoint_id)
    conn.execute(
        text("""
            with enabled as (
                update ops.webhook_endpoints set disabled_at = null, disabled_reason = null
                where endpoint_id = :id and disabled_at is not null
                returning endpoint_id
            )
            update ops.webhook_deliveries set next_at = now()
            from enabled where webhook_deliveries.endpoint_id = enabled.endpoint_id
                and state = 'waiting' and next_at <> 'infinity'
        """),
        {"id": endpoint_id},
    )
    return get(conn, caller, endpoint_id)


def used_secrets(kept: Sequence[dict[str, str | None]], now: datetime) -> list[str]:
    """The secrets that a call is signed with now, of those that are kept."""
    return [
        str(each["secret"]) for each in kept if each["until"] is None or datetime.fromisoformat(each["until"]) > now
    ]


def _new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _endpoint(row: Row[tuple[object, ...]]) -> Endpoint:
    fields = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for the row as a mapping
    types = fields["event_types"]
    return Endpoint(**fields | {"event_types": tuple(types) if types is not None else None})

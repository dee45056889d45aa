"""Reads the filters and the cursor of `GET /v1/orders`."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from starlette.datastructures import QueryParams

from ingest.api.bodies import parse_query
from ingest.api.errors import BadCursor
from mes.callers.model import Caller
from mes.lists.caller_orders import Filter, Key
from mes.orders.life import Status
from mes.orders.new_order import LONGEST_NAME

_LONGEST_CURSOR = 500


def _written_out(value: object) -> object:
    """A date's digits alone would be read as seconds since 1970."""
    if isinstance(value, str) and "T" not in value.upper():
        raise ValueError("give date, time and zone, as in 2026-11-22T08:15:00Z (a `+` must be written as %2B)")
    return value


def _no_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold the character NUL")
    return value


class OrderQuery(BaseModel):
    """Which orders; filters can be combined."""

    model_config = ConfigDict(extra="forbid")

    status: Annotated[
        tuple[Status, ...], Field(max_length=len(Status), description="Only these statuses; give it once for each.")
    ] = ()
    source: Annotated[
        str | None,
        Field(
            max_length=LONGEST_NAME, description="Only orders of this source. Keys that see one source see no other."
        ),
        BeforeValidator(lambda value: _no_nul(value) if isinstance(value, str) else value),
    ] = None
    external_id: Annotated[
        str | None,
        Field(max_length=LONGEST_NAME, description="Only the order of this number."),
        BeforeValidator(lambda value: _no_nul(value) if isinstance(value, str) else value),
    ] = None
    updated_since: Annotated[
        AwareDatetime | None,
        Field(description="Only orders that changed at this time or later."),
        BeforeValidator(_written_out),
    ] = None
    cursor: Annotated[
        str | None,
        Field(max_length=_LONGEST_CURSOR, description="`next_cursor` of the page before, with the same filters."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Orders per page.")] = 50

    @property
    def filter(self) -> Filter:
        """What it asks for."""
        statuses = tuple(dict.fromkeys(self.status))
        return Filter(self.source, statuses, self.external_id, self.updated_since)


def read(query: QueryParams) -> OrderQuery:
    """What the query says.

    Raises:
        InvalidRequest: names each parameter at fault.
    """
    values: dict[str, Any] = {}
    for name in query:
        given = query.getlist(name)
        values[name] = given if name == "status" or len(given) > 1 else given[0]
    return parse_query(OrderQuery, values)


def write_cursor(key: Key, chosen: Filter, caller: Caller) -> str:
    """Where to go on, as text without meaning for the caller."""
    said = [_fingerprint(chosen, caller), key.changed_at.isoformat(), str(key.order_id)]
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")


def read_cursor(cursor: str | None, chosen: Filter, caller: Caller) -> Key | None:
    """Where to go on; None at the beginning.

    Raises:
        BadCursor: it is none of ours, or of other filters.
    """
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        fingerprint, changed_at, order_id = json.loads(base64.b64decode(padded, b"-_", validate=True))
        key = Key(datetime.fromisoformat(changed_at), UUID(order_id))
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise BadCursor from None
    if fingerprint != _fingerprint(chosen, caller) or key.changed_at.tzinfo is None:
        raise BadCursor
    return key


def _fingerprint(chosen: Filter, caller: Caller) -> str:
    since = chosen.updated_since
    said = [
        None if caller.sees_all else caller.name,
        chosen.source,
        sorted(chosen.statuses),
        chosen.external_id,
        since.timestamp() if since is not None else None,
    ]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16]

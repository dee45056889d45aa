"""Reads what shop and CRM send: CloudEvents 1.0, structured or binary, of any quality."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from mes.errors import MesError
from mes.observability import traces
from mes.orders.life import Status

LARGEST_BYTES = 1024 * 1024
LONGEST_NAME = 200
LONGEST_ID = 255
LONGEST_REASON = 1000
_LAST_SEQUENCE = 2**31 - 2  # one more is still a number
_YEARS = range(1990, 2200)
UNNUMBERED = "unnumbered"
"""Stands for the event source of senders that cannot number: what they say is known again by what it says."""


class UnreadableEvent(MesError):
    """Nobody can tell which order this is about, or which event it is."""

    code: ClassVar[str] = "unreadable_event"
    http_status: ClassVar[int] = 422


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a sender told about an order. With a `fault` it can never be applied: it parks its order for a person."""

    sender: str
    event_source: str
    event_id: str
    source: str
    external_id: str
    sequence: int | None
    type: str
    occurred_at: datetime
    reason: str | None
    fault: str | None
    event: Mapping[str, Any]


def read(
    sender: str, body: bytes, headers: Mapping[str, str] | None = None, *, now: datetime, bare: bool = False
) -> Incoming:
    """What a message says.

    Args:
        sender: the system that it came from, as the carrier knows; never what the message says of itself.
        body: its content.
        headers: as they came, for events in binary mode (attributes as headers `ce-...`).
        now: stands for a time that cannot be read.
        bare: whether it may be the event's data alone, as the systems of before sent it.

    Raises:
        UnreadableEvent: it tells neither its order nor itself; says why.
    """
    event = _event(body, headers or {}, bare=bare)
    event |= traces.headers(event, headers)
    data = event.get("data")
    if not isinstance(data, dict):
        raise UnreadableEvent("`data` must be an object.")
    order = data.get("order")
    if not isinstance(order, dict):
        raise UnreadableEvent("`data.order` must be an object with `source` and `external_id`.")
    source = _name(order.get("source"), "data.order.source", LONGEST_NAME)
    external_id = _name(order.get("external_id"), "data.order.external_id", LONGEST_NAME)
    faults: list[str] = []
    told = data.get("type")
    if not isinstance(told, str) or told not in Status.__members__:
        faults.append(f"`data.type` must be one of {', '.join(Status)}")
    occurred_at = _moment(data.get("occurred_at"))
    if occurred_at is None:
        faults.append("`data.occurred_at` must be a time with its zone, like 2026-11-22T08:15:00Z")
    sequence, sequence_fault = _sequence(event.get("sequence"))
    faults += [sequence_fault] if sequence_fault else []
    reason = data.get("reason")
    if reason is not None and not (isinstance(reason, str) and len(reason) <= LONGEST_REASON):
        faults.append(f"`data.reason` must be text of at most {LONGEST_REASON} characters")
        reason = None
    named = str(told)[:LONGEST_NAME]
    if sequence is None and not sequence_fault:
        said = json.dumps([source, external_id, named, str(occurred_at)])
        event_source, event_id = UNNUMBERED, hashlib.sha256(said.encode()).hexdigest()
    else:
        event_source = _name(event.get("source"), "source", LONGEST_ID)
        event_id = _name(event.get("id"), "id", LONGEST_ID)
    return Incoming(
        sender=sender,
        event_source=event_source,
        event_id=event_id,
        source=source,
        external_id=external_id,
        sequence=sequence,
        type=named,
        occurred_at=occurred_at or now,
        reason=reason,
        fault="; ".join(faults) or None,
        event=event,
    )


def _event(body: bytes, headers: Mapping[str, str], *, bare: bool) -> dict[str, Any]:
    if len(body) > LARGEST_BYTES:
        raise UnreadableEvent(f"It is larger than {LARGEST_BYTES:,} bytes.")
    try:
        said = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise UnreadableEvent("It is not JSON in UTF-8.") from None
    binary = {name.lower()[3:]: value for name, value in headers.items() if name.lower().startswith("ce-")}
    event = {**binary, "data": said} if binary else said
    if not isinstance(event, dict):
        raise UnreadableEvent("It is not a CloudEvent, which is a JSON object.")
    if bare and "specversion" not in event and "order" in event:
        event = {"specversion": "1.0", "data": event}
    if event.get("specversion") != "1.0":
        raise UnreadableEvent("`specversion` must be 1.0 (CloudEvents).")
    _require_storable(event)
    return event


def _require_storable(event: dict[str, Any]) -> None:
    """What JSON lets through and Postgres does not, in one message, would keep all others from being kept."""
    try:
        written = json.dumps(event, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, RecursionError):
        raise UnreadableEvent("It holds half a character, or a number that is none.") from None
    if "\\u0000" in written:
        raise UnreadableEvent("It holds the character NUL.")


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _name(value: object, where: str, longest: int) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable() or value != value.strip():
        raise UnreadableEvent(f"`{where}` must be printable text of 1 to {longest} characters.")
    return value


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str) or "T" not in value.upper():
        return None
    try:
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None and at.year in _YEARS else None
    except (ValueError, OverflowError):
        return None


def _sequence(value: object) -> tuple[int | None, str | None]:
    """The sequence, and what is wrong with it; CloudEvents has it as text, JSON writers often send a number."""
    if value is None:
        return None, None
    number = None
    if isinstance(value, int) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 10:  # noqa: PLR2004  digits
        number = int(value)
    if number is None or not 1 <= number <= _LAST_SEQUENCE:
        return None, "`sequence` must count from 1"
    return number, None

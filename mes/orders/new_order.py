"""What a caller says to place an order: checked whole, so that nothing of a wrong order is ever written."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Annotated, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from mes.pricing.options import Part, PieceOptions, Tier

ITEMS_MAX = 200
LINE_MAX = 10_000
LONGEST_NAME = 200
EARLIEST_YEAR, LATEST_YEAR = 1990, 2200


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must not hold control characters, line breaks or halves of characters")
    return value


def _written_out(value: object) -> object:
    """Digits alone would be read as seconds since 1970."""
    if isinstance(value, datetime) or (isinstance(value, str) and "T" in value.upper()):
        return value
    raise ValueError("give date, time and zone as text, like 2026-11-22T08:15:00Z")


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_NAME),
    AfterValidator(_printable),
]
ModelId = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


_in_one_way = json.JSONEncoder(sort_keys=True).encode


class NewCustomer(Part):
    """Who buys: the caller's own number for the customer; name and tier are kept as last said."""

    external_id: Name
    name: Name | None = None
    tier: Tier | None = None


class NewItem(PieceOptions):
    """One line of the order; with a valid `quote_id` it costs what that quote says."""

    line: Annotated[int, Field(ge=1, le=LINE_MAX, strict=True)]
    model_id: ModelId
    quote_id: UUID | None = None


class NewOrder(Part):
    """An order as its caller places it; times carry their zone, `placed_at` is now unless it is given."""

    external_id: Name
    placed_at: Moment | None = None
    due_at: Moment | None = None
    customer: NewCustomer
    rush: Annotated[bool, Field(strict=True)] = False
    items: Annotated[tuple[NewItem, ...], Field(min_length=1, max_length=ITEMS_MAX)]

    @field_validator("placed_at", "due_at")
    @classmethod
    def _in_utc(cls, at: datetime | None) -> datetime | None:
        """In UTC, and within a lifetime: what is derived from it must be a time as well."""
        if at is not None and not EARLIEST_YEAR < at.year < LATEST_YEAR:
            raise ValueError(f"lies outside the years {EARLIEST_YEAR} to {LATEST_YEAR}")
        return at.astimezone(UTC) if at is not None else None

    @field_validator("items")
    @classmethod
    def _each_line_once(cls, items: tuple[NewItem, ...]) -> tuple[NewItem, ...]:
        lines = [item.line for item in items]
        if twice := sorted({line for line in lines if lines.count(line) > 1}):
            raise ValueError(f"each line may come once; these come more often: {', '.join(map(str, twice))}")
        return items

    @model_validator(mode="after")
    def _due_after_placed(self) -> Self:
        if self.placed_at is not None and self.due_at is not None and self.due_at < self.placed_at:
            raise ValueError("due_at must not be before placed_at")
        return self

    @property
    def content_hash(self) -> str:
        """SHA-256 of what the order says, however it was written; lines may come in any order."""
        said = self.model_dump(mode="json", exclude_defaults=True)
        said["items"].sort(key=lambda item: item["line"])
        return hashlib.sha256(_in_one_way(said).encode()).hexdigest()

"""The four feeds: where each lies, what its rows hold, and which time puts a row into its month."""

from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from mes.errors import MesError

_TEXT = pl.String()
_OPTIONAL = {"due_at", "currency", "paid", "rush", "source", "version", "sent"}
_ORDER_REFERENCE = pl.Struct({"source": _TEXT, "external_id": _TEXT})


class Kind(StrEnum):
    """What one row of a feed is."""

    ORDER = "order"
    EVENT = "event"


class UnknownFeed(MesError):
    """There is no such feed."""

    code = "unknown_feed"


@dataclass(frozen=True)
class Feed:
    """One feed; `schema` is read as text throughout, so that a wrong type is a row's fault, not the file's."""

    name: str
    sender: str
    stem: str
    kind: Kind
    schema: pl.Struct
    time_column: str

    @property
    def table(self) -> str:
        """Where its rows land."""
        return f"raw.{self.name}"

    @property
    def required_columns(self) -> frozenset[str]:
        """What a table of it must have, empty or not."""
        return frozenset(field.name for field in self.schema.fields) - _OPTIONAL


_ORDERS = pl.Struct(
    {
        "external_id": _TEXT,
        "placed_at": _TEXT,
        "due_at": _TEXT,
        "updated_at": _TEXT,
        "customer": pl.Struct({"external_id": _TEXT, "name": _TEXT, "tier": _TEXT}),
        "currency": _TEXT,
        "paid": _TEXT,
        "rush": _TEXT,
        "status": _TEXT,
        "items": pl.List(
            pl.Struct(
                {
                    "line": _TEXT,
                    "model": _TEXT,
                    "longest_side_mm": _TEXT,
                    "material": _TEXT,
                    "finish": _TEXT,
                    "quantity": _TEXT,
                }
            )
        ),
    }
)
_EVENTS = pl.Struct(
    {"event_id": _TEXT, "order": _ORDER_REFERENCE, "sequence": _TEXT, "type": _TEXT, "occurred_at": _TEXT}
)
_HISTORY = pl.Struct({"order": _ORDER_REFERENCE, "type": _TEXT, "occurred_at": _TEXT})

SHOP_ORDERS = Feed("shop_orders", "shop", "shop/orders", Kind.ORDER, _ORDERS, "placed_at")
CRM_ORDERS = Feed("crm_orders", "crm", "crm/orders", Kind.ORDER, _ORDERS, "placed_at")
CRM_ORDER_EVENTS = Feed("crm_order_events", "crm", "crm/order_events", Kind.EVENT, _EVENTS, "occurred_at")
LEGACY_STATUS_HISTORY = Feed(
    "legacy_status_history", "legacy_mes", "legacy_mes/status_history", Kind.EVENT, _HISTORY, "occurred_at"
)
FEEDS: tuple[Feed, ...] = (SHOP_ORDERS, CRM_ORDERS, CRM_ORDER_EVENTS, LEGACY_STATUS_HISTORY)


def feed(name: str) -> Feed:
    """The feed called `name`.

    Raises:
        UnknownFeed: there is none; the message lists those there are.
    """
    for candidate in FEEDS:
        if candidate.name == name:
            return candidate
    raise UnknownFeed(f"No feed is called {name!r}; there are {', '.join(each.name for each in FEEDS)}.")

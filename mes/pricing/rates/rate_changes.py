"""Says what a rate card changes, field by field, so that people see it before it is activated."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from mes.pricing.materials import Metal
from mes.pricing.rates.rate_card import RateCard

Value = Decimal | int | str | date | None

_TENTH = Decimal("0.1")
# what tells the rows of a list apart; the rest of a row are its rates
_ROW_KEYS = {"settings": ("setting", "up_to_mm"), "stones": ("cut", "up_to_mm"), "quantity_breaks": ("min_quantity",)}
_KEY_WORDS = {"up_to_mm": "up to {} mm", "min_quantity": "from {}"}


@dataclass(frozen=True, slots=True)
class Change:
    """A field that differs: `metals.gold`, `settings[prong up to 5 mm].each`; None where one of the cards lacks it."""

    field: str
    old: Value
    new: Value

    @property
    def percent(self) -> Decimal | None:
        """By how much a number moves, to a tenth of a percent; None for what is no number or was zero."""
        return percent(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A card, and the one that is valid at the same time now; None where none is."""

    card: RateCard
    against: RateCard | None
    changes: tuple[Change, ...]

    @property
    def moves_rates(self) -> bool:
        """Whether it changes more than names and dates."""
        return any(change.field not in {"name", "valid_from", "valid_to"} for change in self.changes)


@dataclass(frozen=True, slots=True)
class MetalMoves:
    """How the market price of one metal (USD per troy ounce) runs through dated cards, and moves against those now.

    `first` and `last` are the prices of the first and the last card; `least` and `most` the outermost moves in percent
    among the `moved` cards that change a price, None where none does.
    """

    metal: Metal
    first: Decimal
    last: Decimal
    moved: int
    least: Decimal | None
    most: Decimal | None


def percent(old: Value, new: Value) -> Decimal | None:
    """Move from `old` to `new` in percent, to a tenth, half up; None for what is no number, or from zero."""
    if not isinstance(old, Decimal | int) or not isinstance(new, Decimal | int) or not old:
        return None
    return ((Decimal(new) / Decimal(old) - 1) * 100).quantize(_TENTH, ROUND_HALF_UP)


def all_fields(card: RateCard) -> tuple[Change, ...]:
    """Every field of a card, as a change from nothing."""
    return tuple(Change(name, None, value) for name, value in _fields(card.model_dump()) if value is not None)


def changes(old: RateCard, new: RateCard) -> tuple[Change, ...]:
    """The fields in which two cards differ, in the order of a card's file; amounts compare by value, not by digits."""
    before, after = dict(_fields(old.model_dump())), dict(_fields(new.model_dump()))
    names = [*after, *(name for name in before if name not in after)]
    return tuple(
        Change(name, before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)
    )


def compare(stored: Sequence[RateCard], card: RateCard, today: date) -> Comparison:
    """Compare a card with the one of `stored` that is valid at the same time: today, or when the card begins.

    Args:
        stored: active cards; of two that begin on one day, the later one in the sequence holds.
        card: the card that may be activated.
        today: counts where the card covers it; else the day on which the card begins does.
    """
    against = holding(stored, today if holding([card], today) else card.valid_from)
    return Comparison(card, against, changes(against, card) if against else ())


def holding(cards: Iterable[RateCard], day: date) -> RateCard | None:
    """The card that holds on a day: of several, the one that began last, then the last in the sequence."""
    found: RateCard | None = None
    for card in cards:
        covers = card.valid_from <= day and (card.valid_to is None or day < card.valid_to)
        if covers and (found is None or card.valid_from >= found.valid_from):
            found = card
    return found


def metal_moves(comparisons: Sequence[Comparison]) -> list[MetalMoves]:
    """The moves of each metal through dated cards, oldest first."""
    return [_metal_moves(metal, comparisons) for metal in Metal]


def _metal_moves(metal: Metal, comparisons: Sequence[Comparison]) -> MetalMoves:
    prices: list[Decimal] = [getattr(one.card.metals, metal.value) for one in comparisons]
    moves = [
        move
        for one, price in zip(comparisons, prices, strict=True)
        if one.against is not None and (move := percent(getattr(one.against.metals, metal.value), price))
    ]
    return MetalMoves(metal, prices[0], prices[-1], len(moves), min(moves, default=None), max(moves, default=None))


def _fields(part: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Value]]:
    for name, value in part.items():
        if isinstance(value, Mapping):
            yield from _fields(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield from _rows(name, value, f"{prefix}{name}")
        else:
            yield f"{prefix}{name}", value


def _rows(name: str, rows: Sequence[Any], path: str) -> Iterator[tuple[str, Value]]:
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            yield f"{path}[{number}]", row
            continue
        keys = _ROW_KEYS.get(name, ())
        which = " ".join(_KEY_WORDS.get(key, "{}").format(_digits(row[key])) for key in keys) or number
        yield from _fields({key: value for key, value in row.items() if key not in keys}, f"{path}[{which}].")


def _digits(value: Value) -> str:
    """2.50 and 2.5 are one size."""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else str(value)

"""Prices one item, or a few, within a millisecond: by the same expressions as millions, worked out row by row."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from functools import cache, lru_cache
from itertools import product
from math import inf
from typing import Any

import polars as pl

from mes.pricing.costs import formulas
from mes.pricing.costs.cost_model import RESULT, TOTAL_BELOW, Price, as_price, item_of
from mes.pricing.costs.cost_steps import STEPS
from mes.pricing.costs.formulas import Row
from mes.pricing.costs.rate_frame import rate_frame, with_rates
from mes.pricing.costs.stone_lines import KIND_STEPS, KINDS, NO_STONES, STONE_FIELDS, STONE_RATES, with_stone_rates
from mes.pricing.geometry import Geometry
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Cut, Finish, ItemOptions, Setting, Stone, SuppliedBy, Tier
from mes.pricing.rates.rate_card import RateCard

_CHOICE = {"material": pl.String, "finish": pl.String, "tier": pl.String, "quantity": pl.Int64}
_KIND = {name: STONE_FIELDS[name] for name in ("cut", "size_mm", "setting", "supplied_by")}


@dataclass(frozen=True, slots=True)
class _Card:
    """A card as what is made of it is kept: by its version, as comparing all of its rates takes longer than pricing."""

    version: str
    card: RateCard = field(compare=False)


def price_one(geometry: Geometry, options: ItemOptions, card: RateCard) -> Price:
    """Price one item; what `cost_model.price` makes of a table of one row.

    Raises:
        CannotPrice: the geometry is none that can be made, or the card lacks a rate; says which and what to do.
    """
    return as_price(price_few([(geometry, options)], card)[0])


def price_few(items: Sequence[tuple[Geometry, ItemOptions]], card: RateCard) -> list[Row]:
    """Price a few items at once: rows as `cost_model.price` makes them with `detail`, item and rates included.

    What takes long for a few rows, finding their rates, is done once for each card.
    """
    kept = _Card(card.version, card)
    with localcontext(formulas.EXACT):
        return [_priced(geometry, options, kept) for geometry, options in items]


def warm_up() -> None:
    """Make the formulas.

    Raises:
        NotAFormula: the cost model says something that has no formula; nothing could be priced.
    """
    _of_item()
    _of_kind()


def _priced(geometry: Geometry, options: ItemOptions, kept: _Card) -> Row:
    row = _rates_of(kept)[_choice(options, kept.card)] | item_of(geometry, options, kept.card)
    if options.stones:
        row |= _of_stones([_kind(options, stone, kept) for stone in options.stones])
    row |= _of_item()(row)
    if row["total"] is not None and row["total"] >= TOTAL_BELOW:
        row |= dict.fromkeys(RESULT) | {"problem": "too_large"}
    return row


@cache
def _of_item() -> Callable[[Row], Row]:
    return formulas.compiled(STEPS)


@cache
def _of_kind() -> Callable[[Row], Row]:
    return formulas.compiled(KIND_STEPS)


@lru_cache(maxsize=256)
def _rate_frame(kept: _Card) -> pl.DataFrame:
    return rate_frame([kept.card])


def _choice(options: ItemOptions, card: RateCard) -> tuple[str, ...]:
    """What the rates of an item depend on; quantities between two breaks have the same."""
    step = max((first for first in _first_quantities(card) if first <= options.quantity), default=1)
    return options.material, options.finish.value, options.tier.value, str(step)


@lru_cache(maxsize=32)
def _rates_of(kept: _Card) -> dict[tuple[str, ...], Row]:
    """The rates of each choice that a card offers, some 200: found at once, in the time of a few."""
    choices = product(MATERIALS, map(str, Finish), map(str, Tier), _first_quantities(kept.card))
    asked = pl.DataFrame(list(choices), schema=_CHOICE, orient="row").with_columns(rate_card=pl.lit(kept.version))
    rates = with_rates(asked.lazy(), _rate_frame(kept)).with_columns(**NO_STONES).collect()
    return {tuple(str(row.pop(name)) for name in _CHOICE): row for row in rates.iter_rows(named=True)}


def _first_quantities(card: RateCard) -> list[int]:
    return [1, *(step.min_quantity for step in card.terms.quantity_breaks if step.min_quantity > 1)]


def _of_stones(kinds: list[Row]) -> Row:
    """What `stone_lines.with_stones` adds to an item: sums of its kinds, and the kinds."""
    amounts = [(kind["setting_amount"], kind["stone_amount"]) for kind in kinds]
    return {
        "settings_amount": sum((setting for setting, _ in amounts if setting is not None), Decimal(0)),
        "stones_amount": sum((price for _, price in amounts if price is not None), Decimal(0)),
        "stones_priced": all(None not in pair for pair in amounts),
        "stone_lines": kinds,
    }


def _kind(options: ItemOptions, stone: Stone, kept: _Card) -> Row:
    fields = stone.model_dump(mode="json")
    sizes = _stone_sizes(kept)
    size_mm = sizes[bisect_left(sizes, stone.size_mm)]
    setting, price = _stone_rates_of(kept)[stone.cut.value, size_mm, stone.setting.value, stone.supplied_by.value]
    kind = {**fields, "quantity": options.quantity, "setting_rate": setting, "stone_rate": price}
    return kind | _of_kind()(kind)


@lru_cache(maxsize=32)
def _stone_sizes(kept: _Card) -> list[float]:
    """Sizes up to which a card has rates of stones or settings; between two of them, all stones have the same."""
    settings, stones = kept.card.settings, kept.card.stones
    return [*sorted({float(step.up_to_mm) for step in settings} | {float(step.up_to_mm) for step in stones}), inf]


@lru_cache(maxsize=32)
def _stone_rates_of(kept: _Card) -> dict[tuple[Any, ...], tuple[Decimal | None, Decimal | None]]:
    """The rates of setting and stone for each kind of stone, found at once."""
    kinds = product(map(str, Cut), _stone_sizes(kept), map(str, Setting), map(str, SuppliedBy))
    asked = pl.DataFrame(list(kinds), schema=_KIND, orient="row").with_columns(
        row=pl.lit(0, KINDS["row"]), rate_card=pl.lit(kept.version), quantity=1, count=1
    )
    rates = with_stone_rates(asked.lazy(), _rate_frame(kept)).select(*_KIND, *STONE_RATES).collect()
    return {tuple(kind): (setting, price) for *kind, setting, price in rates.iter_rows()}

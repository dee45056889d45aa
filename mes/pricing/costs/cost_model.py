"""Prices tables of items from their geometry, options and rates; `single_prices` does it for one, the same way."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import Any

import polars as pl

from mes.errors import MesError
from mes.pricing.costs.cost_lines import QUANTITY_LINES, TERM_LINES, LineRule
from mes.pricing.costs.cost_steps import BOX, EXTENTS, STEPS
from mes.pricing.costs.rate_frame import with_rates
from mes.pricing.costs.stone_lines import (
    NO_STONES,
    STONES,
    kinds_of,
    stones_breakdown,
    with_stone_rates,
    with_stones,
)
from mes.pricing.geometry import Geometry
from mes.pricing.options import QUANTITY_MAX, ItemOptions
from mes.pricing.rates.rate_card import RateCard

ITEM_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "rate_card": pl.String,
    "material": pl.String,
    "finish": pl.String,
    "quantity": pl.Int64,
    "tier": pl.String,
    "rush": pl.Boolean,
    "longest_side_mm": pl.Float64,
    "volume_mm3": pl.Float64,
    "area_mm2": pl.Float64,
    **dict.fromkeys((*EXTENTS, *BOX, "print_height_mm", "support_mm3", "detail"), pl.Float64),
    "engraving_characters": pl.Int64,
    "stones": STONES,
}
RESULT = ("mass_g", "material_amount", "work_amount", "total", "unit_price", "currency", "problem")
PROBLEMS = {
    "no_rate_card": "No rates are known for this version of the rate card and this material; load that card.",
    "bad_quantity": f"The quantity must be from 1 to {QUANTITY_MAX}; correct it.",
    "unknown_finish": "The finish has no rate; choose one that is offered.",
    "unknown_tier": "The customer's tier has no margin; correct it.",
    "bad_geometry": "The model's volume, area or extents are missing, not above zero or larger than any jewelry; "
    "check that it is closed and that its unit is right.",
    "too_large": "The price is larger than any that we can keep, so something is wrong with the size or the quantity; "
    "correct it.",
    "no_stone_rate": "The rate card has no price for one of the stones (cut and size) or for setting it; choose "
    "another size or setting, or add the rate to the card.",
}

TOTAL_BELOW = 10**12
"""USD; `numeric(14, 2)` holds no more."""

_ROWS_AT_ONCE = 250_000  # joined rates take about 0.5 kB a row: this keeps them near 125 MB
_ROWS_WORTH_PLANNING = 1_000  # below, optimising the query takes longer than it saves
_PLANNED, _UNPLANNED = pl.QueryOptFlags(), pl.QueryOptFlags.none()
_MICRO, _CENT = Decimal("0.000001"), Decimal("0.01")  # to which quantities and rates, and amounts, are shown


class CannotPrice(MesError):
    """This item has no price."""

    code, http_status = "cannot_price", 422


class BadItems(MesError):
    """This table of items cannot be priced."""

    code = "bad_items"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a breakdown, for all pieces of the item: `amount` = `quantity` x `rate`, rounded half up to cents."""

    code: str
    label: str
    driver: str
    quantity: Decimal
    unit: str
    rate: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """An item's price; `total` is the sum of `lines` and binds, `unit_price` is total / quantity for information."""

    total: Decimal
    unit_price: Decimal
    currency: str
    lines: tuple[Line, ...]


def price(items: pl.DataFrame | pl.LazyFrame, rates: pl.DataFrame, *, detail: bool = True) -> pl.DataFrame:
    """Price every row of `items` (columns of `ITEM_SCHEMA`; others pass through) by `rates` (from `rate_frame`).

    Adds the columns of `RESULT`, in the order of the rows: `total`, `unit_price` and amounts in USD to the cent, for
    all pieces of the item; `mass_g` likewise. Where an item has no price, these are null and `problem` is a key of
    `PROBLEMS`. With `detail` it also adds the columns that `breakdown` needs, about 1 kB a row. Measures that kernel 1
    did not take (from `box_length_mm` on) may be null.

    Raises:
        BadItems: a column is missing or cannot be cast to its type.
    """
    frame = items.collect() if isinstance(items, pl.LazyFrame) else items
    asked = _asked(frame)
    parts = [_price_part(part, rates, detail=detail) for part in asked.iter_slices(_ROWS_AT_ONCE)]
    priced = pl.concat(parts) if parts else _price_part(asked, rates, detail=detail)
    return frame.drop(priced.columns, strict=False).hstack(priced)


def breakdown(row: Mapping[str, Any]) -> tuple[Line, ...]:
    """The lines of one row that `price` made with `detail`; lines whose quantity is zero are left out."""
    plain = [_fields(rule, row) for rule in QUANTITY_LINES if row[rule.quantity_column]]
    terms = [_fields(rule, row) for rule in TERM_LINES if row[rule.amount_column]]
    return tuple(_line(fields) for fields in (*plain, *stones_breakdown(row), *terms))


def item_of(geometry: Geometry, options: ItemOptions, card: RateCard) -> dict[str, Any]:
    """A row for `price`, with the columns of `ITEM_SCHEMA`."""
    printing = geometry.printing
    return {
        **options.model_dump(mode="json", exclude={"engraving"}),
        "rate_card": card.version,
        "engraving_characters": options.engraving_characters,
        "volume_mm3": geometry.volume_mm3,
        "area_mm2": geometry.area_mm2,
        **dict(zip(EXTENTS, geometry.extents_mm, strict=True)),
        **dict(zip(BOX, geometry.box_mm or (None, None, None), strict=True)),
        "print_height_mm": printing.height_mm if printing else None,
        "support_mm3": printing.support_mm3 if printing else None,
        "detail": geometry.detail,
    }


def as_price(row: Mapping[str, Any]) -> Price:
    """A priced row as a price.

    Raises:
        CannotPrice: it has none.
    """
    if row["problem"]:
        raise CannotPrice(PROBLEMS[row["problem"]], problem=row["problem"])
    return Price(row["total"], row["unit_price"], row["currency"], breakdown(row))


def _asked(frame: pl.DataFrame) -> pl.DataFrame:
    if missing := [name for name in ITEM_SCHEMA if name not in frame.columns]:
        raise BadItems(f"The table of items lacks columns: {', '.join(missing)}. Add them; null means none.")
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in ITEM_SCHEMA.items())
    except pl.exceptions.PolarsError as error:
        raise BadItems(f"A column of the items has another type than needed: {error}") from error


def _price_part(asked: pl.DataFrame, rates: pl.DataFrame, *, detail: bool) -> pl.DataFrame:
    items = with_rates(asked.lazy(), rates)
    kinds = kinds_of(asked)
    if kinds.is_empty():
        items = items.with_columns(**NO_STONES)
    else:
        items = with_stones(items.with_row_index("row"), with_stone_rates(kinds.lazy(), rates)).drop("row")
    worked_out = _worked_out(items)
    chosen = worked_out.drop(*ITEM_SCHEMA) if detail else worked_out.select(RESULT)
    return _within_bounds(chosen.collect(optimizations=_PLANNED if asked.height > _ROWS_WORTH_PLANNING else _UNPLANNED))


def _worked_out(items: pl.LazyFrame) -> pl.LazyFrame:
    return reduce(pl.LazyFrame.with_columns, STEPS, items)


def _within_bounds(priced: pl.DataFrame) -> pl.DataFrame:
    """No price for what costs more than the database holds."""
    most: Any = priced["total"].max()
    if most is None or most < TOTAL_BELOW:
        return priced
    too_large = (pl.col("total") >= TOTAL_BELOW).fill_null(value=False)
    return priced.with_columns(
        pl.when(too_large).then(pl.lit("too_large")).otherwise("problem").alias("problem"),
        *(pl.when(~too_large).then(name).alias(name) for name in RESULT if name != "problem"),
    )


def _fields(rule: LineRule, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "code": rule.code,
        "label": rule.label,
        "driver": rule.driver_of(row),
        "quantity": row[rule.quantity_column],
        "unit": rule.unit,
        "rate": row[rule.rate],
        "amount": row[rule.amount_column],
    }


def _line(fields: Mapping[str, Any]) -> Line:
    return Line(
        fields["code"],
        fields["label"],
        fields["driver"],
        fields["quantity"].quantize(_MICRO),
        fields["unit"],
        fields["rate"].quantize(_MICRO),
        fields["amount"].quantize(_CENT),
    )

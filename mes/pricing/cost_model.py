"""Prices items from their geometry, options and rates: one definition, for one quote as for a million rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache, reduce
from operator import add
from typing import Any, Protocol

import polars as pl

from mes.errors import MesError
from mes.pricing.cost_lines import (
    EXTENTS,
    MARGIN,
    MINIMUM,
    PHYSICAL,
    PIECE,
    PIECE_SIDES,
    QUANTITY_BREAK,
    QUANTITY_LINES,
    RUSH,
    SIZED,
    TERM_LINES,
    Group,
    LineRule,
)
from mes.pricing.options import LONGEST_SIDE_MAX_MM, QUANTITY_MAX, ItemOptions
from mes.pricing.rate_card import RateCard
from mes.pricing.rate_frame import RATE, RATE_SCHEMA, rate_frame
from mes.pricing.rounding import EXACT, MONEY, QUANTITY, TIE, amount, cents, quantity
from mes.pricing.stone_lines import STONES, stone_lines, stones_breakdown

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
    **dict.fromkeys(EXTENTS, pl.Float64),
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

_VOLUME_MAX_MM3 = _AREA_MAX_CM2 = LONGEST_SIDE_MAX_MM**3  # keeps quantities far from what decimals can hold
_TOTAL_BELOW = 10**12  # USD; `numeric(14, 2)` holds no more
_ROWS_AT_ONCE = 250_000  # joined rates take about 0.5 kB a row: this keeps them near 125 MB
_ROWS_WORTH_PLANNING = 1_000  # below, optimising the query takes longer (2 to 4 ms) than it saves
_ALL, _NONE = pl.QueryOptFlags(), pl.QueryOptFlags.none()
_TABLES = ("quantity_breaks", "settings", "stone_prices")


class CannotPrice(MesError):
    """This item has no price."""

    code, http_status = "cannot_price", 422


class BadItems(MesError):
    """This table of items cannot be priced."""

    code = "bad_items"


class Geometry(Protocol):
    """What the price needs of a measured model, in the model's own size."""

    @property
    def volume_mm3(self) -> float: ...  # noqa: D102
    @property
    def area_mm2(self) -> float: ...  # noqa: D102
    @property
    def extents_mm(self) -> tuple[float, float, float]: ...  # noqa: D102


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
    `PROBLEMS`. With `detail` it also adds the columns that `breakdown` needs, about 1 kB a row.

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
    plain = tuple(_line(rule, row) for rule in QUANTITY_LINES if row[rule.quantity_column])
    stones = tuple(Line(**line) for line in stones_breakdown(row))
    terms = tuple(_line(rule, row) for rule in TERM_LINES if row[rule.amount_column])
    return (*plain, *stones, *terms)


def price_one(geometry: Geometry, options: ItemOptions, card: RateCard) -> Price:
    """Price one item; the same definition as `price`, on a table of one row.

    Raises:
        CannotPrice: the geometry is none that can be made, or the card lacks a rate; says which and what to do.
    """
    asked = {
        **options.model_dump(mode="json", exclude={"engraving"}),
        "volume_mm3": geometry.volume_mm3,
        "area_mm2": geometry.area_mm2,
        **dict(zip(EXTENTS, geometry.extents_mm, strict=True)),
        "rate_card": card.version,
        "engraving_characters": options.engraving_characters,
    }
    row = price(pl.DataFrame([asked], schema=ITEM_SCHEMA), _rates_of(card)).row(0, named=True)
    if row["problem"]:
        raise CannotPrice(PROBLEMS[row["problem"]], problem=row["problem"])
    return Price(row["total"], row["unit_price"], row["currency"], breakdown(row))


@lru_cache(maxsize=256)
def _rates_of(card: RateCard) -> pl.DataFrame:
    return rate_frame([card])


def _asked(frame: pl.DataFrame) -> pl.DataFrame:
    if missing := [name for name in ITEM_SCHEMA if name not in frame.columns]:
        raise BadItems(f"The table of items lacks columns: {', '.join(missing)}. Add them; null means none.")
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in ITEM_SCHEMA.items())
    except pl.exceptions.PolarsError as error:
        raise BadItems(f"A column of the items has another type than needed: {error}") from error


def _price_part(asked: pl.DataFrame, rates: pl.DataFrame, *, detail: bool) -> pl.DataFrame:
    joined = (
        asked.with_row_index("row")
        .lazy()
        .join(rates.lazy().drop(_TABLES), on=["rate_card", "material"], how="left", maintain_order="left")
        .join(_break_rates(asked.lazy(), rates.lazy()), on=["rate_card", "quantity"], how="left", maintain_order="left")
        .join(stone_lines(asked, rates), on="row", how="left", maintain_order="left")
    )
    priced = _within_bounds(_with_terms(_with_lines(_with_physical(joined))))
    chosen = priced.drop("row", *ITEM_SCHEMA) if detail else priced.select(RESULT)
    return chosen.collect(optimizations=_ALL if asked.height > _ROWS_WORTH_PLANNING else _NONE)


def _break_rates(asked: pl.LazyFrame, rates: pl.LazyFrame) -> pl.LazyFrame:
    """`break_rate` (factor - 1) for each pair of card and quantity that occurs; null below the first break."""
    breaks = rates.unique("rate_card").select("rate_card", "quantity_breaks").explode("quantity_breaks")
    return (
        asked.select("rate_card", "quantity")
        .unique()
        .drop_nulls()
        .sort("quantity")
        .join_asof(
            breaks.unnest("quantity_breaks").drop_nulls().sort("min_quantity"),
            left_on="quantity",
            right_on="min_quantity",
            by="rate_card",
            check_sortedness=False,  # both are sorted just above; polars cannot see it within groups
        )
        .select("rate_card", "quantity", break_rate=pl.col("factor") - 1)
    )


def _with_physical(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Sizes, masses and times; null wherever `problem` says why the item has no price."""
    frame = frame.with_columns(**SIZED).with_columns(**PIECE).with_columns(problem=_problem())
    fine = pl.col("problem").is_null()
    frame = frame.with_columns(
        pieces=pl.when(fine).then(pl.col("quantity").cast(pl.Float64)),
        once=pl.when(fine).then(1.0),
        engraving_characters=pl.col("engraving_characters").fill_null(0),
    )
    for columns in PHYSICAL:
        frame = frame.with_columns(**columns)
    return frame


def _problem() -> pl.Expr:
    checks = {
        "no_rate_card": pl.col("currency").is_not_null(),
        "bad_quantity": pl.col("quantity").is_between(1, QUANTITY_MAX),
        "unknown_finish": pl.col("finish").is_in(_offered("minutes_per_cm2_")),
        "unknown_tier": pl.col("tier").is_in(_offered("margin_")),
        "bad_geometry": _is_between_zero_and("piece_volume_mm3", _VOLUME_MAX_MM3)
        & _is_between_zero_and("piece_area_cm2", _AREA_MAX_CM2)
        & pl.all_horizontal(_is_between_zero_and(side, LONGEST_SIDE_MAX_MM * TIE) for side in PIECE_SIDES),
        "no_stone_rate": pl.col("stones_priced").fill_null(value=True),
    }
    return pl.coalesce(pl.when(~fine.fill_null(value=False)).then(pl.lit(code)) for code, fine in checks.items())


def _offered(prefix: str) -> list[str]:
    return [name.removeprefix(prefix) for name in RATE_SCHEMA if name.startswith(prefix)]


def _is_between_zero_and(column: str, most: float) -> pl.Expr:
    return ((pl.col(column) > 0) & (pl.col(column) <= most)).fill_null(
        value=False
    )  # NaN is above all numbers in polars, so it fails


def _with_lines(frame: pl.LazyFrame) -> pl.LazyFrame:
    quantities = [
        quantity(rule.quantity).alias(rule.quantity_column) for rule in QUANTITY_LINES if rule.quantity is not None
    ]
    return frame.with_columns(quantities).with_columns(_amount(rule) for rule in QUANTITY_LINES)


def _with_terms(frame: pl.LazyFrame) -> pl.LazyFrame:
    """Quantity break and rush on the work, margin on all of it, then the minimum; each is a line of its own."""
    rush = pl.when(pl.col("rush").fill_null(value=False)).then("rush_surcharge").otherwise(pl.lit(0, dtype=RATE))
    frame = frame.with_columns(
        material_amount=_sum(Group.MATERIAL, "stones_amount"),
        work_amount=_sum(Group.WORK, "settings_amount"),
        break_rate=pl.col("break_rate").fill_null(0),
        rush_rate=rush,
        one=pl.lit(1, dtype=RATE),
    )
    frame = _with_term(frame, QUANTITY_BREAK, pl.col("work_amount"))
    frame = _with_term(frame, RUSH, pl.col("work_amount") + pl.col(QUANTITY_BREAK.amount_column))
    cost = ("material_amount", "work_amount", QUANTITY_BREAK.amount_column, RUSH.amount_column)
    frame = _with_term(frame, MARGIN, reduce(add, map(pl.col, cost)))
    before = pl.col(MARGIN.quantity_column) + pl.col(MARGIN.amount_column)
    least = pl.max_horizontal(pl.col("minimum_piece") * pl.col("quantity"), "minimum_line")
    frame = frame.with_columns(minimum_total=cents(least))
    frame = _with_term(frame, MINIMUM, (pl.col("minimum_total") - before).clip(lower_bound=0))
    frame = frame.with_columns(total=(before + pl.col(MINIMUM.amount_column)).cast(MONEY))
    return frame.with_columns(unit_price=cents(pl.col("total").cast(EXACT) / pl.col("quantity")))


def _within_bounds(frame: pl.LazyFrame) -> pl.LazyFrame:
    """No price for what costs more than the database holds."""
    too_large = (pl.col("total") >= _TOTAL_BELOW).fill_null(value=False)
    return frame.with_columns(
        pl.when(too_large).then(pl.lit("too_large")).otherwise(pl.col("problem")).alias("problem"),
        *(pl.when(~too_large).then(pl.col(name)).alias(name) for name in RESULT if name != "problem"),
    )


def _with_term(frame: pl.LazyFrame, rule: LineRule, base: pl.Expr) -> pl.LazyFrame:
    return frame.with_columns(base.cast(QUANTITY).alias(rule.quantity_column)).with_columns(_amount(rule))


def _sum(group: Group, stones: str) -> pl.Expr:
    """Sum of a group's lines and its stones; null if one of the lines is."""
    amounts = [pl.col(rule.amount_column) for rule in QUANTITY_LINES if rule.group is group]
    return reduce(add, [*amounts, pl.col(stones).fill_null(0)])


def _amount(rule: LineRule) -> pl.Expr:
    return amount(pl.col(rule.quantity_column), pl.col(rule.rate)).alias(rule.amount_column)


def _line(rule: LineRule, row: Mapping[str, Any]) -> Line:
    driver = rule.driver.format_map(row)
    units, rate, paid = row[rule.quantity_column], row[rule.rate], row[rule.amount_column]
    return Line(rule.code, rule.label, driver, units, rule.unit, rate, paid)

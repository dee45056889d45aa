"""Prices stones and their setting, apart from the other lines, as few items have any and each kind has its own rate."""

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import polars as pl

from mes.pricing.costs.rounding import EXACT, QUANTITY, amount
from mes.pricing.options import SuppliedBy

STONE_FIELDS: dict[str, type[pl.DataType]] = {
    "cut": pl.String,
    "size_mm": pl.Float64,
    "count": pl.Int64,
    "setting": pl.String,
    "supplied_by": pl.String,
}
STONES = pl.List(pl.Struct(STONE_FIELDS))
STONE_RATES: dict[str, pl.DataType | type[pl.DataType]] = {"setting_rate": EXACT, "stone_rate": EXACT}
KINDS: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.get_index_type(),
    "rate_card": pl.String,
    "quantity": pl.Int64,
    **STONE_FIELDS,
}
_AMOUNTS = ("setting_amount", "stone_amount")
_LINES = pl.List(pl.Struct({**STONE_FIELDS, "number": QUANTITY, **STONE_RATES, **dict.fromkeys(_AMOUNTS, EXACT)}))
NO_STONES = {
    "settings_amount": pl.lit(0).cast(EXACT),
    "stones_amount": pl.lit(0).cast(EXACT),
    "stones_priced": pl.lit(value=True),
    "stone_lines": pl.lit(None, _LINES),
}
_NUMBER = pl.when(pl.col("count") > 0).then(pl.col("count") * pl.col("quantity")).cast(QUANTITY, strict=False)
_KIND_AMOUNTS = (
    amount(pl.col("number"), pl.col("setting_rate")).alias("setting_amount"),
    amount(pl.col("number"), pl.col("stone_rate")).alias("stone_amount"),
)
KIND_STEPS = ((_NUMBER.alias("number"),), _KIND_AMOUNTS)
"""What each kind of stone comes to, in steps over the fields of a stone, the item's quantity and the rates."""

_PER_ITEM = (
    pl.col("setting_amount").sum().alias("settings_amount"),
    pl.col("stone_amount").sum().alias("stones_amount"),
    (pl.col("setting_amount") + pl.col("stone_amount")).is_not_null().all().alias("stones_priced"),
    pl.struct(*STONE_FIELDS, "number", *STONE_RATES, *_AMOUNTS).alias("stone_lines"),
)


def with_stones(items: pl.LazyFrame, kinds: pl.LazyFrame) -> pl.LazyFrame:
    """The items with what their stones cost.

    `settings_amount` and `stones_amount` are for all pieces of the item, USD; `stones_priced` is false where a rate is
    missing; `stone_lines` holds each kind of stone with its number, rates and amounts, null where there are none.

    Args:
        items: with their position as `row`.
        kinds: from `with_stone_rates`, one row per item and kind of stone, in order.
    """
    stones = reduce(pl.LazyFrame.with_columns, KIND_STEPS, kinds).group_by("row", maintain_order=True).agg(_PER_ITEM)
    return items.join(stones, on="row", how="left", maintain_order="left").with_columns(
        pl.col("settings_amount", "stones_amount").fill_null(0), pl.col("stones_priced").fill_null(value=True)
    )


def kinds_of(asked: pl.DataFrame) -> pl.DataFrame:
    """One row per item and kind of stone, with the columns of `KINDS`; `row` is the item's position."""
    return (
        asked.select("rate_card", "quantity", "stones")
        .with_row_index("row")
        .filter(pl.col("stones").list.len() > 0)
        .explode("stones")
        .unnest("stones")
    )


def with_stone_rates(kinds: pl.LazyFrame, rates: pl.DataFrame) -> pl.LazyFrame:
    """The kinds, in their order, with `setting_rate` and `stone_rate`; null where the card has none.

    The rate is that of the smallest size in the card's table which is not below the stone's; a customer's own stone
    costs nothing.
    """
    kinds = _with_rate(kinds.with_row_index("kind"), rates.lazy(), "settings", "setting", "setting_rate")
    kinds = _with_rate(kinds, rates.lazy(), "stone_prices", "cut", "stone_rate")
    own = pl.when(supplied_by=SuppliedBy.CUSTOMER.value).then(pl.lit(0).cast(EXACT)).otherwise("stone_rate")
    return kinds.with_columns(own.alias("stone_rate")).sort("kind").drop("kind")


def stones_breakdown(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of the lines of a priced row's stones: the setting of each kind, and its price if it is ours."""
    for kind in row["stone_lines"] or ():
        driver = f"{kind['count']} x {kind['cut']} {kind['size_mm']:g} mm per piece, {kind['setting']}"
        common = {"driver": driver, "quantity": kind["number"], "unit": "stone"}
        yield {
            **common,
            "code": "stone_setting",
            "label": "Stone setting",
            "rate": kind["setting_rate"],
            "amount": kind["setting_amount"],
        }
        if kind["supplied_by"] != SuppliedBy.CUSTOMER:
            yield {
                **common,
                "code": "stones",
                "label": "Stones",
                "rate": kind["stone_rate"],
                "amount": kind["stone_amount"],
            }


def _with_rate(kinds: pl.LazyFrame, rates: pl.LazyFrame, table: str, key: str, name: str) -> pl.LazyFrame:
    rows = rates.unique("rate_card").select("rate_card", pl.col(table)).explode(table).unnest(table).drop_nulls()
    return (
        kinds.sort("size_mm")
        .join_asof(
            rows.sort("up_to_mm").rename({"each": name}),
            left_on="size_mm",
            right_on="up_to_mm",
            by=["rate_card", key],
            strategy="forward",
            check_sortedness=False,  # both are sorted just above; polars cannot see it within groups
        )
        .drop("up_to_mm")
    )

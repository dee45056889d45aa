"""Prices stones and their setting, apart from the other lines, as few items have any and each kind has its own rate."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from mes.pricing.options import SuppliedBy
from mes.pricing.rate_frame import RATE
from mes.pricing.rounding import MONEY, QUANTITY, amount

STONE_FIELDS: dict[str, type[pl.DataType]] = {
    "cut": pl.String,
    "size_mm": pl.Float64,
    "count": pl.Int64,
    "setting": pl.String,
    "supplied_by": pl.String,
}
STONES = pl.List(pl.Struct(STONE_FIELDS))
_MONEY_COLUMNS = {"setting_rate": RATE, "stone_rate": RATE, "setting_amount": MONEY, "stone_amount": MONEY}
_RESULT: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.get_index_type(),
    "settings_amount": MONEY,
    "stones_amount": MONEY,
    "stones_priced": pl.Boolean,
    "stone_lines": pl.List(pl.Struct({**STONE_FIELDS, "number": QUANTITY, **_MONEY_COLUMNS})),
}


def stone_lines(asked: pl.DataFrame, rates: pl.DataFrame) -> pl.LazyFrame:
    """One row per item that has stones, with the item's position as `row`.

    `settings_amount` and `stones_amount` are for all pieces of the item, USD; `stones_priced` is false where a rate is
    missing; `stone_lines` holds each kind of stone with its number, rates and amounts.
    """
    has_stones = asked["stones"].list.len().fill_null(0) > 0
    if not has_stones.any():
        return pl.LazyFrame(schema=_RESULT)
    kinds = (
        asked.lazy()
        .select("rate_card", "quantity", "stones")
        .with_row_index("row")
        .filter(has_stones)
        .explode("stones")
        .unnest("stones")
        .with_columns(number=pl.when(pl.col("count") > 0).then(pl.col("count") * pl.col("quantity")))
        .with_columns(pl.col("number").cast(QUANTITY, strict=False))
        .with_row_index("kind")
    )
    kinds = _with_rate(kinds, rates.lazy(), "settings", "setting", "setting_rate")
    kinds = _with_rate(kinds, rates.lazy(), "stone_prices", "cut", "stone_rate").with_columns(
        stone_rate=pl.when(supplied_by=SuppliedBy.CUSTOMER.value).then(0).otherwise("stone_rate")
    )
    return (
        kinds.sort("row", "kind")
        .with_columns(
            setting_amount=amount(pl.col("number"), pl.col("setting_rate")),
            stone_amount=amount(pl.col("number"), pl.col("stone_rate")),
        )
        .group_by("row", maintain_order=True)
        .agg(
            settings_amount=pl.col("setting_amount").sum(),
            stones_amount=pl.col("stone_amount").sum(),
            stones_priced=(pl.col("setting_amount") + pl.col("stone_amount")).is_not_null().all(),
            stone_lines=pl.struct(*STONE_FIELDS, "number", *_MONEY_COLUMNS),
        )
    )


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
    """Each kind's rate: that of the smallest size in the card's table which is not below the stone's."""
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

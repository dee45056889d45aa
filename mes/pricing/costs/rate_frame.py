"""Lays rate cards out as a table, one row per version and material, where a million items find their rates."""

from collections.abc import Sequence
from decimal import Decimal
from math import pi

import polars as pl

from mes.pricing.costs.rounding import EXACT as RATE
from mes.pricing.materials import MATERIALS, Material
from mes.pricing.options import QUANTITY_MAX, Finish, Tier
from mes.pricing.rates.rate_card import RateCard

_TEXT = ("rate_card", "material", "currency", "metal", "alloy")
_DRIVERS = (  # physical figures, which become part of a line's quantity
    "density_g_cm3",
    "fineness",
    "casting_loss",
    "sprue_ratio",
    "sprue_loss",
    "flask_litres",
    "flask_capacity_mm3",
    "clearance_mm",
    "wax_g_cm3",
    "layer_mm",
    "seconds_per_layer",
    "mm3_per_hour",
    "support_g_cm3",
    "minutes_per_piece",
    "detail_share",
    "detail_most",
    *(f"minutes_per_cm2_{finish}" for finish in Finish),
)
_RATES = (  # money per unit of a line's quantity
    "pure_per_g",
    "alloy_per_g",
    "material_per_g",
    "wax_per_g",
    "support_per_g",
    "printer_per_hour",
    "investment_per_litre",
    "per_flask",
    "finishing_per_hour",
    "plating_per_cm2",
    "engraving_setup",
    "engraving_per_character",
    "setup_model",
    "setup_line",
    "quality_control",
    "packing",
    "rush_surcharge",
    "minimum_piece",
    "minimum_line",
    *(f"margin_{tier}" for tier in Tier),
)
_TABLES = {  # looked up apart from the join, as few items need them
    "quantity_breaks": pl.List(pl.Struct({"min_quantity": pl.Int64, "factor": RATE})),
    "settings": pl.List(pl.Struct({"setting": pl.String, "up_to_mm": pl.Float64, "each": RATE})),
    "stone_prices": pl.List(pl.Struct({"cut": pl.String, "up_to_mm": pl.Float64, "each": RATE})),
}
RATE_SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    **dict.fromkeys(_TEXT, pl.String),
    **dict.fromkeys(_DRIVERS, pl.Float64),
    **dict.fromkeys(_RATES, RATE),
    **_TABLES,
}


_CHECKS = {  # in the order in which they are told
    "no_rate_card": pl.col("currency").is_not_null(),
    "bad_quantity": pl.col("quantity").is_between(1, QUANTITY_MAX).fill_null(value=False),
    "unknown_finish": pl.col("finish").is_in([finish.value for finish in Finish]).fill_null(value=False),
    "unknown_tier": pl.col("tier").is_in([tier.value for tier in Tier]).fill_null(value=False),
}


def rate_frame(cards: Sequence[RateCard]) -> pl.DataFrame:
    """One row per card version and material, with the columns of `RATE_SCHEMA`; cards that repeat a version count once.

    Rates are decimals; physical figures (g/cm3, mm, minutes, shares) are floats.
    """
    versions = {card.version: card for card in cards}
    rows = [_row(card, material) for card in versions.values() for material in MATERIALS.values()]
    return pl.DataFrame(rows, schema=RATE_SCHEMA, orient="row")


def with_rates(asked: pl.LazyFrame, rates: pl.DataFrame) -> pl.LazyFrame:
    """The items, in their order, with all rates that hold for each.

    Adds the columns of `rates` but its tables, and `minutes_per_cm2` of the finish, `margin_rate` of the tier,
    `break_rate` (factor - 1 of the quantity break; 0 below the first), the rates `zero` and `one`, and `rate_problem`:
    a key of the cost model's `PROBLEMS` where the card has no rates for what is asked, else null.

    Args:
        asked: columns `rate_card`, `material`, `finish`, `tier` and `quantity`.
        rates: from `rate_frame`.
    """
    return (
        asked.join(rates.lazy().drop(*_TABLES), on=["rate_card", "material"], how="left", maintain_order="left")
        .join(_break_rates(asked, rates.lazy()), on=["rate_card", "quantity"], how="left", maintain_order="left")
        .with_columns(
            pl.col("break_rate").fill_null(0),
            pl.lit(0).cast(RATE).alias("zero"),
            pl.lit(1).cast(RATE).alias("one"),
            minutes_per_cm2=pl.coalesce(pl.when(finish=finish).then(f"minutes_per_cm2_{finish}") for finish in Finish),
            margin_rate=pl.coalesce(pl.when(tier=tier).then(f"margin_{tier}") for tier in Tier),
            rate_problem=pl.coalesce(pl.when(~fine).then(pl.lit(problem)) for problem, fine in _CHECKS.items()),
        )
    )


def _break_rates(asked: pl.LazyFrame, rates: pl.LazyFrame) -> pl.LazyFrame:
    """`break_rate` for each pair of card and quantity that occurs; null below the first break."""
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


def _row(card: RateCard, material: Material) -> dict[str, object]:
    return {
        "rate_card": card.version,
        "material": material.code,
        "currency": card.currency,
        "metal": material.metal.value,
        "alloy": material.alloy,
        **{name: float(value) for name, value in _drivers(card, material).items()},
        **_rates(card, material),
        **_tables(card),
    }


def _drivers(card: RateCard, material: Material) -> dict[str, Decimal | float]:
    casting, wax = card.casting, card.wax
    flask_mm3 = pi / 4 * float(casting.flask_diameter_mm) ** 2 * float(casting.flask_height_mm)
    return {
        "density_g_cm3": material.density_g_cm3,
        "fineness": material.fineness,
        "casting_loss": casting.loss,
        "sprue_ratio": casting.sprue_ratio,
        "sprue_loss": casting.sprue_loss,
        "flask_litres": flask_mm3 / 1e6,
        "flask_capacity_mm3": flask_mm3 * float(casting.flask_fill),
        "clearance_mm": casting.clearance_mm,
        "wax_g_cm3": wax.density_g_cm3,
        "layer_mm": wax.layer_mm,
        "seconds_per_layer": wax.seconds_per_layer,
        "mm3_per_hour": wax.mm3_per_hour,
        "support_g_cm3": wax.density_g_cm3 if wax.support_per_gram else 0,  # 0: no line of its own
        "minutes_per_piece": card.finishing.minutes_per_piece,
        "detail_share": card.finishing.detail_share,
        "detail_most": card.finishing.detail_most,
        **{f"minutes_per_cm2_{finish}": card.minutes_per_cm2(finish) for finish in Finish},
    }


def _rates(card: RateCard, material: Material) -> dict[str, Decimal]:
    return {
        "pure_per_g": card.metals.per_gram(material.metal),
        "alloy_per_g": card.alloy_per_gram(material.code),
        "material_per_g": card.metal_per_gram(material.code),
        "wax_per_g": card.wax.price_per_gram,
        "support_per_g": card.wax.support_per_gram,
        "printer_per_hour": card.wax.printer_per_hour,
        "investment_per_litre": card.casting.investment_per_litre,
        "per_flask": card.casting.per_flask,
        "finishing_per_hour": card.finishing.per_hour,
        "plating_per_cm2": card.finishing.plating_per_cm2,
        "engraving_setup": card.engraving.setup,
        "engraving_per_character": card.engraving.per_character,
        **card.handling.model_dump(),
        "rush_surcharge": card.terms.rush_factor - 1,
        "minimum_piece": card.terms.minimum_piece,
        "minimum_line": card.terms.minimum_line,
        **{f"margin_{tier}": card.margin(tier) for tier in Tier},
    }


def _tables(card: RateCard) -> dict[str, list[dict[str, object]]]:
    return {
        "quantity_breaks": [row.model_dump() for row in card.terms.quantity_breaks],
        "settings": [
            {**row.model_dump(mode="json"), "up_to_mm": float(row.up_to_mm), "each": row.each} for row in card.settings
        ],
        "stone_prices": [
            {**row.model_dump(mode="json"), "up_to_mm": float(row.up_to_mm), "each": row.each} for row in card.stones
        ],
    }

"""Defines every line of a price once, as an expression over columns: what drives it, in which unit, at which rate."""

from dataclasses import dataclass
from enum import Enum

import polars as pl

from mes.pricing.options import Finish, Tier


class Group(Enum):
    """What a line is paid for; quantity breaks and the rush factor change work, not material."""

    MATERIAL = "material"
    WORK = "work"
    TERMS = "terms"


@dataclass(frozen=True, slots=True)
class LineRule:
    """One line of the breakdown, for all pieces of an item together: amount = quantity x rate.

    `quantity` is an expression over the columns that `physical` makes, in `unit`; none means that the cost model works
    it out of the lines before. `rate` names a column; `driver` is a format string over a priced row.
    """

    code: str
    label: str
    group: Group
    unit: str
    rate: str
    driver: str
    quantity: pl.Expr | None = None

    @property
    def quantity_column(self) -> str:
        """Column of the quantity in a priced row."""
        return f"{self.code}_quantity"

    @property
    def amount_column(self) -> str:
        """Column of the amount in a priced row."""
        return f"{self.code}_amount"


_LAYER_SLACK = 1e-9  # of a layer: 3.2 mm in layers of 0.032 mm are 100, not 101 for the sake of a float's last bit
_col = pl.col

EXTENTS = ("extent_x_mm", "extent_y_mm", "extent_z_mm")
PIECE_SIDES = ("piece_x_mm", "piece_y_mm", "piece_z_mm")

SIZED = {"scale": (_col("longest_side_mm") / pl.max_horizontal(EXTENTS)).fill_null(1.0)}
PIECE = {
    "piece_volume_mm3": _col("volume_mm3") * _col("scale") * _col("scale") * _col("scale"),
    "piece_area_cm2": _col("area_mm2") * _col("scale") * _col("scale") / 100,
    **{side: _col(extent) * _col("scale") for side, extent in zip(PIECE_SIDES, EXTENTS, strict=True)},
}


def _with_clearance(side: str) -> pl.Expr:
    return _col(side) + 2 * _col("clearance_mm")


# `pieces` is the item's quantity and `once` is 1, both as floats; both are null where the item has no price.
PHYSICAL = (
    {
        "mass_g": _col("piece_volume_mm3") / 1000 * _col("density_g_cm3") * _col("pieces"),
        "layers": (pl.min_horizontal(PIECE_SIDES) / _col("layer_mm") - _LAYER_SLACK).ceil() * _col("once"),
        "box_mm3": _with_clearance("piece_x_mm") * _with_clearance("piece_y_mm") * _with_clearance("piece_z_mm"),
        "minutes_per_cm2": pl.coalesce(
            pl.when(finish=finish.value).then(f"minutes_per_cm2_{finish}") for finish in Finish
        ),
        "margin_rate": pl.coalesce(pl.when(tier=tier.value).then(f"margin_{tier}") for tier in Tier),
    },
    {
        "sprue_g": _col("mass_g") * _col("sprue_ratio"),
        "flasks": _col("box_mm3") / _col("flask_capacity_mm3") * _col("pieces"),
        "area_cm2": _col("piece_area_cm2") * _col("pieces"),
        "wax_cm3": _col("piece_volume_mm3") / 1000 * (1 + _col("sprue_ratio")) * _col("pieces"),
        "print_seconds": _col("layers") * _col("seconds_per_layer")
        + _col("piece_volume_mm3") / _col("mm3_per_hour") * 3600,
        "characters": _col("engraving_characters") * _col("pieces"),
    },
    {"poured_g": _col("mass_g") + _col("sprue_g")},
)

QUANTITY_LINES = (
    LineRule(
        "metal", "Pure metal", Group.MATERIAL, "g", "pure_per_g", "{metal_quantity:.2f} g pure {metal}",
        _col("mass_g") * _col("fineness"),
    ),
    LineRule(
        "alloy", "Alloying metal", Group.MATERIAL, "g", "alloy_per_g", "{alloy_quantity:.2f} g {alloy}",
        _col("mass_g") * (1 - _col("fineness")),
    ),
    LineRule(
        "casting_loss", "Casting loss", Group.MATERIAL, "g", "material_per_g",
        "{casting_loss:.1%} of {poured_g:.2f} g poured",
        _col("poured_g") * _col("casting_loss"),
    ),
    LineRule(
        "sprue_loss", "Sprue and button not recovered", Group.MATERIAL, "g", "material_per_g",
        "{sprue_loss:.1%} of {sprue_g:.2f} g sprue and button",
        _col("sprue_g") * _col("sprue_loss"),
    ),
    LineRule(
        "wax_print", "Wax printing", Group.WORK, "h", "printer_per_hour",
        "{layers:.0f} layers and {piece_volume_mm3:.0f} mm3 per piece",
        _col("print_seconds") * _col("pieces") / 3600,
    ),
    LineRule(
        "wax", "Wax", Group.WORK, "g", "wax_per_g", "{wax_cm3:.2f} cm3 wax, sprue included",
        _col("wax_cm3") * _col("wax_g_cm3"),
    ),
    LineRule(
        "investment", "Investment", Group.WORK, "l", "investment_per_litre",
        "{flasks:.4f} of a {flask_litres:.2f} l flask",
        _col("flasks") * _col("flask_litres"),
    ),
    LineRule(
        "flask", "Casting flask", Group.WORK, "flask", "per_flask", "{box_mm3:.0f} mm3 per piece with clearance",
        _col("flasks"),
    ),
    LineRule(
        "finishing", "Finishing", Group.WORK, "h", "finishing_per_hour", "{area_cm2:.2f} cm2 {finish}",
        (_col("area_cm2") * _col("minutes_per_cm2") + _col("minutes_per_piece") * _col("pieces")) / 60,
    ),
    LineRule(
        "plating", "Plating", Group.WORK, "cm2", "plating_per_cm2", "{area_cm2:.2f} cm2 plated",
        pl.when(finish=Finish.PLATED.value).then("area_cm2").otherwise(0 * _col("once")),
    ),
    LineRule(
        "engraving_setup", "Engraving set-up", Group.WORK, "item", "engraving_setup", "once per item",
        pl.when(_col("engraving_characters") > 0).then("once").otherwise(0 * _col("once")),
    ),
    LineRule(
        "engraving", "Engraving", Group.WORK, "character", "engraving_per_character",
        "{engraving_characters} characters per piece",
        _col("characters"),
    ),
    LineRule(
        "setup_model", "Set-up of the model", Group.WORK, "item", "setup_model", "once per item", _col("once"),
    ),
    LineRule(
        "setup_line", "Set-up of the order line", Group.WORK, "item", "setup_line", "once per item", _col("once"),
    ),
    LineRule(
        "quality_control", "Quality control", Group.WORK, "piece", "quality_control", "every piece",
        _col("pieces"),
    ),
    LineRule("packing", "Packing", Group.WORK, "piece", "packing", "every piece", _col("pieces")),
)  # fmt: skip

QUANTITY_BREAK = LineRule(
    "quantity_break", "Quantity break", Group.TERMS, "USD", "break_rate", "work for {quantity} pieces"
)
RUSH = LineRule("rush", "Rush", Group.TERMS, "USD", "rush_rate", "work after the quantity break")
MARGIN = LineRule("margin", "Margin", Group.TERMS, "USD", "margin_rate", "all lines above, {tier} customer")
MINIMUM = LineRule("minimum", "Up to the minimum price", Group.TERMS, "USD", "one", "minimum of {minimum_total} USD")
TERM_LINES = (QUANTITY_BREAK, RUSH, MARGIN, MINIMUM)

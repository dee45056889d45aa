"""Defines every line of a price once, as an expression over columns: what drives it, in which unit, at which rate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import polars as pl

from mes.pricing.options import Finish

Row = Mapping[str, Any]

# Factors, not divisors: by a number, Polars divides a table of one row, and multiplies one of several by its inverse.
CM3_PER_MM3, CM2_PER_MM2 = 1 / 1000, 1 / 100
HOURS_PER_MINUTE, HOURS_PER_SECOND = 1 / 60, 1 / 3600


class Group(Enum):
    """What a line is paid for; quantity breaks and the rush factor change work, not material."""

    MATERIAL = "material"
    WORK = "work"
    TERMS = "terms"


HOW = {
    "metal": "volume x density x pieces x fineness, at the market price",
    "alloy": "volume x density x pieces x (1 - fineness)",
    "casting_loss": "metal poured, with sprue and button, x the share that melting and polishing take",
    "sprue_loss": "sprue and button x the share that recycling does not bring back",
    "wax_print": "layers of the print height x time per layer + volume / speed, per piece",
    "wax": "volume with sprue x density of wax",
    "support_wax": "volume under overhangs x density of wax x pieces",
    "investment": "share of the flask x its volume",
    "flask": "oriented box with clearance / what a flask holds, x pieces",
    "finishing": "area x minutes per cm2 of the finish x detail + minutes per piece",
    "plating": "area x pieces",
    "engraving_setup": "once, whatever the quantity",
    "engraving": "visible characters x pieces",
    "setup_model": "once, whatever the quantity",
    "setup_line": "once, whatever the quantity",
    "quality_control": "every piece",
    "packing": "every piece",
    "stone_setting": "stones x pieces, by setting and size",
    "stones": "stones x pieces, by cut and size",
    "quantity_break": "work, from so many pieces on",
    "rush": "work after the quantity break",
    "margin": "all lines above",
    "minimum": "what lacks to the larger of the line's minimum and the piece's x pieces",
}
"""How the quantity of each line comes about, in words, by the line's code."""


@dataclass(frozen=True, slots=True)
class LineRule:
    """One line of the breakdown, for all pieces of an item together: amount = quantity x rate.

    `quantity` is an expression over the columns that `cost_steps` makes, in `unit`; none means that it is worked out
    of the lines before. `rate` names a column; `driver` is a format string over a priced row, or makes the words.
    """

    code: str
    label: str
    group: Group
    unit: str
    rate: str
    driver: str | Callable[[Row], str]
    quantity: pl.Expr | None = None

    @property
    def quantity_column(self) -> str:
        """Column of the quantity in a priced row."""
        return f"{self.code}_quantity"

    @property
    def amount_column(self) -> str:
        """Column of the amount in a priced row."""
        return f"{self.code}_amount"

    def driver_of(self, row: Row) -> str:
        """What drives the line, in words, for a priced row."""
        return self.driver.format_map(row) if isinstance(self.driver, str) else self.driver(row)


def _finished_area(row: Row) -> str:
    area = f"{row['area_cm2']:.2f} cm2 {row['finish']}"
    return f"{area}, x {row['detail_factor']:.2f} for detail" if row["detail_factor"] != 1 else area


_col = pl.col

# `pieces` is the item's quantity and `once` is 1, both as floats; both are null where the item has no price.
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
        (_col("mass_g") + _col("sprue_g")) * _col("casting_loss"),
    ),
    LineRule(
        "sprue_loss", "Sprue and button not recovered", Group.MATERIAL, "g", "material_per_g",
        "{sprue_loss:.1%} of {sprue_g:.2f} g sprue and button",
        _col("sprue_g") * _col("sprue_loss"),
    ),
    LineRule(
        "wax_print", "Wax printing", Group.WORK, "h", "printer_per_hour",
        "{layers:.0f} layers and {piece_volume_mm3:.0f} mm3 per piece",
        _col("print_seconds") * _col("pieces") * HOURS_PER_SECOND,
    ),
    LineRule(
        "wax", "Wax", Group.WORK, "g", "wax_per_g", "{wax_cm3:.2f} cm3 wax, sprue included",
        _col("wax_cm3") * _col("wax_g_cm3"),
    ),
    LineRule(
        "support_wax", "Support wax", Group.WORK, "g", "support_per_g",
        "{piece_support_mm3:.0f} mm3 under overhangs per piece",
        _col("piece_support_mm3") * CM3_PER_MM3 * _col("support_g_cm3") * _col("pieces"),
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
        "finishing", "Finishing", Group.WORK, "h", "finishing_per_hour", _finished_area,
        (
            _col("area_cm2") * _col("minutes_per_cm2") * _col("detail_factor")
            + _col("minutes_per_piece") * _col("pieces")
        ) * HOURS_PER_MINUTE,
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

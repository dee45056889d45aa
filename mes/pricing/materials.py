"""Knows the alloys that the workshop casts, because their fineness and density decide what a piece weighs and costs."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType

GRAMS_PER_TROY_OUNCE = Decimal("31.1034768")  # exact: international yard and pound agreement, 1959; NIST HB 44 app. C


class Metal(StrEnum):
    """The precious metals whose market price a piece follows."""

    GOLD = "gold"
    SILVER = "silver"
    PLATINUM = "platinum"


@dataclass(frozen=True, slots=True)
class Material:
    """An alloy as cast.

    `fineness` is the share of pure `metal` by mass (ISO 9202), `alloy` what the rest is made of; `min_wall_mm` is the
    thinnest wall that fills reliably when cast.
    """

    code: str
    label: str
    metal: Metal
    alloy: str
    fineness: Decimal
    density_g_cm3: Decimal
    min_wall_mm: Decimal


# Stored quotes are recomputed from this table: a figure that changes is a new material, never an edit.
# Fineness: the standard grades of ISO 9202. Density: tables of specific gravity of jewelry alloys as casting houses
# publish them (Stuller: 14 kt yellow 13.07, sterling 10.40, 18 kt yellow 15.58; other houses: sterling 10.36, 18 kt
# yellow 15.4 to 15.6; Pt-Ru 95/5: 20.7, platinum refiners' data sheets). Walls: casting houses' design guides, which
# ask 0.8 mm of silver, as it freezes fastest of these in a thin section, and 0.6 mm of gold and platinum.
_TABLE = (
    Material(
        "silver925", "sterling silver", Metal.SILVER, "copper", Decimal("0.925"), Decimal("10.36"), Decimal("0.8")
    ),
    Material(
        "gold585",
        "14 kt yellow gold",
        Metal.GOLD,
        "silver, copper and zinc",
        Decimal("0.585"),
        Decimal("13.07"),
        Decimal("0.6"),
    ),
    Material(
        "gold750",
        "18 kt yellow gold",
        Metal.GOLD,
        "silver and copper",
        Decimal("0.750"),
        Decimal("15.45"),
        Decimal("0.6"),
    ),
    Material(
        "platinum950", "platinum 950", Metal.PLATINUM, "ruthenium", Decimal("0.950"), Decimal("20.70"), Decimal("0.6")
    ),
)
MATERIALS = MappingProxyType({material.code: material for material in _TABLE})

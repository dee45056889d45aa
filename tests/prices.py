"""Pieces, wishes and a rate card of round figures, for tests that reckon prices by hand."""

from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from mes.pricing.costs.cost_model import Price
from mes.pricing.geometry import Geometry, Printing
from mes.pricing.options import ItemOptions, parse
from mes.pricing.rates.rate_card import RateCard

# Metal prices that make 100, 10 and 50 USD per gram of pure gold, silver and platinum.
CARD = RateCard.model_validate(
    {
        "name": "hand",
        "valid_from": date(2020, 1, 1),
        "metals": {"gold": "3110.34768", "silver": "311.034768", "platinum": "1555.17384"},
        "alloys": {"silver925": "0.5", "gold585": 1, "gold750": 2, "platinum950": 20},
        "casting": {
            "loss": "0.02",
            "sprue_ratio": "0.5",
            "sprue_loss": "0.1",
            "investment_per_litre": 2,
            "flask_diameter_mm": 100,
            "flask_height_mm": 130,
            "flask_fill": "0.5",
            "clearance_mm": 2,
            "per_flask": 60,
        },
        "wax": {
            "price_per_gram": "0.5",
            "density_g_cm3": "0.9",
            "printer_per_hour": 10,
            "layer_mm": "0.05",
            "seconds_per_layer": "1.8",
            "mm3_per_hour": 10_000,
        },
        "finishing": {
            "per_hour": 60,
            "minutes_per_piece": 5,
            "minutes_per_cm2": {"polished": 2, "satin": 1, "sandblasted": "0.5", "plated": "2.5"},
            "plating_per_cm2": "1.5",
        },
        "settings": [
            {"setting": "prong", "up_to_mm": 3, "each": 4},
            {"setting": "prong", "up_to_mm": 6, "each": 9},
            {"setting": "bezel", "up_to_mm": 3, "each": 8},
        ],
        "stones": [
            {"cut": "round", "up_to_mm": 3, "each": "0.25"},
            {"cut": "round", "up_to_mm": 6, "each": "1.25"},
        ],
        "engraving": {"setup": 10, "per_character": "0.75"},
        "handling": {"setup_model": 12, "setup_line": 4, "quality_control": "2.5", "packing": "3.5"},
        "terms": {
            "quantity_breaks": [{"min_quantity": 5, "factor": "0.9"}, {"min_quantity": 10, "factor": "0.8"}],
            "rush_factor": "1.5",
            "minimum_piece": 20,
            "minimum_line": 50,
            "margin": {"retail": "0.4", "b2b": "0.1", "vip": "0.25"},
            "quote_valid_days": 14,
        },
    }
)

# The same with the rates that cards of the first schema lack.
DETAILED_CARD = RateCard.model_validate(
    CARD.model_dump()
    | {
        "wax": CARD.wax.model_dump() | {"support_per_gram": "0.2"},
        "finishing": CARD.finishing.model_dump() | {"detail_share": "0.1", "detail_most": 5},
    }
)


def measured(
    volume_mm3: float = 1000.0, area_mm2: float = 1200.0, x: float = 10.0, y: float = 20.0, z: float = 30.0, **more: Any
) -> Geometry:
    """A closed body as kernel 1 measured it, unless more is said."""
    return Geometry(12, volume_mm3, area_mm2, (x, y, z), 1, closed=True, open_edges=0, facing="outward", **more)


def printed(height_mm: float, support_mm3: float) -> Printing:
    """How its wax stands."""
    return Printing(height_mm, support_mm3, overhang_mm2=0.0, up=(0.0, 0.0, 1.0), layer_areas_mm2=(1.0,))


BLOCK = measured()


def in_cents(amount: Decimal) -> Decimal:
    """Half up, as invoices do."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def options(**wishes: Any) -> ItemOptions:
    """A polished piece of 18 kt gold, if nothing else is wished."""
    return parse({"material": "gold750", "finish": "polished", "quantity": 1, **wishes})


def stone(**wishes: Any) -> dict[str, Any]:
    """Three small round stones of ours in prongs, if nothing else is wished."""
    return {"cut": "round", "size_mm": 2.5, "count": 3, "setting": "prong", "supplied_by": "workshop", **wishes}


def amount(made: Price, *codes: str) -> Decimal:
    """The sum of a price's lines with these codes."""
    return sum((line.amount for line in made.lines if line.code in codes), Decimal(0))

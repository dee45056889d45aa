"""Tells by a hash which unit costs a change of rates moves, so that all others stay as they are."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mes.pricing.costs import cost_lines, cost_model, cost_steps, rate_frame, rounding, stone_lines
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, Tier
from mes.pricing.rates.rate_card import RateCard

# what a single plain piece for a retail customer does not depend on; any other rate is taken to matter
_NEVER_MATTER = {
    "rate_card",
    "quantity_breaks",
    "settings",
    "stone_prices",
    "engraving_setup",
    "engraving_per_character",
    "rush_surcharge",
    *(f"margin_{tier}" for tier in Tier if tier is not Tier.RETAIL),
}

# Hash of the cost model's program text: nobody has to remember that a change of it moves all prices. It is taken when
# the program starts, as its files may be replaced while it runs.
_DEFINITION = hashlib.sha256(
    b"".join(
        Path(str(part.__file__)).read_bytes()
        for part in (cost_lines, cost_model, cost_steps, rate_frame, rounding, stone_lines)
    )
).hexdigest()


@dataclass(frozen=True, slots=True)
class Pair:
    """A metal and a finish."""

    material: str
    finish: str


def rate_hashes(card: RateCard) -> dict[Pair, str]:
    """For each metal and finish, a hash of all that its unit costs depend on beside the geometry.

    These are the rates that matter for it, and the definition of the cost model itself.
    """
    rates = {row["material"]: row for row in rate_frame.rate_frame([card]).iter_rows(named=True)}
    return {Pair(material, finish): _hash(rates[material], finish) for material in MATERIALS for finish in Finish}


def _hash(rates: Mapping[str, object], finish: Finish) -> str:
    others = tuple(f"_{other}" for other in Finish if other is not finish)
    mattering = {
        name: str(value)
        for name, value in rates.items()
        if name not in _NEVER_MATTER
        and not name.endswith(others)
        and (finish is Finish.PLATED or not name.startswith("plating"))
    }
    content = json.dumps([_DEFINITION, mattering], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]

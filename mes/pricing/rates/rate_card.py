"""Holds all prices and rates of the workshop in dated versions, so that any old price can be made again to the cent."""

import hashlib
import json
from datetime import date
from decimal import Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mes.pricing.materials import GRAMS_PER_TROY_OUNCE, MATERIALS, Metal
from mes.pricing.options import Cut, Finish, Setting, Tier

RATE_DECIMALS = 6  # the cost model multiplies rates of this many decimals exactly
_RATE_STEP = Decimal(1).scaleb(-RATE_DECIMALS)
_VERSION_DIGITS = 12  # of the SHA-256: 48 bits, one chance in 10^8 of a clash among 2,000 cards
# rates that cards of the first schema lack: while one is neutral, prices and version are those of a card without it
_ADDED_LATER = (("wax", "support_per_gram"), ("finishing", "detail_share"), ("finishing", "detail_most"))

Rate = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=RATE_DECIMALS)]
Positive = Annotated[Decimal, Field(gt=0, le=1_000_000, decimal_places=RATE_DECIMALS)]
Share = Annotated[Decimal, Field(ge=0, lt=1, decimal_places=RATE_DECIMALS)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MetalPrices(_Part):
    """Market prices of pure metal, USD per troy ounce."""

    gold: Positive
    silver: Positive
    platinum: Positive

    def per_gram(self, metal: Metal) -> Decimal:
        """USD per gram of pure `metal`, to `RATE_DECIMALS`."""
        ounce: Decimal = getattr(self, metal.value)
        return (ounce / GRAMS_PER_TROY_OUNCE).quantize(_RATE_STEP)


class AlloyPrices(_Part):
    """What the rest of each material costs, USD per gram of alloying metal."""

    silver925: Rate
    gold585: Rate
    gold750: Rate
    platinum950: Rate


class Casting(_Part):
    """Losses are shares of the metal's mass; a flask is a cylinder, of which `flask_fill` can hold pieces and gaps."""

    loss: Share = Field(description="Of the metal poured, gone in melting, grinding and polishing.")
    sprue_ratio: Rate = Field(description="Mass of sprue and button over the mass of the pieces.")
    sprue_loss: Share = Field(description="Of the sprue and button, not recovered by recycling.")
    investment_per_litre: Rate
    flask_diameter_mm: Positive
    flask_height_mm: Positive
    flask_fill: Annotated[Decimal, Field(gt=0, le=1, decimal_places=RATE_DECIMALS)]
    clearance_mm: Rate = Field(description="Added to each side of a piece's bounding box: the gap to its neighbour.")
    per_flask: Rate = Field(description="Treeing, investing, burn-out, pouring and knocking out of one flask.")


class Wax(_Part):
    """The wax printer: time is layers x seconds_per_layer + volume / mm3_per_hour, for one piece of a full plate."""

    price_per_gram: Rate
    support_per_gram: Rate = Field(
        Decimal(0), description="Of the wax under overhangs, which is melted away; 0: within price_per_gram."
    )
    density_g_cm3: Positive
    printer_per_hour: Rate
    layer_mm: Positive
    seconds_per_layer: Rate
    mm3_per_hour: Positive


class FinishMinutes(_Part):
    """Minutes of bench work per cm2 of surface, by finish."""

    polished: Rate
    satin: Rate
    sandblasted: Rate
    plated: Rate


class Finishing(_Part):
    """Bench work: minutes per piece (sprue off, filing) and per cm2 of surface, and what plating adds.

    A cm2 of a richly shaped piece takes longer: its minutes are those of the finish times
    1 + detail_share x (detail - 1), where `detail` is total absolute mean curvature over that of a sphere of the same
    area, counted from 1 to `detail_most`.
    """

    per_hour: Rate
    minutes_per_piece: Rate
    minutes_per_cm2: FinishMinutes
    plating_per_cm2: Rate
    detail_share: Rate = Decimal(0)
    detail_most: Annotated[Decimal, Field(ge=1, le=1000, decimal_places=RATE_DECIMALS)] = Decimal(1)


class SettingRate(_Part):
    """Labour to set one stone of at most `up_to_mm`."""

    setting: Setting
    up_to_mm: Positive
    each: Rate


class StonePrice(_Part):
    """Price of one stone of at most `up_to_mm`."""

    cut: Cut
    up_to_mm: Positive
    each: Rate


class Engraving(_Part):
    """Set-up once per item, and each character on each piece."""

    setup: Rate
    per_character: Rate


class Handling(_Part):
    """Set-ups are paid once per item (order line) whatever its quantity; the rest per piece."""

    setup_model: Rate
    setup_line: Rate
    quality_control: Rate
    packing: Rate


class QuantityBreak(_Part):
    """From `min_quantity` pieces of one item on, the work costs `factor` times as much."""

    min_quantity: Annotated[int, Field(ge=2)]
    factor: Annotated[Decimal, Field(gt=0, le=1, decimal_places=RATE_DECIMALS)]


class Margins(_Part):
    """Margin on cost by customer tier: 0.4 adds 40 %."""

    retail: Rate
    b2b: Rate
    vip: Rate


class Terms(_Part):
    """What is agreed with customers rather than paid for."""

    quantity_breaks: tuple[QuantityBreak, ...] = ()
    rush_factor: Annotated[Decimal, Field(ge=1, le=100, decimal_places=RATE_DECIMALS)]
    minimum_piece: Rate
    minimum_line: Rate
    margin: Margins
    quote_valid_days: Annotated[int, Field(ge=1, le=365)]

    @model_validator(mode="after")
    def _breaks_rise(self) -> "Terms":
        pairs = list(zip(self.quantity_breaks, self.quantity_breaks[1:], strict=False))
        if any(low.min_quantity >= high.min_quantity or low.factor < high.factor for low, high in pairs):
            raise ValueError("quantity_breaks must rise in min_quantity and not rise in factor; sort and correct them")
        return self


class RateCard(_Part):
    """All rates that hold from `valid_from` (inclusive) until `valid_to` (exclusive; none: open end), days in UTC."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    valid_from: date
    valid_to: date | None = None
    currency: Literal["USD"] = "USD"
    metals: MetalPrices
    alloys: AlloyPrices
    casting: Casting
    wax: Wax
    finishing: Finishing
    settings: tuple[SettingRate, ...]
    stones: tuple[StonePrice, ...]
    engraving: Engraving
    handling: Handling
    terms: Terms

    @model_validator(mode="after")
    def _is_consistent(self) -> "RateCard":
        if self.valid_to is not None and self.valid_to <= self.valid_from:
            raise ValueError("valid_to must be later than valid_from")
        if len({(row.setting, row.up_to_mm) for row in self.settings}) < len(self.settings):
            raise ValueError("settings names a setting and size twice; keep one of them")
        if len({(row.cut, row.up_to_mm) for row in self.stones}) < len(self.stones):
            raise ValueError("stones names a cut and size twice; keep one of them")
        return self

    @cached_property
    def version(self) -> str:
        """Short hash of everything that a price depends on; when the card ends is not part of it."""
        priced_by = self.model_dump(exclude={"valid_to"})
        for part, name in _ADDED_LATER:
            if priced_by[part][name] == type(getattr(self, part)).model_fields[name].default:
                del priced_by[part][name]
        content = json.dumps(priced_by, default=_canonical, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:_VERSION_DIGITS]

    def __copy__(self) -> Self:
        """Without the version, as `model_copy` changes what it was made of."""
        copied = super().__copy__()
        copied.__dict__.pop("version", None)
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """As `__copy__`."""
        copied = super().__deepcopy__(memo)
        copied.__dict__.pop("version", None)
        return copied

    def margin(self, tier: Tier) -> Decimal:
        """Margin on cost of a customer tier."""
        margin: Decimal = getattr(self.terms.margin, tier.value)
        return margin

    def minutes_per_cm2(self, finish: Finish) -> Decimal:
        """Bench minutes per cm2 of a finish."""
        minutes: Decimal = getattr(self.finishing.minutes_per_cm2, finish.value)
        return minutes

    def alloy_per_gram(self, material: str) -> Decimal:
        """USD per gram of what is not pure metal in `material`."""
        price: Decimal = getattr(self.alloys, material)
        return price

    def metal_per_gram(self, material: str) -> Decimal:
        """USD per gram of `material` as cast, to `RATE_DECIMALS`."""
        alloy = MATERIALS[material]
        pure = alloy.fineness * self.metals.per_gram(alloy.metal)
        return (pure + (1 - alloy.fineness) * self.alloy_per_gram(material)).quantize(_RATE_STEP)


def _canonical(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")  # 1225 and 1225.00 are one price
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be part of a rate card")

"""Says what a customer may ask of an item, so that what cannot be made is refused in words, unpriced."""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails

from mes.errors import MesError
from mes.pricing.materials import MATERIALS

LONGEST_SIDE_MAX_MM = 1000.0  # no jewelry is a metre long; a model that is was saved in another unit
LONGEST_SIDE_DECIMALS = 4
QUANTITY_MAX = 10_000
STONE_KINDS_MAX = 50
_SHOWN_CHARACTERS = 40  # of a wrong value in a message
_STONE = re.compile(
    r"(?P<cut>[a-z]+)\s+(?P<size_mm>\d+(\.\d+)?)\s*mm\s+x\s*(?P<count>\d+)\s+(?P<setting>[a-z]+)"
    r"(\s+(?P<supplied_by>customer|workshop))?",
    re.IGNORECASE,
)


class BadOptions(MesError):
    """These options of an item cannot be made."""

    code, http_status = "bad_options", 422


class Finish(StrEnum):
    """How the surface leaves the workshop."""

    POLISHED = "polished"
    SATIN = "satin"
    SANDBLASTED = "sandblasted"
    PLATED = "plated"


class Tier(StrEnum):
    """What kind of customer orders; decides the margin."""

    RETAIL = "retail"
    B2B = "b2b"
    VIP = "vip"


class Cut(StrEnum):
    """Shape of a stone."""

    ROUND = "round"
    OVAL = "oval"
    PRINCESS = "princess"
    EMERALD = "emerald"
    MARQUISE = "marquise"
    PEAR = "pear"
    CUSHION = "cushion"
    BAGUETTE = "baguette"


class Setting(StrEnum):
    """How a stone is held."""

    PRONG = "prong"
    BEZEL = "bezel"
    PAVE = "pave"
    CHANNEL = "channel"
    FLUSH = "flush"


class SuppliedBy(StrEnum):
    """Who brings the stones; the customer's own are only set."""

    WORKSHOP = "workshop"
    CUSTOMER = "customer"


class Side(StrEnum):
    """Where an engraving goes."""

    INSIDE = "inside"
    OUTSIDE = "outside"
    FRONT = "front"
    BACK = "back"


class Part(BaseModel):
    """A part of what somebody asks for: nothing unknown, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Stone(Part):
    """Equal stones of one piece: `count` of them per piece, `size_mm` being a stone's longest side."""

    cut: Cut
    size_mm: Annotated[float, Field(gt=0, le=50, allow_inf_nan=False, strict=True)]
    count: Annotated[int, Field(ge=1, le=1000, strict=True)]
    setting: Setting
    supplied_by: SuppliedBy


class Engraving(Part):
    """A text cut into every piece of the item."""

    text: Annotated[str, Field(min_length=1, max_length=100)]
    side: Side

    @field_validator("text")
    @classmethod
    def _can_be_engraved(cls, text: str) -> str:
        if not text.isprintable() or not text.strip():
            raise ValueError("must hold at least one visible character and no line breaks or control characters")
        return text.strip()

    @property
    def characters(self) -> int:
        """Characters that are cut; blanks cost nothing."""
        return sum(not character.isspace() for character in self.text)


class PieceOptions(Part):
    """What a piece is to be, and how many of it; `longest_side_mm` is the piece's, none keeps the model's size."""

    material: str
    finish: Finish
    quantity: Annotated[int, Field(ge=1, le=QUANTITY_MAX, strict=True)]
    longest_side_mm: Annotated[float, Field(gt=0, le=LONGEST_SIDE_MAX_MM, allow_inf_nan=False, strict=True)] | None = (
        None
    )
    stones: Annotated[tuple[Stone, ...], Field(max_length=STONE_KINDS_MAX)] = ()
    engraving: Engraving | None = None

    @field_validator("material")
    @classmethod
    def _is_cast_here(cls, material: str) -> str:
        if material not in MATERIALS:
            raise ValueError(f"unknown value {_shown(material)}; known are {', '.join(MATERIALS)}")
        return material

    @field_validator("longest_side_mm")
    @classmethod
    def _as_it_is_kept(cls, longest_side_mm: float | None) -> float | None:
        """Rounded as the database keeps it, so that a quote and its order are of the same size."""
        if longest_side_mm is None:
            return None
        if not (kept := round(longest_side_mm, LONGEST_SIDE_DECIMALS)):
            raise ValueError(f"is too small: give at least {10**-LONGEST_SIDE_DECIMALS} mm")
        return kept

    @field_validator("stones", mode="before")
    @classmethod
    def _none_is_no_stones(cls, stones: object) -> object:
        return () if stones is None else stones

    @property
    def engraving_characters(self) -> int:
        """Characters to engrave on each piece."""
        return self.engraving.characters if self.engraving else 0


class ItemOptions(PieceOptions):
    """All that the price of one item depends on beside its model and the rates."""

    rush: Annotated[bool, Field(strict=True)] = False
    tier: Tier = Tier.RETAIL


def parse(options: Mapping[str, Any]) -> ItemOptions:
    """Check the options of one item.

    Raises:
        BadOptions: naming every field at fault, what is wrong with it and which values are known.
    """
    try:
        return ItemOptions.model_validate(options)
    except ValidationError as error:
        faults = "; ".join(fault_in_words(fault) for fault in error.errors(include_url=False))
        raise BadOptions(f"The item's options cannot be used. {faults}") from None


def stone(text: str) -> dict[str, Any]:
    """The fields of a `Stone` from `round 1.5 mm x 8 prong`, with `customer` behind for their own, or from JSON.

    Raises:
        BadOptions: it is neither; values are checked by `parse`.
    """
    if found := _STONE.fullmatch(text.strip()):
        words = {name: word.lower() for name, word in found.groupdict(SuppliedBy.WORKSHOP.value).items()}
        return words | {"size_mm": float(words["size_mm"]), "count": int(words["count"])}
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise BadOptions(f"{_shown(text)} is no stone: write it as 'round 1.5 mm x 8 prong', or as a JSON object.")
    return {"supplied_by": SuppliedBy.WORKSHOP.value} | fields


def fault_in_words(fault: ErrorDetails) -> str:
    """One fault that pydantic found, as a sentence: `finish: unknown value 'shiny'; known are polished, satin, ...`."""
    where = ".".join(str(part) for part in fault["loc"]) or "all of it"
    context = fault.get("ctx", {})
    match fault["type"]:
        case "enum":
            known = str(context["expected"]).replace("'", "").replace(" or ", ", ")
            return f"{where}: unknown value {_shown(fault['input'])}; known are {known}"
        case "missing":
            return f"{where}: is missing, give it"
        case "extra_forbidden":
            return f"{where}: is not known here, remove it or correct its name"
        case "value_error":
            return f"{where}: {context['error']}"
        case _:
            return f"{where}: {fault['msg'][:1].lower()}{fault['msg'][1:]}, not {_shown(fault['input'])}"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."

"""Warns of rates that are allowed but look like a slip: a moved point, a swapped column, a gap in validity."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from mes.pricing.materials import GRAMS_PER_TROY_OUNCE, Metal
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_changes import Change, Comparison, all_fields
from mes.pricing.rates.rate_validity import Span, spans, together

# from month to month since 1960 gold and platinum moved by more once each, silver 7 times (World Bank's monthly prices)
SUSPICIOUS_PERCENT = 30
_Held = tuple[Span, str | None]  # with the version of the card that holds
_POWERS_OF_TEN = {Decimal(10) ** power for power in (-3, -2, -1, 1, 2, 3)}
_OUNCE_TOLERANCE = Decimal("0.2")  # the price per gram may be of another day
# beyond these a rate is rather a slip than a workshop's own; the words say in which unit it is
_USUAL = {
    "casting.loss": ("0", "0.15", "it is a share: 0.03 is 3 %"),
    "casting.sprue_loss": ("0", "0.15", "it is a share: 0.02 is 2 %"),
    "casting.sprue_ratio": ("0.1", "3", "it is the mass of the sprue over that of the pieces"),
    "casting.flask_diameter_mm": ("40", "300", "it is in millimetres"),
    "casting.flask_height_mm": ("40", "400", "it is in millimetres"),
    "wax.density_g_cm3": ("0.8", "1.3", "it is the wax's, not the metal's: 0.9 to 1.2 g/cm3"),
    "wax.layer_mm": ("0.005", "0.2", "it is in millimetres, not micrometres"),
    "terms.rush_factor": ("1", "3", "it is a factor: 1.3 adds 30 %"),
    "terms.margin.retail": ("0", "2", "it is a share: 0.4 adds 40 %"),
    "terms.margin.b2b": ("0", "2", "it is a share: 0.4 adds 40 %"),
    "terms.margin.vip": ("0", "2", "it is a share: 0.4 adds 40 %"),
}


@dataclass(frozen=True, slots=True)
class RateWarning:
    """Something to look at before a card is activated: what kind, of which card (a version) and field, and in words."""

    kind: str
    field: str
    card: str
    message: str


def of_rates(comparison: Comparison) -> list[RateWarning]:
    """Doubts about the rates that a card changes, or about all of them where it has none to be compared with."""
    card = comparison.card
    changed = comparison.changes if comparison.against else all_fields(card)
    found = [
        RateWarning(kind, change.field, card.version, words) for change in changed for kind, words in _doubts(change)
    ]
    if any(change.field.startswith("metals.") for change in changed):
        found += [RateWarning("order_of_metals", "metals", card.version, words) for words in _order_of_metals(card)]
    return found


def of_validity(stored: Sequence[RateCard], cards: Sequence[RateCard]) -> list[RateWarning]:
    """Days that no card holds once `cards` are active, and overlaps in which one of them holds only in part.

    That a card takes over from one without an end that began earlier is how cards follow each other: no doubt.
    """
    ours = {card.version for card in cards}
    others = {card.valid_from: card for card in stored if card.version not in ours}
    after = [(span, span.card.version if span.card else None) for span in spans(together(stored, cards))]
    starts = [span.start for span, _ in after]
    found = []
    for card in cards:
        end = bisect_right(starts, card.valid_to) if card.valid_to else len(after)
        near = [held for held in after[bisect_right(starts, card.valid_from) - 1 : end] if held[1] is not None]
        found += [RateWarning("overlap", "", card.version, words) for words in _overlaps(card, near, others, ours)]
    return [*found, *_gaps(after, ours)]


def grouped(warnings: Iterable[RateWarning]) -> list[RateWarning]:
    """One warning of each kind and field, with the number of further cards: a file may bring hundreds of cards."""
    groups: dict[tuple[str, str], list[RateWarning]] = {}
    for warning in warnings:
        groups.setdefault((warning.kind, warning.field), []).append(warning)
    return [_with_count(same) for same in groups.values()]


def _with_count(same: Sequence[RateWarning]) -> RateWarning:
    more = len(same) - 1
    words = f" The same kind of doubt holds for {more} more {'card' if more == 1 else 'cards'}." if more else ""
    return replace(same[0], message=same[0].message + words)


def _doubts(change: Change) -> Iterator[tuple[str, str]]:
    move = f"{change.field} moves from {change.old} to {change.new}"
    if ratio := _ratio(change):
        moved = change.percent
        if ratio in _POWERS_OF_TEN:
            yield "decimal_point", f"{move}, a power of ten: is the point in its place?"
        elif change.field.startswith("metals.") and moved is not None and abs(moved) >= SUSPICIOUS_PERCENT:
            yield "metal_move", f"{move} USD per troy ounce, by {moved:+} %.{_per_gram(ratio)}"
    low, high, unit = _USUAL.get(change.field, (None, None, ""))
    if isinstance(change.new, Decimal) and low and high and not Decimal(low) <= change.new <= Decimal(high):
        yield "unusual_rate", f"{change.field} is {change.new}, where {low} to {high} is usual: {unit}."


def _ratio(change: Change) -> Decimal | None:
    if not isinstance(change.old, Decimal) or not isinstance(change.new, Decimal) or not change.old:
        return None
    return change.new / change.old


def _per_gram(ratio: Decimal) -> str:
    if abs(ratio * GRAMS_PER_TROY_OUNCE - 1) > _OUNCE_TOLERANCE:
        return ""
    return f" Is it a price per gram? A troy ounce has {GRAMS_PER_TROY_OUNCE} g."


def _order_of_metals(card: RateCard) -> Iterator[str]:
    silver = card.metals.silver
    for metal in (Metal.GOLD, Metal.PLATINUM):
        price: Decimal = getattr(card.metals, metal.value)
        if silver >= price:
            yield f"Silver ({silver}) costs as much as {metal.value} ({price}) or more: are two columns swapped?"


def _overlaps(
    card: RateCard, near: Sequence[_Held], others: Mapping[date, RateCard], ours: AbstractSet[str]
) -> Iterator[str]:
    """`near` are the spans from the card's first day to its end, `others` the cards that stay, by their first day."""
    version_of_card = card.version
    first = next((span for span, version in near if version == version_of_card), None)
    if first is None:
        yield f"The {_named(card)} would hold on no day: cards that begin later, or were activated later, cover it all."
        return
    if card.valid_from in others and first.start == card.valid_from:
        yield f"The {_named(card)} takes the place of {_named(others[card.valid_from])}, which begins on the same day."
    for span, version in near:
        if span.card is None or version in ours or span.start == card.valid_from:
            continue
        if span.start != card.valid_to:
            yield f"From {span.start} on, {_named(span.card)} holds in place of {_named(card)}, as it begins later."
            return
        if span.card.valid_from < card.valid_from:
            yield f"When {_named(card)} ends on {span.start}, {_named(span.card)} holds again, as it has not ended."


def _gaps(after: Sequence[_Held], ours: AbstractSet[str]) -> Iterator[RateWarning]:
    for before, (gap, holder), later in zip([None, *after], after, [*after[1:], None], strict=False):
        beside = [held[1] for held in (before, later) if held is not None and held[1] in ours]
        if holder is None and beside and beside[0]:
            until = f"until {gap.end}" if gap.end else "on"
            words = (
                f"No card holds from {gap.start} {until}: what is ordered then has no price. Load one that covers it."
            )
            yield RateWarning("gap", "", beside[0], words)


def _named(card: RateCard) -> str:
    return f'card {card.version} "{card.name}" (from {card.valid_from})'

"""Puts together what people look at before they activate rate cards: changes, moves of prices, doubts, orders."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from sqlalchemy import Connection

from mes.pricing import price_moves
from mes.pricing.price_moves import MaterialMoves, Unapproved
from mes.pricing.rates import rate_store, rate_warnings
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_changes import Comparison, MetalMoves, changes, compare, holding, metal_moves
from mes.pricing.rates.rate_validity import together
from mes.pricing.rates.rate_warnings import RateWarning


@dataclass(frozen=True, slots=True)
class Moves:
    """By how much prices move, over which pieces."""

    source: str
    materials: tuple[MaterialMoves, ...]


@dataclass(frozen=True, slots=True)
class Proposal:
    """Rate cards that may be activated, against what holds now.

    Attributes:
        comparisons: each card with the one that is valid at the same time now, oldest first.
        shown: the one that people look at field by field: the card of today, else the next to come, else the last.
        is_news: whether any of the cards is not active with these dates yet.
        in_force: the card of today, once the cards are active; None where there is none, and between any two cards.
        metals: how the metals' prices run through the cards.
        moves: of prices from the card that `shown` is compared with; None where there is none to compare with.
        warnings: one per kind and field.
        unapproved: the orders that new prices can still reach.
        last_activation: as it was when this was put together.
    """

    comparisons: tuple[Comparison, ...]
    shown: Comparison
    is_news: bool
    in_force: RateCard | None
    metals: tuple[MetalMoves, ...]
    moves: Moves | None
    warnings: tuple[RateWarning, ...]
    unapproved: Unapproved
    last_activation: tuple[str, datetime] | None


def propose(conn: Connection, cards: Sequence[RateCard], now: datetime) -> Proposal:
    """What it would mean to activate `cards` (one or more, oldest first) at `now`; stores nothing."""
    today = now.astimezone(UTC).date()
    active = rate_store.every(conn)
    known = {card.version: card for card in active}
    compared = tuple(compare(active, card, today) for card in cards)
    doubts = [doubt for one in compared for doubt in rate_warnings.of_rates(one)]
    return _proposal(
        conn,
        compared,
        _shown(compared, today),
        [*doubts, *rate_warnings.of_validity(active, cards)],
        is_news=any(known.get(card.version) != card for card in cards),
        in_force=holding(together(active, cards), today),
    )


def between(conn: Connection, old: RateCard, new: RateCard) -> Proposal:
    """What lies between two cards, whenever they are valid."""
    comparison = Comparison(new, old, changes(old, new))
    return _proposal(
        conn,
        (comparison,),
        comparison,
        rate_warnings.of_rates(comparison),
        is_news=bool(comparison.changes),
        in_force=None,
    )


def _proposal(
    conn: Connection,
    compared: tuple[Comparison, ...],
    shown: Comparison,
    doubts: Sequence[RateWarning],
    *,
    is_news: bool,
    in_force: RateCard | None,
) -> Proposal:
    return Proposal(
        comparisons=compared,
        shown=shown,
        is_news=is_news,
        in_force=in_force,
        metals=tuple(metal_moves(compared)),
        moves=_moves(conn, shown),
        warnings=tuple(rate_warnings.grouped(doubts)),
        unapproved=price_moves.unapproved(conn),
        last_activation=rate_store.last_activation(conn),
    )


def _moves(conn: Connection, shown: Comparison) -> Moves | None:
    if shown.against is None:
        return None
    pieces = price_moves.reference_pieces(conn)
    return Moves(pieces.source, tuple(price_moves.moves(pieces, shown.against, shown.card)))


def _shown(compared: Sequence[Comparison], today: date) -> Comparison:
    card_of_today = holding([one.card for one in compared], today)
    if card_of_today is None:
        return next((one for one in compared if one.card.valid_from > today), compared[-1])
    return next(one for one in compared if one.card is card_of_today)

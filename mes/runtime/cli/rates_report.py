"""Shows what rate cards change, and by how much they move prices, to people as tables and to machines as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from mes.pricing.price_moves import MaterialMoves
from mes.pricing.rate_proposal import Proposal
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_changes import Comparison, Value
from mes.pricing.rates.rate_store import StoredCard

_WIDTH_OF_LOGS = 120
_PIECE_WIDTH = 40


def print_proposal(proposal: Proposal, file: IO[str]) -> None:
    """Print all of it to `file`, a terminal or not."""
    console = Console(file=file, width=None if file.isatty() else _WIDTH_OF_LOGS, highlight=False, markup=False)
    if len(proposal.comparisons) > 1:
        _print_summary(console, proposal)
    _print_changes(console, proposal.shown)
    if proposal.in_force is not None and proposal.shown.changes:
        _print_in_force(console, proposal)
    if proposal.moves is not None and proposal.shown.moves_rates:
        console.print(f"\nPrices of {proposal.moves.source}, in each material:")
        _print_moves(console, proposal.moves.materials)
    _print_orders(console, proposal)
    for warning in proposal.warnings:
        console.print(f"! {warning.message}", soft_wrap=True)


def proposal_as_dict(proposal: Proposal) -> dict[str, Any]:
    """All of it as plain JSON types: amounts are strings, moves are strings in percent."""
    return {
        "cards": [_comparison(one) for one in proposal.comparisons],
        "shown": proposal.shown.card.version,
        "in_force": proposal.in_force.version if proposal.in_force else None,
        "metals": _plain([asdict(moves) for moves in proposal.metals]),
        "price_moves": _price_moves(proposal),
        "warnings": [asdict(warning) for warning in proposal.warnings],
        "unapproved_orders": asdict(proposal.unapproved),
    }


def print_cards(cards: Sequence[StoredCard], in_force: str | None, file: IO[str]) -> None:
    """One line per card, oldest first."""
    for stored in cards:
        card, prices = stored.card, stored.card.metals
        print(
            f"{stored.card_id}  {state(stored, in_force):<8}  {_dates(card)}  gold {prices.gold}, "
            f"silver {prices.silver}, platinum {prices.platinum} USD/ozt  {card.name}",
            file=file,
        )


def cards_as_list(cards: Sequence[StoredCard], in_force: str | None) -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {
            "version": stored.card_id,
            "state": state(stored, in_force),
            **_plain(stored.card.model_dump(include={"name", "valid_from", "valid_to", "metals"})),
            "loaded_at": stored.loaded_at.isoformat(),
            "activated_at": stored.activated_at.isoformat() if stored.activated_at else None,
        }
        for stored in cards
    ]


def state(stored: StoredCard, in_force: str | None) -> str:
    """Whether a card is a draft, active, or the active one that prices are made with now."""
    if stored.activated_at is None:
        return "draft"
    return "in force" if stored.card_id == in_force else "active"


def _print_summary(console: Console, proposal: Proposal) -> None:
    cards = [one.card for one in proposal.comparisons]
    fresh = sum(one.against is None for one in proposal.comparisons)
    moved = sum(one.moves_rates for one in proposal.comparisons)
    console.print(
        f"{len(cards)} cards, from {cards[0].valid_from} to {cards[-1].valid_to or 'open end'}: {fresh} for times "
        f"that no card holds, {moved} that change rates, {len(cards) - fresh - moved} that do not."
    )
    table = _table(
        "metal", "first, USD/ozt", "last, USD/ozt", "cards that move it", "least", "most", right=(1, 2, 3, 4, 5)
    )
    for metal in proposal.metals:
        moves = (str(metal.moved), _percent(metal.least), _percent(metal.most))
        table.add_row(metal.metal.value, str(metal.first), str(metal.last), *moves)
    console.print(table)
    console.print()


def _print_changes(console: Console, one: Comparison) -> None:
    if one.against is None:
        console.print(f"{_named(one.card)}: no card is valid at that time, so there is nothing to compare it with.")
        return
    if not one.changes:
        console.print(f"{_named(one.card)}: this is the card that holds already, nothing differs.")
        return
    console.print(f"{_named(one.card)}, compared with {_named(one.against)}:")
    table = _table("field", "old", "new", "change", right=(1, 2, 3))
    for change in one.changes:
        table.add_row(change.field, _value(change.old), _value(change.new), _percent(change.percent))
    console.print(table)


def _print_in_force(console: Console, proposal: Proposal) -> None:
    if proposal.in_force is proposal.shown.card:
        console.print("It will be the card in force today.")
    elif proposal.in_force is not None:
        console.print(f"The card in force today stays {_named(proposal.in_force)}.")


def _print_moves(console: Console, materials: Sequence[MaterialMoves]) -> None:
    table = _table(
        "material", "items", "least", "median", "most", "for example", "old, USD", "new, USD", right=(1, 2, 3, 4, 6, 7)
    )
    for one in materials:
        moves = (_percent(one.least), _percent(one.median), _percent(one.most))
        for number, example in enumerate(one.examples or (None,)):
            what = (
                f"{example.quantity} x {example.piece[:_PIECE_WIDTH]}, {example.finish}"
                if example
                else "no price by both"
            )
            prices = (str(example.old), str(example.new)) if example else ("", "")
            table.add_row(*((one.material, str(one.pieces), *moves) if not number else ("",) * 5), what, *prices)
    console.print(table)


def _print_orders(console: Console, proposal: Proposal) -> None:
    priced, unpriced = proposal.unapproved.priced, proposal.unapproved.unpriced
    console.print(
        f"\n{priced + unpriced} open {'order is' if priced + unpriced == 1 else 'orders are'} not approved yet: "
        f"{priced} with a price, {unpriced} without. Quotes that were made stay as they are.",
        soft_wrap=True,
    )


def _table(*columns: str, right: Sequence[int] = ()) -> Table:
    table = Table(*columns, box=None, pad_edge=False)
    for place, column in enumerate(table.columns):
        column.justify = "right" if place in right else "left"
        column.overflow = "fold"
    return table


def _comparison(one: Comparison) -> dict[str, Any]:
    changes = [
        {"field": change.field, "old": change.old, "new": change.new, "percent": change.percent}
        for change in one.changes
    ]
    return {
        "version": one.card.version,
        **_plain(one.card.model_dump(include={"name", "valid_from", "valid_to"})),
        "against": one.against.version if one.against else None,
        "changes": _plain(changes),
    }


def _price_moves(proposal: Proposal) -> dict[str, Any] | None:
    if proposal.moves is None:
        return None
    materials = [
        asdict(one) | {"examples": [asdict(example) | {"percent": example.percent} for example in one.examples]}
        for one in proposal.moves.materials
    ]
    return {"source": proposal.moves.source, "materials": _plain(materials)}


def _plain(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Decimal | date | datetime) else value


def _named(card: RateCard) -> str:
    return f'card {card.version} "{card.name}" ({_dates(card)})'


def _dates(card: RateCard) -> str:
    return f"{card.valid_from} to {card.valid_to or 'open'}"


def _value(value: Value) -> str:
    return "-" if value is None else str(value)


def _percent(move: Decimal | None) -> str:
    if move is None:
        return ""
    return f"{move:+} %" if move else "0.0 %"

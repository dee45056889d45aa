"""`mes rates`: loads rate cards, shows what they change and by how much prices move, and activates them."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from mes.runtime.cli.database import connected

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection, Engine

    from mes.pricing.rate_proposal import Proposal
    from mes.pricing.rates.rate_card import RateCard

CardId = Annotated[str, typer.Argument(metavar="ID", help="The card's version, as `mes rates list` shows it.")]
CardIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Versions, as `mes rates list` shows them.")]
Yes = Annotated[bool, typer.Option("--yes", help="Activate without asking; without a terminal nobody is asked anyway.")]
Draft = Annotated[bool, typer.Option("--draft", help="Only store it as a draft, for `mes rates activate`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print as one JSON object.")]
Price = Annotated[str | None, typer.Option(metavar="USD", help="Market price, USD per troy ounce; else as it is.")]

_OUTCOMES = {
    "activated": "Active now.",
    "unchanged": "All of it was active already.",
    "refused": "Nothing was stored.",
    "draft": "Stored as drafts, while what is active stays as it is; `mes rates activate ID` activates one.",
}


@dataclass(frozen=True)
class Way:
    """How cards become active: asked for on a terminal, or as the options say."""

    yes: bool
    draft: bool
    as_json: bool

    @property
    def asks(self) -> bool:
        """Whether a person decides, after the changes were shown."""
        return sys.stdin.isatty() and not (self.yes or self.draft)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Rate cards: prices and rates by validity.")
    group.command()(load)
    group.command()(metals)
    group.command()(diff)
    group.command()(activate)
    group.command()(discard)
    group.command("list")(show_all)
    group.command()(show)
    app.add_typer(group, name="rates")


def load(
    file: Annotated[Path, typer.Argument(help="YAML card(s), or CSV of metal prices.", exists=True, dir_okay=False)],
    *,
    yes: Yes = False,
    draft: Draft = False,
    as_json: AsJson = False,
) -> None:
    """Load rate cards, after showing what they change; what is priced from then on uses them where they are valid.

    CSV gives metal prices only: the other rates are those of the card in force.
    """
    from mes.pricing.rates import rate_cards, rate_store  # noqa: PLC0415

    def make(conn: "Connection") -> "Sequence[RateCard]":
        base = _in_force(conn)
        if file.suffix.lower() == ".csv":
            rest = f'card {base.version} "{base.name}", which is in force' if base else "the shipped sample"
            typer.echo(f"The file gives metal prices; all other rates are those of {rest}.", err=True)
        return rate_cards.load_file(file, base=base)

    way = _way(yes=yes, draft=draft, as_json=as_json)
    with connected() as connections:
        _settle(connections, way, make, lambda conn, cards: rate_store.load(conn, cards, draft=draft))


def metals(
    *,
    gold: Price = None,
    silver: Price = None,
    platinum: Price = None,
    start: Annotated[str | None, typer.Option("--from", metavar="DATE", help="First day; else today (UTC).")] = None,
    yes: Yes = False,
    draft: Draft = False,
    as_json: AsJson = False,
) -> None:
    """Give the metals other market prices: a copy of the card in force with these, from a day on."""
    from datetime import UTC, datetime, time  # noqa: PLC0415

    from mes.pricing.rates import rate_cards, rate_store  # noqa: PLC0415

    prices = {name: value for name, value in (("gold", gold), ("silver", silver), ("platinum", platinum)) if value}
    if not prices:
        raise typer.BadParameter("Give at least one of --gold, --silver and --platinum.")
    day = _day(start)

    def make(conn: "Connection") -> "Sequence[RateCard]":
        base = rate_cards.valid_at(rate_store.every(conn), datetime.combine(day, time(), UTC))
        return [rate_cards.with_metals(base, prices, day)]

    way = _way(yes=yes, draft=draft, as_json=as_json)
    with connected() as connections:
        _settle(connections, way, make, lambda conn, cards: rate_store.load(conn, cards, draft=draft))


def activate(card_ids: CardIds, *, yes: Yes = False, as_json: AsJson = False) -> None:
    """Activate drafts, after showing what they change; what is active already stays as it is."""
    from mes.pricing.rates import rate_store  # noqa: PLC0415

    def make(conn: "Connection") -> "Sequence[RateCard]":
        return sorted((rate_store.stored(conn, card_id).card for card_id in card_ids), key=lambda card: card.valid_from)

    way = _way(yes=yes, draft=False, as_json=as_json)
    with connected() as connections:
        _settle(connections, way, make, lambda conn, _: rate_store.activate(conn, *card_ids))


def discard(card_ids: CardIds) -> None:
    """Delete drafts; a card that was activated stays for ever, as quotes may name it."""
    from mes.pricing.rates import rate_store  # noqa: PLC0415

    with connected() as connections, connections.begin() as conn:
        for card_id in card_ids:
            rate_store.discard(conn, card_id)
    typer.echo(f"{_counted(len(card_ids), 'draft')} discarded.")


def diff(
    one: Annotated[str, typer.Argument(metavar="A", help="A card's version or a file.")],
    other: Annotated[str | None, typer.Argument(metavar="[B]", help="Another; else what activating A changes.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show what changes from card A to card B; of a file with many dated cards, B's is the one of today."""
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.pricing import rate_proposal  # noqa: PLC0415

    with connected() as connections, connections.begin() as conn:
        cards, held = _cards_named(conn, one), _in_force(conn)
        if other is not None:
            proposal = rate_proposal.between(conn, _of_today(cards), _of_today(_cards_named(conn, other)))
        else:
            proposal = rate_proposal.propose(conn, cards, utc_now())
            if held is not None and not proposal.is_news:
                proposal = rate_proposal.between(conn, held, _of_today(cards))
    _print_json(proposal) if as_json else _print(proposal, sys.stdout)


def show_all(*, as_json: AsJson = False) -> None:
    """List the rate cards, oldest first: which is in force now, and which are drafts."""
    import json  # noqa: PLC0415

    from mes.clock import utc_now  # noqa: PLC0415
    from mes.pricing.rates import rate_store  # noqa: PLC0415
    from mes.runtime.cli import rates_report  # noqa: PLC0415

    with connected() as connections, connections.begin() as conn:
        cards, in_force = rate_store.everything(conn), rate_store.id_valid_at(conn, utc_now())
    if as_json:
        typer.echo(json.dumps(rates_report.cards_as_list(cards, in_force)))
        return
    if not cards:
        typer.echo("No rate card was loaded yet; the main job loads the shipped sample, `mes rates load FILE` yours.")
    rates_report.print_cards(cards, in_force, sys.stdout)


def show(card_id: CardId) -> None:
    """Print a card as YAML, which `mes rates load` reads again."""
    from mes.pricing.rates import rate_cards, rate_store  # noqa: PLC0415

    with connected() as connections, connections.begin() as conn:
        stored = rate_store.stored(conn, card_id)
    since = f"active since {stored.activated_at:%Y-%m-%d %H:%M} UTC" if stored.activated_at else "a draft"
    typer.echo(f"# rate card {card_id}, {since}\n{rate_cards.as_yaml(stored.card)}", nl=False)


def _settle(
    connections: "Engine",
    way: Way,
    make: "Callable[[Connection], Sequence[RateCard]]",
    store: "Callable[[Connection, Sequence[RateCard]], int]",
) -> None:
    """Show what cards change, then store them; a person is asked between two transactions, so that nobody waits."""
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.pricing import rate_proposal  # noqa: PLC0415
    from mes.pricing.rates import rate_store  # noqa: PLC0415

    with connections.begin() as conn:
        if not way.asks:
            rate_store.hold_activations(conn)
        cards = make(conn)
        proposal = rate_proposal.propose(conn, cards, utc_now())
        new = 0 if way.asks else store(conn, cards)
    if way.asks or not way.as_json:
        _print(proposal, sys.stderr if way.as_json else sys.stdout)
    outcome = _outcome(way, proposal)
    if way.asks and outcome == "activated":
        with connections.begin() as conn:
            rate_store.require_unmoved(conn, proposal.last_activation)
            new = store(conn, cards)
    _say_outcome(way, proposal, outcome, new)


def _outcome(way: Way, proposal: "Proposal") -> str:
    """What becomes of the cards; asks a person where one is to decide."""
    if not proposal.is_news:
        return "unchanged"
    if way.asks and not typer.confirm(f"Activate {_counted(len(proposal.comparisons), 'card')}?", err=True):
        return "refused"
    return "draft" if way.draft else "activated"


def _say_outcome(way: Way, proposal: "Proposal", outcome: str, new: int) -> None:
    read = len(proposal.comparisons)
    if way.as_json:
        _print_json(proposal, outcome=outcome, read=read, new=new)
    else:
        typer.echo(f"{_counted(read, 'rate card')} read, {new} new. {_OUTCOMES[outcome]}")
    if outcome == "refused":
        raise typer.Exit(1)


def _print(proposal: "Proposal", file: IO[str]) -> None:
    from mes.runtime.cli import rates_report  # noqa: PLC0415

    rates_report.print_proposal(proposal, file)


def _print_json(proposal: "Proposal", **outcome: object) -> None:
    import json  # noqa: PLC0415

    from mes.runtime.cli import rates_report  # noqa: PLC0415

    typer.echo(json.dumps(rates_report.proposal_as_dict(proposal) | outcome))


def _cards_named(conn: "Connection", name: str) -> "Sequence[RateCard]":
    """Of a file, or the stored one with this version."""
    from mes.pricing.rates import rate_cards, rate_store  # noqa: PLC0415

    if Path(name).is_file():
        return rate_cards.load_file(Path(name), base=_in_force(conn))
    if Path(name).suffix or len(Path(name).parts) > 1:
        raise typer.BadParameter(f"There is no file {name}.")
    return [rate_store.stored(conn, name).card]


def _of_today(cards: "Sequence[RateCard]") -> "RateCard":
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.pricing.rates.rate_changes import holding  # noqa: PLC0415

    return holding(cards, utc_now().date()) or cards[-1]


def _in_force(conn: "Connection") -> "RateCard | None":
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.pricing.rates import rate_store  # noqa: PLC0415

    card_id = rate_store.id_valid_at(conn, utc_now())
    return rate_store.stored(conn, card_id).card if card_id else None


def _way(*, yes: bool, draft: bool, as_json: bool) -> Way:
    if yes and draft:
        raise typer.BadParameter("--yes activates and --draft does not: give one of them.")
    return Way(yes=yes, draft=draft, as_json=as_json)


def _day(said: str | None) -> "date":
    from datetime import date  # noqa: PLC0415

    from mes.clock import utc_now  # noqa: PLC0415

    if said is None:
        return utc_now().date()
    try:
        return date.fromisoformat(said)
    except ValueError:
        raise typer.BadParameter(f"--from {said} is no date; write it as 2026-03-31.") from None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

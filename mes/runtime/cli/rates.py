"""`mes rates`: loads rate cards and lists them."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Rate cards: prices and rates by validity.")
    group.command()(load)
    group.command("list")(show)
    app.add_typer(group, name="rates")


def load(
    file: Annotated[Path, typer.Argument(help="YAML card(s), or CSV of metal prices.", exists=True, dir_okay=False)],
) -> None:
    """Load rate cards; what is priced from then on uses them where they are valid."""
    from mes.db import engine  # noqa: PLC0415
    from mes.pricing import rate_cards, rate_store  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    cards = rate_cards.load_file(file)
    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            new = rate_store.load(conn, cards)
        connections.dispose()
    typer.echo(f"{len(cards)} rate {'card' if len(cards) == 1 else 'cards'} read, {new} new.")


def show() -> None:
    """List the rate cards, oldest first."""
    from mes.db import engine  # noqa: PLC0415
    from mes.pricing import rate_store  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            cards = rate_store.every(conn)
        connections.dispose()
    if not cards:
        typer.echo("No rate card was loaded yet; the main job loads the shipped sample, `mes rates load FILE` yours.")
    for card in cards:
        prices = card.metals
        typer.echo(
            f"{card.version}  {card.valid_from} to {card.valid_to or 'open'}  gold {prices.gold}, "
            f"silver {prices.silver}, platinum {prices.platinum} USD/ozt  {card.name}"
        )

"""`mes quote`: measures a 3D model and prices it, line by line."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mes.models.sandbox import Analysis
    from mes.pricing.costs.cost_model import Price
    from mes.pricing.costs.levers import Lever
    from mes.pricing.options import ItemOptions
    from mes.pricing.rates.rate_card import RateCard


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(quote)


def quote(
    file: Annotated[Path, typer.Argument(help="STL, OBJ, PLY or 3MF file.", exists=True, dir_okay=False)],
    *,
    material: Annotated[str, typer.Option(help="silver925, gold585, gold750 or platinum950.")],
    finish: Annotated[str, typer.Option(help="polished, satin, sandblasted or plated.")] = "polished",
    quantity: Annotated[int, typer.Option(min=1, help="Pieces.")] = 1,
    longest_side_mm: Annotated[float | None, typer.Option(help="Size of the piece; else the model's own.")] = None,
    rush: Annotated[bool, typer.Option("--rush", help="Made ahead of others.")] = False,
    tier: Annotated[str, typer.Option(help="Customer tier: retail, b2b or vip.")] = "retail",
    stone: Annotated[
        list[str] | None,
        typer.Option(help="'round 1.5 mm x 8 prong', with 'customer' behind for their own; or JSON. May be repeated."),
    ] = None,
    engraving: Annotated[str | None, typer.Option(help="Text to engrave on every piece.")] = None,
    engraving_side: Annotated[str, typer.Option(help="inside, outside, front or back.")] = "inside",
    explain: Annotated[bool, typer.Option("--explain", help="Say how each line comes about.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as one JSON object.")] = False,
) -> None:
    """Price a 3D model now, without storing anything."""
    from mes import config  # noqa: PLC0415
    from mes.models import sandbox  # noqa: PLC0415
    from mes.pricing import options  # noqa: PLC0415
    from mes.pricing.costs.levers import price_with_levers  # noqa: PLC0415
    from mes.pricing.quotes.explanation import page  # noqa: PLC0415

    asked = options.parse(
        {
            "material": material,
            "finish": finish,
            "quantity": quantity,
            "longest_side_mm": longest_side_mm,
            "rush": rush,
            "tier": tier,
            "stones": [options.stone(words) for words in stone or ()],
            "engraving": {"text": engraving, "side": engraving_side} if engraving is not None else None,
        }
    )
    card = _card_of_today()
    analysis = sandbox.analyse(file, sandbox.Limits.of(config.load()))
    price, levers = price_with_levers(analysis.geometry, asked, card)
    if as_json:
        _print_json(_facts(analysis, asked, card, price) | _told(levers, price))
    elif explain:
        typer.echo("\n".join([_heading(file, analysis), *page(analysis.geometry, asked, card, price, levers)]))
    else:
        _print_table(file, _facts(analysis, asked, card, price))


def _card_of_today() -> "RateCard":
    """From the configured or the embedded database, running or not; the shipped sample where there are no cards."""
    from mes import config  # noqa: PLC0415
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.db import engine  # noqa: PLC0415
    from mes.pricing.rates import rate_cards, rate_store  # noqa: PLC0415
    from mes.runtime import embedded  # noqa: PLC0415

    settings = config.load()
    cards = rate_cards.load_sample()
    if settings.database_url or embedded.EmbeddedPostgres(settings.home).exists():
        with embedded.database(settings) as database:
            connections = engine.connect(database.url)
            with connections.begin() as conn:
                cards = rate_store.every_if_migrated(conn) or cards
            connections.dispose()
    return rate_cards.valid_at(cards, utc_now())


def _facts(analysis: "Analysis", asked: "ItemOptions", card: "RateCard", price: "Price") -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415

    from mes.pricing.findings import of_piece  # noqa: PLC0415

    measures = analysis.geometry.as_dict()
    return {
        "model_id": analysis.sha256,
        "bytes": analysis.bytes,
        "format": analysis.format,
        **measures,
        "geometry": measures,
        "findings": [asdict(finding) for finding in of_piece(analysis.geometry, asked.material, asked.longest_side_mm)],
        "rate_card": {"version": card.version, "name": card.name, "valid_from": card.valid_from.isoformat()},
        "price": {"amount": str(price.total), "currency": price.currency},
        "unit_price": {"amount": str(price.unit_price), "currency": price.currency},
        "breakdown": [
            {name: value if isinstance(value, str) else str(value) for name, value in asdict(line).items()}
            for line in price.lines
        ],
    }


def _told(levers: "tuple[Lever, ...]", price: "Price") -> dict[str, Any]:
    return {
        "levers": [
            {
                "code": lever.code,
                "label": lever.label,
                "mass_change_g": lever.mass_change_g,
                "price_change": {"amount": str(lever.price_change), "currency": price.currency},
            }
            for lever in levers
        ]
    }


def _print_json(facts: dict[str, Any]) -> None:
    import json  # noqa: PLC0415

    typer.echo(json.dumps(facts))


def _heading(file: Path, analysis: "Analysis") -> str:
    return f"{file.name} ({analysis.format}, {analysis.bytes:,} bytes, model {analysis.sha256[:12]})\n"


def _print_table(file: Path, facts: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    x, y, z = facts["extents_mm"]
    typer.echo(
        f"{file.name}: {facts['volume_mm3']:,.2f} mm3, {facts['area_mm2']:,.2f} mm2, {x:g} x {y:g} x {z:g} mm, "
        f"{facts['bodies']} {'body' if facts['bodies'] == 1 else 'bodies'}, {facts['triangles']:,} triangles"
    )
    for finding in facts["findings"]:
        typer.echo(f"! {finding['message']} {finding['advice']}")
    table = Table("line", "driver", "quantity", "unit", "rate", "amount", box=None)
    for column in (2, 4, 5):
        table.columns[column].justify = "right"
    for line in facts["breakdown"]:
        table.add_row(line["label"], line["driver"], line["quantity"], line["unit"], line["rate"], line["amount"])
    table.add_row(
        "Total", f"rate card {facts['rate_card']['name']}", "", "", "", facts["price"]["amount"], style="bold"
    )
    Console().print(table)

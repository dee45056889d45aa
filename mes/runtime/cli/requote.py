"""`mes requote`: computes a frozen quote again, and says whether it still comes to the cent."""

from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mes.pricing.geometry import Geometry
    from mes.pricing.quotes.requote import Recomputed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(requote)


def requote(
    quote_id: Annotated[UUID, typer.Argument(help="The quote, as the API or an order names it.")],
    *,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the model again from its stored bytes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print as one JSON object.")] = False,
) -> None:
    """Compute a frozen quote again from what it names; exit status 1 if it comes out otherwise."""
    from mes.db import engine  # noqa: PLC0415
    from mes.pricing.quotes import requote as core  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        try:
            with connections.begin() as conn:
                measured = _measure_again(conn, quote_id) if measure else None
                recomputed = core.recompute(conn, quote_id, measured)
        finally:
            connections.dispose()
    _print_json(recomputed, measured) if as_json else _print_words(recomputed, measured)
    raise typer.Exit(0 if recomputed.same else 1)


def _measure_again(conn: "Connection", quote_id: UUID) -> "Geometry | None":
    """The model as today's kernel measures it; None where another version measured it for the quote."""
    import tempfile  # noqa: PLC0415
    from pathlib import Path  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.models import sandbox  # noqa: PLC0415
    from mes.models.store import ObjectStore  # noqa: PLC0415
    from mes.pricing import geometry  # noqa: PLC0415
    from mes.pricing.quotes import requote  # noqa: PLC0415

    named = requote.named(conn, quote_id)
    if named.kernel_version != geometry.KERNEL_VERSION:
        typer.echo(
            f"Measured by kernel {named.kernel_version}, and this is kernel {geometry.KERNEL_VERSION}: the model is "
            "not measured again, its stored measures are used.",
            err=True,
        )
        return None
    settings = config.load()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / named.model_id
        ObjectStore(settings.objects_location).fetch_model(named.model_id, file)
        return sandbox.analyse(file, sandbox.Limits.of(settings)).geometry


def _print_json(recomputed: "Recomputed", measured: "Geometry | None") -> None:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    facts: dict[str, Any] = {"same": recomputed.same, "measured_again": measured is not None, **asdict(recomputed)}
    typer.echo(json.dumps(facts, default=str))


def _print_words(recomputed: "Recomputed", measured: "Geometry | None") -> None:
    source = "measured again" if measured is not None else f"as kernel {recomputed.kernel_version} measured it"
    typer.echo(
        f"Quote {recomputed.quote_id}: {recomputed.total} in {recomputed.lines} lines, rate card "
        f"{recomputed.rate_card_id}, model {recomputed.model_id[:12]}, {source}."
    )
    if recomputed.same:
        typer.echo("It recomputes to the cent.")
        return
    typer.echo(f"It comes out otherwise: {recomputed.now if recomputed.now is not None else 'no price'}.")
    for found in recomputed.differences:
        frozen, now = (value if value is not None else "no such line" for value in (found.frozen, found.now))
        typer.echo(f"  {found.line}, {found.figure}: frozen {frozen}, now {now}")

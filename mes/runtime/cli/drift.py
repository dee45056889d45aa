"""`mes drift`: where shop and CRM say otherwise of an order than we do, and what becomes of it."""

from typing import TYPE_CHECKING, Annotated

import typer

from mes.runtime.cli.database import connected

if TYPE_CHECKING:
    from mes.reconciliation.model import Outcome

AsJson = Annotated[bool, typer.Option("--json", help="Print as JSON.")]
System = Annotated[str | None, typer.Option(help="shop or crm; by default each whose statement is configured.")]
_BY = "mes drift"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Orders on which shop or CRM say otherwise than we do.")
    for command in (check, repair, accept):
        group.command()(command)
    group.command(name="list")(list_)
    app.add_typer(group, name="drift")


def check(
    *,
    system: System = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Compare all orders, not only those that changed since the last run.")
    ] = False,
    any_size: Annotated[
        bool, typer.Option("--any-size", help="Believe a statement that knows far fewer orders than it should.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Compare with what shop and CRM state, repair what can be; exit status 1 where differences are open."""
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.reconciliation import runs, sources  # noqa: PLC0415
    from mes.reconciliation.model import Scope  # noqa: PLC0415

    settings = config.load()
    scope = Scope.ALL if everything else Scope.RECENT
    systems = sources.stating(settings, system)
    with connected() as database:
        outcomes = [
            runs.run(
                database,
                sources.configured(each, settings),
                each,
                scope,
                rules=sources.rules(settings),
                any_size=any_size,
            )
            for each in systems
        ]
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in outcomes], default=str))
    else:
        for each in outcomes:
            _print(each)
    if any(each.found for each in outcomes):
        raise typer.Exit(1)


def list_(
    *,
    system: System = None,
    accepted: Annotated[bool, typer.Option("--accepted", help="Those that a person accepted instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List differences that are open, those for a person first, each with its explanation."""
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from mes.reconciliation import drift  # noqa: PLC0415

    with connected() as database, database.begin() as conn:
        found = drift.listed(conn, system=system, accepted=accepted)
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], default=str))
        return
    if not found:
        typer.echo("No difference is open." if not accepted else "No difference was accepted.")
    for each in found:
        tried = f"; repaired {each.repairs} times" if each.repairs else ""
        typer.echo(
            f"{each.drift_id}  {each.system}  {each.source} {each.external_id}  {each.kind}  since "
            f"{each.opened_at:%Y-%m-%d %H:%M}  {each.state}{tried}: {each.explanation}"
        )


def repair(number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `mes drift list` shows it.")]) -> None:
    """Repair a difference now: tell them the whole order, or have the inbox look again."""
    from mes.reconciliation import drift  # noqa: PLC0415

    with connected() as database, database.begin() as conn:
        drift.repair(conn, number, _BY)
    typer.echo("Begun; a later check says whether it had an effect.")


def accept(
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="As `mes drift list` shows it.")],
    reason: Annotated[str, typer.Option(help="Why it may stay as it is.")],
) -> None:
    """Let a difference be; it stays silent until either side changes."""
    from mes.reconciliation import drift  # noqa: PLC0415

    with connected() as database, database.begin() as conn:
        drift.accept(conn, number, _BY, reason)
    typer.echo("Accepted; it is shown again when either side changes.")


def _print(outcome: "Outcome") -> None:
    typer.echo(
        f"{outcome.system}: {outcome.stated:,} orders stated, {outcome.ours:,} of ours compared, "
        f"{outcome.differing_buckets} of {outcome.buckets} buckets differ; {outcome.repaired} repairs begun, "
        f"{outcome.closed} differences gone."
    )
    for kind, orders in sorted(outcome.found.items()):
        typer.echo(f"  {kind}: {orders:,}")
    if outcome.bad_rows:
        typer.echo(f"  {outcome.bad_rows:,} rows could not be read, the first: {outcome.first_faults[0]}")

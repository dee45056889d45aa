"""`mes doctor`: why it does not run here."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(*, as_json: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False) -> None:
    """Check this machine and the configuration; exit status 1 if something keeps the system from running."""
    from mes.runtime.doctor import Verdict, examine  # noqa: PLC0415

    checks = examine()
    if as_json:
        import json  # noqa: PLC0415
        from dataclasses import asdict  # noqa: PLC0415

        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        for check in checks:
            typer.echo(f"{check.verdict.upper():<8} {check.name}: {check.found}")
            if check.advice:
                typer.echo(f"         {check.advice}")
    if any(check.verdict is Verdict.FAULT for check in checks):
        raise typer.Exit(1)

"""The command `mes`: every command lives in a module of its own, and loads its work only when it runs."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mes.errors import MesError
from mes.runtime import orderly_end
from mes.runtime.cli import (
    bench,
    bus,
    db,
    demo,
    doctor,
    drift,
    events,
    generate,
    keys,
    logs,
    programs,
    quote,
    rates,
    reprice,
    requote,
    settings,
    up,
    users,
)


class Commands(TyperGroup):
    """Turns an error that we raise on purpose into one clear line and exit status 2."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  the class of `ctx` is private to typer
        """Run the command."""
        try:
            with orderly_end.on_signals():
                return super().invoke(ctx)
        except MesError as error:
            _report(error, debug=bool(ctx.params.get("debug")))
            sys.exit(2)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help, in half the time
    help="Atelier MES: orders, prices from 3D models, operators and reports of a jewelry workshop.",
)


@app.callback()
def main(
    *, debug: Annotated[bool, typer.Option("--debug", help="Log in detail, with tracebacks of errors.")] = False
) -> None:
    """Set up logging before any command runs."""
    from mes.observability import logs  # noqa: PLC0415  `mes --help` does without

    logs.configure_cli("DEBUG" if debug else "WARNING")


# one line per module that has `register(app)`; the order is that of `mes --help`
for _module in (
    *(demo, generate, up, programs, users, keys, quote),
    *(requote, rates, reprice, events, drift, bus, logs, doctor, settings, db, bench),
):
    _module.register(app)


def _report(error: MesError, *, debug: bool) -> None:
    from mes.observability.redaction import redact_text  # noqa: PLC0415  only for errors

    typer.echo(f"error: {redact_text(str(error))}", err=True)
    if debug:
        import structlog  # noqa: PLC0415

        structlog.get_logger("mes").error("failed", code=error.code, exc_info=error)

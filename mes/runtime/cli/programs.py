"""`mes api|worker|console|dagster`: one program of the system, in the foreground; `mes up` runs all of them."""

from typing import Annotated

import typer

from mes.runtime import programs


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(api)
    app.command()(worker)
    app.command()(console)
    group = typer.Typer(no_args_is_help=True, help="Dagster: its UI, or the daemon that runs schedules and sensors.")
    group.command("ui")(dagster_ui)
    group.command("daemon")(dagster_daemon)
    app.add_typer(group, name="dagster")


Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port to listen on instead of the configured one.")]


def api(*, port: Port = None) -> None:
    """Run one process of the sync API; start as many as you like, each on a port of its own."""
    from mes import config  # noqa: PLC0415

    settings = config.load()
    _run(programs.api(settings.host, port or settings.api_port))


def worker(
    *,
    roles: Annotated[
        str, typer.Option(help="What it does, separated by commas; any number of workers may share a role.")
    ] = programs.DEFAULT_ROLES,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of its health and metrics; the next free one if taken.")
    ] = None,
) -> None:
    """Run a worker: refresh the order list, price orders, share work out."""
    from mes.runtime import foreground  # noqa: PLC0415

    asked = [name.strip() for name in roles.split(",") if name.strip()]
    if not asked or not set(asked) <= set(programs.ROLES):
        raise typer.BadParameter(f"choose of {', '.join(programs.ROLES)}, separated by commas", param_hint="--roles")
    _run(programs.worker(",".join(asked)), **(foreground.changed("worker_port", port) if port is not None else {}))


def console(*, port: Port = None) -> None:
    """Run the console of operators and managers."""
    from mes import config  # noqa: PLC0415

    settings = config.load()
    _run(programs.console(settings.host, port or settings.console_port))


def dagster_ui(*, port: Port = None) -> None:
    """Run Dagster's UI."""
    from mes import config  # noqa: PLC0415

    settings = config.load()
    _run(programs.dagster_webserver(settings.host, port or settings.dagster_port))


def dagster_daemon() -> None:
    """Run Dagster's daemon; there must be one only."""
    _run(programs.dagster_daemon())


def _run(argv: list[str], **changes: str) -> None:
    from mes import config  # noqa: PLC0415
    from mes.runtime import foreground  # noqa: PLC0415

    raise typer.Exit(foreground.run(argv, config.load(), **changes))

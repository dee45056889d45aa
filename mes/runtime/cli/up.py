"""`mes up`: everything on this machine, from one command."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mes.runtime.run_state import RunState
    from mes.runtime.up import Addresses


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(up)


def up(
    *,
    observability: Annotated[
        bool, typer.Option("--observability", help="Run Prometheus and Alertmanager too, with all alerts.")
    ] = False,
) -> None:
    """Start the database, the bus, the API, a worker, the console and Dagster; Ctrl-C stops them."""
    from mes import config  # noqa: PLC0415
    from mes.observability import logs  # noqa: PLC0415
    from mes.runtime import run_state  # noqa: PLC0415
    from mes.runtime import up as system  # noqa: PLC0415
    from mes.runtime.process_log import BACKUPS, MAX_BYTES  # noqa: PLC0415

    settings = config.load()
    logs.configure_cli(settings.log_level)
    logs.keep(settings.home / "logs" / "up.jsonl", "up", MAX_BYTES, BACKUPS)
    try:
        system.up(settings, show, observability=observability)
    except run_state.AlreadyRunning as error:
        show_running(error.state)


def show(addresses: "Addresses") -> None:
    """Print what runs where, then the line `ready <console>` that scripts wait for."""
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("process", "address", box=None)
    table.add_row("console", addresses.console)
    table.add_row("API", addresses.api)
    table.add_row("bus (NATS)", addresses.bus)
    table.add_row("Dagster", addresses.dagster)
    table.add_row("worker", f"{addresses.worker} (health, metrics)")
    table.add_row("Dagster daemon", "-")
    if addresses.prometheus and addresses.alertmanager:
        table.add_row("Prometheus", addresses.prometheus)
        table.add_row("Alertmanager", addresses.alertmanager)
    Console().print(table)
    for note in addresses.notes:
        typer.echo(note)
    typer.echo(f"ready {addresses.console}")  # echo flushes


def show_running(state: "RunState | None") -> None:
    """Print that the system runs already, with its process id and addresses."""
    if state is None or not state.urls:
        typer.echo("The system is being started already.")
        return
    urls = ", ".join(f"{name} {url}" for name, url in state.urls.items())
    typer.echo(f"The system is running already (pid {state.pid}): {urls}")

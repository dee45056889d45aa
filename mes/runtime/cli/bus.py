"""`mes bus`: sets up the streams of NATS, and tells how they stand."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mes.config import Settings
    from mes.events.bus_setup import StreamReport


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The bus: NATS JetStream, ours or yours (MES_NATS_URL).")
    group.command()(init)
    group.command()(status)
    app.add_typer(group, name="bus")


def init(
    *,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Servers of a cluster that keep each message.")] = 1,
) -> None:
    """Make the streams, or set those that are there anew; what they hold stays."""
    from datetime import timedelta  # noqa: PLC0415

    from mes import config  # noqa: PLC0415
    from mes.events import bus_setup  # noqa: PLC0415

    settings = config.load()
    kept = timedelta(days=settings.bus_kept_days)
    _print(bus_setup.init(_url(settings), kept=kept, replicas=replicas))


def status() -> None:
    """Show the streams, and what they hold."""
    from mes import config  # noqa: PLC0415
    from mes.events import bus_setup  # noqa: PLC0415

    _print(bus_setup.status(_url(config.load())))


def _url(settings: "Settings") -> str:
    from mes.runtime import bus_server  # noqa: PLC0415

    url = bus_server.found(settings)
    if url is None:
        raise bus_server.BusFailed("No NATS runs here. Start `mes up`, or set MES_NATS_URL.")
    return url


def _print(streams: "Sequence[StreamReport]") -> None:
    for stream in streams:
        subjects = ", ".join(stream.subjects)
        if not stream.made:
            typer.echo(f"{stream.name:<5} {subjects}  missing; `mes bus init` makes it")
            continue
        typer.echo(
            f"{stream.name:<5} {subjects}  {stream.messages:,} messages, {stream.bytes / 2**20:,.1f} MiB, "
            f"kept for {stream.kept_days:g} days, on {stream.replicas} server{'s' if stream.replicas > 1 else ''}"
        )

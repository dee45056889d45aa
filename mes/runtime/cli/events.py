"""`mes events`: what shop and CRM told and could not be applied, going on with it, and the proof of the history."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mes.runtime.cli.database import connected

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from mes.events.rebuild import Comparison

AsJson = Annotated[bool, typer.Option("--json", help="Print as one JSON array.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="Events that wait for a person, and the proof of all events.")
    group.command()(parked)
    group.command()(replay)
    group.command()(unreadable)
    group.command()(rebuild)
    app.add_typer(group, name="events")


def parked(*, as_json: AsJson = False) -> None:
    """List orders whose next event cannot be applied, the longest parked first."""
    from mes.events import parked as inbox_parked  # noqa: PLC0415

    with _transaction() as conn:
        found = inbox_parked.orders(conn)
    if as_json:
        _print_json(found)
        return
    if not found:
        typer.echo("No order is parked.")
    for order in found:
        which = f"{order.event_type or 'its next event'}" + (f", number {order.sequence}" if order.sequence else "")
        typer.echo(
            f"{order.sender}  {order.source} {order.external_id}  since {order.since:%Y-%m-%d %H:%M}  {which}: "
            f"{order.reason}; {order.waiting} behind it"
        )


def replay(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The order's number at its source.")],
    *,
    sender: Annotated[str, typer.Option(help="Whose events: shop or crm.")] = "crm",
    source: Annotated[str, typer.Option(help="Of the order.")] = "shop",
    skip: Annotated[bool, typer.Option("--skip", help="Leave the event out instead of trying it again.")] = False,
) -> None:
    """Go on with a parked order, in sequence: try its event again, or leave it out."""
    from mes.events import inbox  # noqa: PLC0415

    with _transaction() as conn:
        inbox.replay(conn, inbox.Key(sender, source, number), skip=skip, by="mes events replay")
    typer.echo(f"{'Left out' if skip else 'Tried again'}; a worker with the role inbox goes on with {source} {number}.")


def unreadable(*, as_json: AsJson = False) -> None:
    """List messages that belong to no order, the newest first."""
    from mes.events import parked as inbox_parked  # noqa: PLC0415

    with _transaction() as conn:
        found = inbox_parked.messages(conn)
    if as_json:
        _print_json(found)
        return
    if not found:
        typer.echo("No message was set aside.")
    for message in found:
        typer.echo(
            f"{message.message_id}  {message.received_at:%Y-%m-%d %H:%M}  {message.sender} by {message.carrier} on "
            f"{message.subject}, {message.bytes} bytes: {message.reason}"
        )


def rebuild(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print as one JSON object.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the fresh tables in the schema rebuild.")] = False,
) -> None:
    """Apply all events into fresh tables and compare them with the live ones; exit status 1 where they differ."""
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    from mes.db import engine  # noqa: PLC0415
    from mes.events import rebuild as rebuilding  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        try:
            with rebuilding.snapshot(connections, keep=keep) as conn:
                found = rebuilding.compare(conn)
        finally:
            connections.dispose()
    if as_json:
        typer.echo(json.dumps(asdict(found), default=str))
    else:
        _print_rebuilt(found)
    if found.different:
        raise typer.Exit(1)


def _print_rebuilt(found: "Comparison") -> None:
    for each in found.differences:
        which = f"{each.source} {each.external_id}" if each.source else "no such order"
        typer.echo(
            f"{which} ({each.order_id}) {each.column}: live {each.live or '-'}, by its events {each.rebuilt or '-'}"
        )
    outcome = f"{found.different:,} differ" if found.different else "all are as their events make them"
    typer.echo(f"{found.orders:,} orders made of {found.events:,} events; {outcome}.")
    for column, orders in sorted(found.untold.items()):
        typer.echo(f"  {column}: not told by the events of {orders:,} orders, so not compared")


@contextmanager
def _transaction() -> "Iterator[Connection]":
    with connected() as connections, connections.begin() as conn:
        yield conn


def _print_json(found: object) -> None:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415
    from typing import Any  # noqa: PLC0415

    rows: Any = found
    typer.echo(json.dumps([asdict(each) for each in rows], default=str))

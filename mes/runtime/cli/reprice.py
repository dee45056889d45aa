"""`mes reprice`: prices open orders anew when what they were priced from was wrong."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from sqlalchemy import Connection, Engine

    from mes.pricing.quotes.renewal import Change

_SHOWN = 50


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reprice)


def reprice(
    reason: Annotated[str, typer.Option("--reason", help="What was wrong; told with the event `repriced`.")],
    orders: Annotated[
        list[str] | None, typer.Option("--order", metavar="ORDER", help="By id or source/number; may be repeated.")
    ] = None,
    card: Annotated[str | None, typer.Option("--card", help="All that were priced by this rate card.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="All with a piece of this model.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Price open orders anew by the rates in force now, approved ones too; finished orders are never touched.

    Quotes are not changed: new ones supersede them. Says first what would change. The same again changes nothing.
    """
    from mes.db import engine  # noqa: PLC0415
    from mes.errors import MesError  # noqa: PLC0415
    from mes.pricing.quotes import renewal  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    if sum(map(bool, (orders, card, model))) != 1 or not reason.strip():
        raise MesError("Name a reason, and which orders: by --order, --card or --model, one of the three.")
    with migrated() as database:
        connections = engine.connect(database.url)
        try:
            with connections.begin() as conn:
                found = _found(conn, orders or [], card, model)
                changes = renewal.preview(conn, found)
                _show(conn, len(found), changes)
            if not dry_run and changes and (yes or _agreed()):
                _renew(connections, [change.order_id for change in changes], reason.strip())
        finally:
            connections.dispose()


def _found(conn: "Connection", orders: "Sequence[str]", card: str | None, model: str | None) -> "list[UUID]":
    from mes.pricing.quotes import renewal_scope  # noqa: PLC0415

    if card:
        return renewal_scope.open_priced_by(conn, card)
    if model:
        return renewal_scope.open_with_model(conn, model)
    return renewal_scope.open_among(conn, orders)


def _show(conn: "Connection", found: int, changes: "Sequence[Change]") -> None:
    from mes.orders import repository  # noqa: PLC0415
    from mes.pricing.costs.cost_model import PROBLEMS  # noqa: PLC0415

    for change in changes[:_SHOWN]:
        order = repository.get(conn, change.order_id)
        move = "same total" if change.was == change.total else f"{change.was} to {change.total} USD"
        typer.echo(
            f"{order.source}/{order.external_id}  {order.status.value}  {move if change.lines else 'no new price'}"
        )
        for line, problem in change.problems:
            typer.echo(f"  item {line}: {PROBLEMS[problem]}")
    if len(changes) > _SHOWN:
        typer.echo(f"... and {len(changes) - _SHOWN:,} more")
    moved = sum(change.was != change.total for change in changes)
    typer.echo(f"{found:,} open orders found, {len(changes):,} to be renewed, {moved:,} of them at another total.")


def _agreed() -> bool:
    import sys  # noqa: PLC0415

    from mes.errors import MesError  # noqa: PLC0415

    if not sys.stdin.isatty():
        raise MesError("There is no terminal to ask on: add --yes to go ahead, or --dry-run to only look.")
    return typer.confirm("Renew these quotes?")


def _renew(connections: "Engine", orders: "Sequence[UUID]", reason: str) -> None:
    """In steps, each in a transaction of its own; what was done before a failure stays, and is skipped next time."""
    from mes.pricing.quotes import renewal  # noqa: PLC0415

    done = renewal.Renewed()
    for start in range(0, len(orders), renewal.ORDERS_AT_ONCE):
        with connections.begin() as conn:
            done += renewal.renew(conn, orders[start : start + renewal.ORDERS_AT_ONCE], reason=reason)
    typer.echo(f"{done.quotes:,} new quotes, {done.repriced:,} orders repriced, {done.held:,} put on hold.")

"""`mes keys`: makes, lists, changes and revokes the keys of those who call the API."""

from typing import TYPE_CHECKING, Annotated

import typer

from mes.callers.model import Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mes.callers.keys import ListedKey


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="API keys: who may call, and for whom.")
    group.command()(create)
    group.command("list")(show)
    group.command()(rotate)
    group.command()(revoke)
    app.add_typer(group, name="keys")


def create(
    name: Annotated[str, typer.Argument(help="What people call it; events name it as their actor.")],
    *,
    scope: Annotated[Scope, typer.Option(help="shop and partner see their own orders, crm and admin all.")],
    source: Annotated[str | None, typer.Option(help="A partner's own, which its orders carry; else NAME.")] = None,
    expires_days: Annotated[int | None, typer.Option(help="Days until it expires; else never.")] = None,
) -> None:
    """Make a key and print it, once: it is stored nowhere."""
    from mes.callers import keys  # noqa: PLC0415
    from mes.db import engine  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            made = keys.create(conn, name, scope, source=source, valid_days=expires_days)
        connections.dispose()
    typer.echo(f"Key {made.key_id} for {made.source}. Keep it now, it is shown this once:", err=True)
    typer.echo(made.key)


def show(*, as_json: Annotated[bool, typer.Option("--json", help="Print as one JSON array.")] = False) -> None:
    """List all keys, oldest first, without their secrets."""
    from mes.callers import keys  # noqa: PLC0415
    from mes.db import engine  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            known = keys.every(conn)
        connections.dispose()
    _print_json(known) if as_json else _print_table(known)


def rotate(
    key: Annotated[str, typer.Argument(metavar="KEY_ID|NAME", help="Which key.")],
    *,
    overlap_hours: Annotated[float, typer.Option(min=0, help="For how long the old key works on.")] = 24.0,
) -> None:
    """Make a new key in place of one, and print it, once; the old one expires after a while."""
    from datetime import timedelta  # noqa: PLC0415

    from mes.callers import keys  # noqa: PLC0415
    from mes.db import engine  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            made = keys.rotate(conn, key, overlap=timedelta(hours=overlap_hours))
        connections.dispose()
    typer.echo(
        f"Key {made.key_id} for {made.source}; the old one works for {overlap_hours:g} hours more. Keep it now, it is "
        "shown this once:",
        err=True,
    )
    typer.echo(made.key)


def revoke(key: Annotated[str, typer.Argument(metavar="KEY_ID|NAME", help="Which key.")]) -> None:
    """End a key at once."""
    from mes.callers import keys  # noqa: PLC0415
    from mes.db import engine  # noqa: PLC0415
    from mes.runtime.cli.database import migrated  # noqa: PLC0415

    with migrated() as database:
        connections = engine.connect(database.url)
        with connections.begin() as conn:
            key_id = keys.revoke(conn, key)
        connections.dispose()
    typer.echo(f"Key {key_id} is revoked.")


def _print_json(known: "Sequence[ListedKey]") -> None:
    import json  # noqa: PLC0415
    from dataclasses import asdict  # noqa: PLC0415

    def plain(value: object) -> str:
        return value.isoformat() if hasattr(value, "isoformat") else str(value)

    typer.echo(json.dumps([asdict(key) for key in known], default=plain))


def _print_table(known: "Sequence[ListedKey]") -> None:
    if not known:
        typer.echo("There are no keys yet; make one with `mes keys create NAME --scope shop`.")
    for key in known:
        expires, used = (f"{at:%Y-%m-%d %H:%M}" if at else "never" for at in (key.expires_at, key.last_used_at))
        typer.echo(
            f"{key.key_id}  {key.state.value:<7}  {key.scope.value:<7}  {key.source}  "
            f"created {key.created_at:%Y-%m-%d}, expires {expires}, last used {used}  {key.name}"
        )

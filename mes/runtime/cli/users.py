"""`mes users`: makes the people who sign in to the console, and ends their access."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mes.people.model import Role
from mes.runtime.cli.database import connected

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from mes.people.model import User
    from mes.people.users import ListedUser

Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name; letter case makes no difference.")]
NewName = Annotated[
    str, typer.Argument(metavar="NAME", help="How the person signs in, and how the history names him or her.")
]
RoleOption = Annotated[
    Role, typer.Option("--role", help="operator: works on orders. manager: also shares out work and sees reports.")
]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the first line of standard input.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="People who sign in to the console; works while it runs.")
    group.command()(create)
    group.command("list")(show)
    group.command("set-password")(set_password)
    group.command("set-role")(set_role)
    group.command()(deactivate)
    group.command()(activate)
    group.command()(unlock)
    app.add_typer(group, name="users")


def create(user_name: NewName, role: RoleOption, *, password_stdin: Stdin = False) -> None:
    """Make a user.

    Asks for a password twice; without a terminal it makes one and prints it, this once.
    """
    from mes.people import users  # noqa: PLC0415

    password, is_generated = _password(from_stdin=password_stdin)
    with _transaction() as conn:
        user = users.create(conn, user_name, role, password)
    typer.echo(f"{user.user_name} may sign in now, as {user.role.value}.")
    _show_generated(password if is_generated else None)


def show() -> None:
    """List all users."""
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.people import users  # noqa: PLC0415

    with _transaction() as conn:
        listed = users.every(conn)
    if not listed:
        typer.echo("There are no users yet; make the first with `mes users create NAME --role manager`.")
        return
    typer.echo(f"{'name':<24} {'role':<9} {'state':<28} last seen")
    for user in listed:
        seen = f"{user.last_seen_at:%Y-%m-%d %H:%M} UTC" if user.last_seen_at else "-"
        typer.echo(f"{user.user_name:<24} {user.role.value:<9} {_state(user, utc_now()):<28} {seen}")


def set_password(user_name: Name, *, password_stdin: Stdin = False) -> None:
    """Give a user another password.

    The user is signed out everywhere. Asks for it twice; without a terminal it makes one and prints it, this once.
    """
    from mes.people import users  # noqa: PLC0415

    password, is_generated = _password(from_stdin=password_stdin)
    with _transaction() as conn:
        user = users.set_password(conn, user_name, password)
    typer.echo(f"{user.user_name} has a new password and is signed out everywhere.")
    _show_generated(password if is_generated else None)


def set_role(user_name: Name, role: Annotated[Role, typer.Argument(help="The new role.")]) -> None:
    """Change what a user may do, at once."""
    from mes.people import users  # noqa: PLC0415

    _change(lambda conn: users.set_role(conn, user_name, role), f"is {role.value} now.")


def deactivate(user_name: Name) -> None:
    """End a user's access and return the work.

    Open pages are signed out at once; orders that the user has not finished can be shared out again.
    """
    from mes.dispatch import leases  # noqa: PLC0415
    from mes.people import users  # noqa: PLC0415

    with _transaction() as conn:
        user = users.deactivate(conn, user_name)
        returned = leases.release_work_of(conn, user.user_name)
    typer.echo(f"{user.user_name} is signed out and cannot sign in any more.")
    if returned:
        typer.echo(f"{returned} {'order was' if returned == 1 else 'orders were'} returned, to be shared out.")


def activate(user_name: Name) -> None:
    """Let a deactivated user sign in again."""
    from mes.people import users  # noqa: PLC0415

    _change(lambda conn: users.activate(conn, user_name), "may sign in again.")


def unlock(user_name: Name) -> None:
    """Let a user try again who was locked out."""
    from mes.people import users  # noqa: PLC0415

    _change(lambda conn: users.unlock(conn, user_name), "may try again.")


def _change(change: "Callable[[Connection], User]", outcome: str) -> None:
    with _transaction() as conn:
        user = change(conn)
    typer.echo(f"{user.user_name} {outcome}")


@contextmanager
def _transaction() -> "Iterator[Connection]":
    """A transaction on the system's database, which may be running."""
    with connected() as connections, connections.begin() as conn:
        yield conn


def _password(*, from_stdin: bool) -> tuple[str, bool]:
    """The password, and whether it was made here; checked before a database is started for it."""
    import sys  # noqa: PLC0415

    from mes.people import passwords  # noqa: PLC0415

    if not from_stdin and not sys.stdin.isatty():
        return passwords.generate(), True
    password: str = (
        sys.stdin.readline().rstrip("\r\n")
        if from_stdin
        else typer.prompt(
            f"Password ({passwords.MIN_LENGTH} characters or more)", hide_input=True, confirmation_prompt=True
        )
    )
    passwords.require_good(password)
    return password, False


def _show_generated(password: str | None) -> None:
    if password is not None:
        typer.echo(f"Password, shown only now: {password}")


def _state(user: "ListedUser", now: "datetime") -> str:
    if not user.active:
        return "deactivated"
    if user.locked_until is not None and user.locked_until > now:
        return f"locked until {user.locked_until:%H:%M} UTC"
    return "active"

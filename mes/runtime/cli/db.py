"""`mes db`: moves the database's schema up and down."""

from collections.abc import Callable
from typing import Annotated

import typer

Revision = Annotated[str, typer.Argument(help="A revision, `head`, `base`, or a step such as `-1`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The database's schema: upgrade, downgrade, current revision.")
    group.command()(upgrade)
    group.command(context_settings={"ignore_unknown_options": True})(downgrade)
    group.command()(current)
    app.add_typer(group, name="db")


def upgrade(revision: Revision = "head") -> None:
    """Migrate the database up to a revision."""
    from mes.db import migrate  # noqa: PLC0415

    _move(migrate.upgrade, revision)


def downgrade(revision: Revision) -> None:
    """Migrate the database down to a revision; what newer revisions added is dropped, with its data."""
    from mes.db import migrate  # noqa: PLC0415

    _move(migrate.downgrade, revision)


def current() -> None:
    """Print the revision that the database is at."""
    from mes.db import migrate  # noqa: PLC0415

    _with_database(lambda url: typer.echo(migrate.current(url) or "none"))


def _move(to: Callable[[str, str], None], revision: str) -> None:
    from alembic.util import CommandError  # noqa: PLC0415

    from mes.db import migrate  # noqa: PLC0415
    from mes.errors import MesError  # noqa: PLC0415

    def move(url: str) -> None:
        try:
            to(url, revision)
        except CommandError as error:
            raise MesError(
                f"The schema cannot be moved to {revision!r}: {error}. The newest is {migrate.head()}."
            ) from error
        typer.echo(f"The schema is at revision {migrate.current(url) or 'none'}.")

    _with_database(move)


def _with_database(work: Callable[[str], None]) -> None:
    from mes import config  # noqa: PLC0415
    from mes.runtime.embedded import database  # noqa: PLC0415

    with database(config.load()) as found:
        work(found.url)

"""`mes db`: moves the database's schema up and down, and fills the read models anew."""

import sys
from collections.abc import Callable
from typing import Annotated

import typer

Revision = Annotated[str, typer.Argument(help="A revision, `head`, `base`, or a step such as `-1`.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, help="The database: its schema, its read models.")
    group.command()(upgrade)
    group.command(context_settings={"ignore_unknown_options": True})(downgrade)
    group.command()(current)
    group.command()(rebuild)
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


def rebuild() -> None:
    """Fill the order list and the reports anew, beside live traffic: they are read and refreshed meanwhile.

    Never needed for a changed definition, which `mes up` and dbt see for themselves; it is for tables that something
    else has damaged.
    """
    from mes import config  # noqa: PLC0415
    from mes.db import migrate  # noqa: PLC0415
    from mes.errors import MesError  # noqa: PLC0415
    from mes.runtime import up  # noqa: PLC0415
    from mes.runtime.embedded import database  # noqa: PLC0415

    settings = config.load()
    with database(settings) as found:
        if migrate.current(found.url) != migrate.head():
            raise MesError(
                "The database's tables are not those of this version. Run `mes db upgrade` or `mes up` first."
            )
        typer.echo("Filling the order list and the reports anew; that takes minutes for each million orders.", err=True)
        argv = [sys.executable, "-m", "pipelines.build_read_models", "--full"]
        up.run_step("build-read-models", argv, settings, found)
    typer.echo("Done: the new ones have taken the old ones' place.")


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

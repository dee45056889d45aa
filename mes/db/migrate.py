"""Brings a database to a revision of the schema, up or down."""

from datetime import date
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from mes.db import engine, query, set_aside

MIGRATIONS = Path(__file__).parent / "migrations"
# one migration at a time, whoever starts it; the number is arbitrary and ours
MIGRATION_LOCK = 7_203_391


def upgrade(url: str, revision: str = "head", *, whole: bool = True) -> None:
    """Migrate the database at `url` up to `revision`; nothing happens when it is there already.

    Indexes that somebody who was killed has set aside are put back first, unless the caller wants to go on filling it
    (`whole` is false).

    Raises:
        TablesBeingFilled: another process has set indexes aside and is filling the tables.
    """
    if whole:
        _mend(url)
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate the database at `url` down to `revision` (`base` removes the schemas and all their data)."""
    _mend(url)
    command.downgrade(_config(url), revision)


def current(url: str) -> str | None:
    """The revision that the database at `url` is at, or None when it was never migrated."""
    database = engine.connect(url)
    try:
        with database.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        database.dispose()


def head() -> str:
    """The newest revision that this code knows."""
    revision = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if revision is None:
        raise RuntimeError(f"no migration found in {MIGRATIONS}")
    return revision


def ensure_event_partitions(connection: Connection, first: date, last: date) -> int:
    """Create the monthly partitions of `ops.order_events` from `first` to `last` (dates); gives how many were new."""
    return query.number(
        connection,
        "select ops.ensure_event_partitions(cast(:first as date), cast(:last as date))",
        first=first,
        last=last,
    )


def _mend(url: str) -> None:
    database = engine.connect(url, application="mes-migrate")
    try:
        set_aside.mend(database)
    finally:
        database.dispose()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = engine.sqlalchemy_url(url)
    return config

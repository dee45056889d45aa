"""Runs Alembic's migrations on the database that `mes.db.migrate` was given."""

from alembic import context
from sqlalchemy import NullPool, create_engine, text

from mes.db import tables
from mes.db.migrate import MIGRATION_LOCK


def _ours(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:  # noqa: FBT001
    """Leave out the monthly partitions: they are made as months come."""
    return not (kind == "table" and name is not None and name.startswith("order_events_"))


def _our_schema(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "schema" or name in {tables.OPS, tables.RAW}


def run() -> None:
    """Migrate in one transaction, alone, giving up on a table that is locked for long instead of queueing up."""
    database = create_engine(context.config.attributes["url"], poolclass=NullPool)
    with database.connect() as connection:
        with connection.begin():
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
            connection.execute(text("set lock_timeout = '10s'"))
        context.configure(
            connection=connection,
            target_metadata=tables.metadata,
            include_schemas=True,
            include_name=_our_schema,
            include_object=_ours,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()
    database.dispose()


run()

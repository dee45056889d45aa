"""The job queue: procrastinate's tables and functions, of the version that its newest migration names.

Revision: 0003, after 0002
"""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

DROP = """
do $$
declare
    what text;
begin
    for what in select 'table ' || oid::regclass from pg_class
        where relkind = 'r' and relnamespace = 'public'::regnamespace and relname like 'procrastinate\\_%' loop
        execute 'drop ' || what || ' cascade';
    end loop;
    for what in select 'function ' || oid::regprocedure from pg_proc
        where pronamespace = 'public'::regnamespace and proname like 'procrastinate\\_%' loop
        execute 'drop ' || what || ' cascade';
    end loop;
    for what in select 'type ' || oid::regtype from pg_type
        where typnamespace = 'public'::regnamespace and typname like 'procrastinate\\_%' and typtype in ('e', 'c') loop
        execute 'drop ' || what || ' cascade';
    end loop;
end $$
"""


def upgrade() -> None:
    _run(SchemaManager.get_schema())


def downgrade() -> None:
    _run(DROP)


def _run(script: str) -> None:
    """By the driver alone, without parameters, so that it leaves the script's per cent signs as they are."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("a migration needs a connection")
    driver.execute(script)

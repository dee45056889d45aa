"""Counts kept with the order list, a list that is rebuilt beside the old one, customers found by words.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Queues in tables: emptied as fast as they are filled, so that what is dead outnumbers what lives by far; by shares of
# the live rows autovacuum would come too often for an empty table and, after a bulk load, too late.
QUEUE = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "20000",
}
# Grown for years, changed at its young end: by the usual fifth of all rows, ten million orders would see two million
# changes before a vacuum or new statistics.
LARGE = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_insert_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.01",
}


def upgrade() -> None:
    op.create_table(
        "list_counts",
        sa.Column("counter", sa.Text(), nullable=False, comment="What is counted: `status`, `late`, `queue`, ..."),
        sa.Column("subject", sa.Text(), nullable=False, comment="Of which status or operator; empty where of none."),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("remaining_h", sa.Numeric(), nullable=False, comment="Standard working hours left in them."),
        sa.PrimaryKeyConstraint("counter", "subject", name=op.f("pk_list_counts")),
        schema="ops",
    )
    op.create_table(
        "list_count_changes",
        sa.Column("change_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("counter", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("orders", sa.BigInteger(), nullable=False),
        sa.Column("remaining_h", sa.Numeric(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_list_count_changes")),
        schema="ops",
        postgresql_with=QUEUE,
    )
    op.create_table(
        "merged_orders",
        sa.Column("merge_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "order_id",
            sa.UUID(),
            nullable=False,
            comment="Merged into the order list while dbt builds the next one, which must have the change too.",
        ),
        sa.PrimaryKeyConstraint("merge_id", name=op.f("pk_merged_orders")),
        schema="ops",
        postgresql_with=QUEUE,
    )
    op.add_column(
        "customers",
        sa.Column(
            "words",
            sa.Text(),
            sa.Computed("lower(external_id || ' ' || coalesce(name, ''))", persisted=True),
            nullable=True,
            comment="What he is searched by.",
        ),
        schema="ops",
    )
    op.create_index(
        "ix_customers_words",
        "customers",
        ["words"],
        schema="ops",
        postgresql_using="gin",
        postgresql_ops={"words": "gin_trgm_ops"},
    )
    _set("dirty_orders", QUEUE)
    _set("outbox", LARGE)
    for table in ("orders", "order_items", "quotes"):
        _set(table, LARGE)


def downgrade() -> None:
    for table, options in (
        ("dirty_orders", QUEUE),
        *((each, LARGE) for each in ("outbox", "orders", "order_items", "quotes")),
    ):
        op.execute(f"alter table ops.{table} reset ({', '.join(options)})")
    op.drop_column("customers", "words", schema="ops")
    for table in ("merged_orders", "list_count_changes", "list_counts"):
        op.drop_table(table, schema="ops")


def _set(table: str, options: dict[str, str]) -> None:
    pairs = ", ".join(f"{name} = {value}" for name, value in options.items())
    op.execute(f"alter table ops.{table} set ({pairs})")

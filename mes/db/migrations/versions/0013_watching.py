"""What an alert asks for: who has been in a status for how long, when a feed was last loaded, which statements are slow.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the index and the table; the extension only where we may and where the server has it."""
    op.create_index(
        "ix_orders_open_status_since",
        "orders",
        ["status", "status_since"],
        schema="ops",
        postgresql_where=sa.text("held_since is null and status not in ('SHIPPED', 'CLOSED', 'CANCELLED')"),
    )
    op.create_table(
        "feed_loads",
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column(
            "loaded_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When its files were last read, whether or not they had news.",
        ),
        sa.Column("rows", sa.BigInteger(), nullable=False, comment="Good rows that they had then."),
        sa.PrimaryKeyConstraint("feed", name="pk_feed_loads"),
        schema="ops",
    )
    op.execute("""
        do $$ begin
            create extension if not exists pg_stat_statements with schema public;
        exception when insufficient_privilege or undefined_file or feature_not_supported then
            raise notice 'pg_stat_statements is not there: slow statements are not counted';
        end $$
    """)


def downgrade() -> None:
    """Drop what `upgrade` made; the extension may be used by others."""
    op.drop_table("feed_loads", schema="ops")
    op.drop_index("ix_orders_open_status_since", "orders", schema="ops")

"""One index fewer on orders: lists of all statuses are read from the one that has the status in it.

Revision: 0008, after 0007
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop it."""
    op.drop_index("ix_orders_source_changed_at", table_name="orders", schema="ops")


def downgrade() -> None:
    """Make it again."""
    op.create_index(
        "ix_orders_source_changed_at", "orders", ["source", "changed_at", "order_id"], unique=False, schema="ops"
    )

"""Which statuses of its order an event waits for, so that other changes of it wake nobody.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; who waits already is woken by any change, as before."""
    statuses = postgresql.ENUM(name="order_status", schema="ops", create_type=False)
    op.add_column(
        "inbox_orders",
        sa.Column(
            "wakes_at",
            postgresql.ARRAY(statuses),
            nullable=True,
            comment="Statuses of the order that it waits for; null: any change of it.",
        ),
        schema="ops",
    )


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("inbox_orders", "wakes_at", schema="ops")

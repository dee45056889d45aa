"""The indexes that rest while an empty database is filled, so that whoever comes next can put them back.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "set_aside_indexes",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("table_name", sa.Text(), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_set_aside_indexes"),
        schema="ops",
    )


def downgrade() -> None:
    """Drop it; migrations put the indexes back before they run."""
    op.drop_table("set_aside_indexes", schema="ops")

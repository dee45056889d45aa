"""Positions of events in the order of their commits, how far each carrier has got, and who may carry.

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing was published yet, so all of the outbox waits for its position."""
    op.drop_index("ix_outbox_unpublished", table_name="outbox", schema="ops")
    op.drop_column("outbox", "published_at", schema="ops")
    op.add_column(
        "outbox",
        sa.Column(
            "position",
            sa.BigInteger(),
            nullable=True,
            comment="In the order of commits, without gaps, given after the commit; null until then.",
        ),
        schema="ops",
    )
    op.create_index("uq_outbox_position", "outbox", ["position"], unique=True, schema="ops")
    op.create_index(
        "ix_outbox_source_position",
        "outbox",
        [sa.text("(event #>> '{data,order,source}')"), "position"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("position is not null"),
    )
    op.create_index(
        "ix_outbox_unnumbered",
        "outbox",
        ["outbox_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("position is null"),
    )
    op.create_table(
        "carriers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, comment="Of the last event up to which it has carried all."
        ),
        sa.Column(
            "stream", sa.Text(), nullable=True, comment="Which stream of the bus holds them: made anew, it differs."
        ),
        sa.Column(
            "stream_sequence", sa.BigInteger(), nullable=True, comment="Up to which the stream was filled at the least."
        ),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_carriers"),
        schema="ops",
    )
    op.execute("insert into ops.carriers (name, position) values ('outbox', 0)")
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False, comment="Grows with each new holder."),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases"),
        schema="ops",
    )


def downgrade() -> None:
    """The outbox of before had published nothing."""
    op.drop_table("leases", schema="ops")
    op.drop_table("carriers", schema="ops")
    for name in ("ix_outbox_unnumbered", "ix_outbox_source_position", "uq_outbox_position"):
        op.drop_index(name, table_name="outbox", schema="ops")
    op.drop_column("outbox", "position", schema="ops")
    op.add_column("outbox", sa.Column("published_at", sa.DateTime(timezone=True), nullable=True), schema="ops")
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["outbox_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("published_at is null"),
    )

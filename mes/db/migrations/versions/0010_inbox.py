"""What shop and CRM tell by a bus: events until they are applied, how far each order of each sender is, what no one can read.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

QUEUE = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "20000",
}
LARGE = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_insert_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.01",
}


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "inbox",
        sa.Column("inbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False, comment="Which system told us."),
        sa.Column(
            "event_source", sa.Text(), nullable=False, comment="The CloudEvent's own source; its ids are unique there."
        ),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="Of the order."),
        sa.Column("external_id", sa.Text(), nullable=False, comment="Of the order."),
        sa.Column(
            "sequence",
            sa.Integer(),
            nullable=True,
            comment="Per sender and order, from 1; null of a sender that cannot number.",
        ),
        sa.Column("type", sa.Text(), nullable=False, comment="As it was told; may be no status at all."),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "fault", sa.Text(), nullable=True, comment="Why it can never be applied, as far as it tells by itself."
        ),
        sa.Column("event", postgresql.JSONB(astext_type=sa.Text()), nullable=False, comment="As it came."),
        sa.Column("carrier", sa.Text(), nullable=False, comment="By which it came first."),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column(
            "outcome", sa.Text(), nullable=True, comment="In words: what it waits for, or why it was not applied."
        ),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state in ('waiting', 'applied', 'ignored', 'parked')", name=op.f("ck_inbox_state")),
        sa.PrimaryKeyConstraint("inbox_id", name=op.f("pk_inbox")),
        sa.UniqueConstraint("sender", "event_source", "event_id", name=op.f("uq_inbox_sender_event_source_event_id")),
        schema="ops",
        postgresql_with=LARGE,
    )
    op.create_index("ix_inbox_order", "inbox", ["source", "external_id", "inbox_id"], unique=False, schema="ops")
    op.create_index(
        "ix_inbox_undecided",
        "inbox",
        ["sender", "source", "external_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("state in ('waiting', 'parked')"),
    )
    op.create_table(
        "inbox_orders",
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("next_sequence", sa.Integer(), server_default="1", nullable=False),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it is to be looked at; null: nothing to do.",
        ),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False, comment="Looks in a row that failed."),
        sa.Column(
            "seen_version",
            sa.Integer(),
            nullable=True,
            comment="Version of the order that its next event waits to change; 0 while there is no such order.",
        ),
        sa.Column(
            "gap_since", sa.DateTime(timezone=True), nullable=True, comment="Since when the next event is missing."
        ),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True, comment="When it was last asked for again."),
        sa.Column("parked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("parked_reason", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("sender", "source", "external_id", name=op.f("pk_inbox_orders")),
        schema="ops",
        postgresql_with=QUEUE,
    )
    for name, column, condition in (
        ("ix_inbox_orders_due", "due_at", "due_at is not null"),
        ("ix_inbox_orders_waiting", "seen_version", "seen_version is not null"),
        ("ix_inbox_orders_gaps", "gap_since", "gap_since is not null"),
        ("ix_inbox_orders_parked", "parked_at", "parked_at is not null"),
    ):
        op.create_index(name, "inbox_orders", [column], unique=False, schema="ops", postgresql_where=sa.text(condition))
    op.create_table(
        "rejected_messages",
        sa.Column("message_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False),
        sa.Column("carrier", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False, comment="On which it came."),
        sa.Column("body", sa.LargeBinary(), nullable=False, comment="Its first 64 KiB."),
        sa.Column("bytes", sa.BigInteger(), nullable=False, comment="Of all of it."),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_rejected_messages")),
        schema="ops",
    )
    op.create_index(
        "ix_rejected_messages_received_at", "rejected_messages", ["received_at"], unique=False, schema="ops"
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("rejected_messages", "inbox_orders", "inbox"):
        op.drop_table(table, schema="ops")

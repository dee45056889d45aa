"""What runs compared with shop and CRM, where those say otherwise, and snapshots of orders told beside their events.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and let the outbox tell of a version more than once."""
    op.add_column(
        "outbox",
        sa.Column(
            "telling",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="0: the event itself; from 1 on, snapshots told of the order at this version.",
        ),
        schema="ops",
    )
    op.drop_constraint("uq_outbox_order_id_sequence", "outbox", schema="ops")
    op.create_unique_constraint(
        "uq_outbox_order_id_sequence_telling", "outbox", ["order_id", "sequence", "telling"], schema="ops"
    )
    op.create_table(
        "reconciliation_runs",
        sa.Column("run_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False, comment="With which it compared."),
        sa.Column("scope", sa.Text(), nullable=False, comment="`all` orders, or those that changed lately."),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("error", sa.Text(), nullable=True, comment="Why it failed: nothing was compared, nor repaired."),
        sa.Column(
            "seen_up_to",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Our changes up to then were compared; the next run goes on from there.",
        ),
        sa.Column("stated", sa.BigInteger(), nullable=True, comment="Orders that the system spoke of."),
        sa.Column("bad_rows", sa.BigInteger(), nullable=True, comment="Rows of its statement that could not be read."),
        sa.Column("ours", sa.BigInteger(), nullable=True, comment="Orders of ours that were compared."),
        sa.Column(
            "buckets",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Per source and bucket that differed: counts, sums of versions and digests.",
        ),
        sa.Column("found", postgresql.JSONB(astext_type=sa.Text()), nullable=True, comment="Open differences by kind."),
        sa.Column("repaired", sa.BigInteger(), nullable=True, comment="Repairs that this run began."),
        sa.CheckConstraint("scope in ('all', 'recent')", name=op.f("ck_reconciliation_runs_scope")),
        sa.CheckConstraint("state in ('running', 'done', 'failed')", name=op.f("ck_reconciliation_runs_state")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_reconciliation_runs")),
        schema="ops",
    )
    op.create_index(
        "ix_reconciliation_runs_system_run_id",
        "reconciliation_runs",
        ["system", "run_id"],
        unique=False,
        schema="ops",
    )
    op.create_table(
        "drift",
        sa.Column("drift_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("system", sa.Text(), nullable=False, comment="Who says otherwise."),
        sa.Column("source", sa.Text(), nullable=False, comment="Of the order."),
        sa.Column("external_id", sa.Text(), nullable=False, comment="Of the order."),
        sa.Column("order_id", sa.UUID(), nullable=True, comment="Null while we do not know the order."),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ours", sa.Text(), nullable=True, comment="Our status and version, in words."),
        sa.Column("theirs", sa.Text(), nullable=True, comment="Theirs."),
        sa.Column("explanation", sa.Text(), nullable=False),
        sa.Column(
            "remedy", sa.Text(), nullable=False, comment="What may repair it: `snapshot`, `wake`, or a `person`."
        ),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When a run last found it.",
        ),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True, comment="When a run found it gone."),
        sa.Column(
            "repairs",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="How often it was tried to be repaired.",
        ),
        sa.Column("repaired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("repaired_by", sa.Text(), nullable=True, comment="Program or person, of the last repair."),
        sa.Column("accepted_by", sa.Text(), nullable=True),
        sa.Column("accepted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("accepted_reason", sa.Text(), nullable=True),
        sa.CheckConstraint("state in ('open', 'person', 'accepted', 'closed')", name=op.f("ck_drift_state")),
        sa.CheckConstraint("remedy in ('snapshot', 'wake', 'person')", name=op.f("ck_drift_remedy")),
        sa.PrimaryKeyConstraint("drift_id", name=op.f("pk_drift")),
        sa.UniqueConstraint("system", "source", "external_id", name=op.f("uq_drift_system_source_external_id")),
        schema="ops",
    )
    op.create_index(
        "ix_drift_open",
        "drift",
        ["system", "kind", "opened_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("state in ('open', 'person')"),
    )


def downgrade() -> None:
    """Drop them; snapshots that were told go with the column that knows them."""
    for table in ("drift", "reconciliation_runs"):
        op.drop_table(table, schema="ops")
    op.execute("delete from ops.outbox where telling > 0")
    op.drop_constraint("uq_outbox_order_id_sequence_telling", "outbox", schema="ops")
    op.drop_column("outbox", "telling", schema="ops")
    op.create_unique_constraint("uq_outbox_order_id_sequence", "outbox", ["order_id", "sequence"], schema="ops")

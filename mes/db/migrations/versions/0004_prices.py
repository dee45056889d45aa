"""Prices in under a second: more measures, models that wait, drafts of rate cards, unit costs, levers.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MARK_MODELS_UNCOSTED = """
create function ops.mark_models_uncosted() returns trigger language plpgsql as $$
begin
    insert into ops.uncosted_models (model_id) select distinct model_id from measured;
    return null;
end $$
"""

# volatile, so that it sees what was committed until it is called, and not only until its statement began
KEPT_ANSWER = """
create function ops.kept_answer(of_caller text, of_method text, of_path text, of_key text, since timestamptz)
returns table (body_hash text, status integer, headers jsonb, body text) language sql volatile rows 1 as $$
    select body_hash, status, headers, body from ops.idempotency_keys
    where caller = of_caller and method = of_method and path = of_path and idempotency_key = of_key
        and created_at > since
$$
"""


def upgrade() -> None:
    op.create_table(
        "pending_models",
        sa.Column("model_id", sa.Text(), nullable=False, comment="Its bytes are stored; a worker measures it."),
        sa.Column("caller", sa.Text(), nullable=False, comment="The API caller that sent it, and waits."),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "started_at", sa.DateTime(timezone=True), nullable=True, comment="When a worker began to measure it."
        ),
        sa.Column(
            "failure",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Code and message, when it turned out to be no model.",
        ),
        sa.CheckConstraint("model_id ~ '^[0-9a-f]{64}$'", name=op.f("ck_pending_models_sha256")),
        sa.PrimaryKeyConstraint("model_id", "caller", name=op.f("pk_pending_models")),
        schema="ops",
    )
    op.create_table(
        "cost_table",
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("kernel_version", sa.Integer(), nullable=False),
        sa.Column("rate_card_id", sa.Text(), nullable=False, comment="The card by which it was last computed."),
        sa.Column("rates_hash", sa.Text(), nullable=False, comment="Of the rates that it depends on: others may move."),
        sa.Column("mass_g", sa.Double(), nullable=True, comment="Of one piece at the model's own size."),
        sa.Column(
            "material_cost",
            sa.Numeric(precision=14, scale=2),
            nullable=True,
            comment="For one piece, before margin and minimum.",
        ),
        sa.Column("work_cost", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column(
            "unit_price",
            sa.Numeric(precision=14, scale=2),
            nullable=True,
            comment="Of one piece for a retail customer, without rush, stones and engraving.",
        ),
        sa.Column("currency", sa.Text(), nullable=True),
        sa.Column("problem", sa.Text(), nullable=True, comment="Why there is no price."),
        sa.Column("refreshed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("model_id", "material", "finish", name=op.f("pk_cost_table")),
        schema="ops",
        postgresql_with={"fillfactor": 65},
    )
    op.create_table(
        "cost_rates",
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column(
            "rates_hash", sa.Text(), nullable=False, comment="Of the rates by which the cost table has these rows."
        ),
        sa.Column(
            "reached",
            sa.Text(),
            nullable=True,
            comment="Model up to which it has, while they move; null once all are there.",
        ),
        sa.Column("moved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("material", "finish", name=op.f("pk_cost_rates")),
        schema="ops",
    )
    op.create_table(
        "uncosted_models",
        sa.Column("mark_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column(
            "model_id",
            sa.Text(),
            nullable=False,
            comment="Measured since the cost table had its rows, or for the first time.",
        ),
        sa.Column("marked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("mark_id", name=op.f("pk_uncosted_models")),
        schema="ops",
    )
    op.execute(MARK_MODELS_UNCOSTED)
    op.execute(
        "create trigger geometries_mark_models_uncosted after insert on ops.geometries "
        "referencing new table as measured for each statement execute function ops.mark_models_uncosted()"
    )
    op.add_column(
        "geometries",
        sa.Column("box_length_mm", sa.Double(), nullable=True, comment="Of the oriented box, longest side first."),
        schema="ops",
    )
    op.add_column("geometries", sa.Column("box_width_mm", sa.Double(), nullable=True), schema="ops")
    op.add_column("geometries", sa.Column("box_height_mm", sa.Double(), nullable=True), schema="ops")
    op.add_column(
        "geometries",
        sa.Column("print_height_mm", sa.Double(), nullable=True, comment="As its wax is printed best."),
        schema="ops",
    )
    op.add_column(
        "geometries",
        sa.Column(
            "support_mm3", sa.Double(), nullable=True, comment="Under the overhangs of the wax, as it is printed best."
        ),
        schema="ops",
    )
    op.add_column(
        "geometries",
        sa.Column(
            "detail",
            sa.Double(),
            nullable=True,
            comment="Total absolute mean curvature over that of a sphere of the same area.",
        ),
        schema="ops",
    )
    op.add_column(
        "geometries",
        sa.Column("thinnest_mm", sa.Double(), nullable=True, comment="Thinnest wall that was met."),
        schema="ops",
    )
    op.add_column(
        "geometries",
        sa.Column(
            "measures",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="All measures, faults and thin places included.",
        ),
        schema="ops",
    )
    op.create_index(
        "ix_orders_unapproved",
        "orders",
        ["order_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status in ('SUBMITTED', 'PRICE_CALCULATED')"),
    )
    op.add_column(
        "quotes",
        sa.Column(
            "levers",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="What would have made it cheaper, and by how much; null where nobody asked.",
        ),
        schema="ops",
    )
    op.add_column(
        "rate_cards",
        sa.Column(
            "activated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
            comment="From when on it may be priced with; null: a draft, loaded to look at.",
        ),
        schema="ops",
    )
    op.execute("update ops.rate_cards set activated_at = loaded_at")
    op.execute(KEPT_ANSWER)
    op.drop_index("ix_quotes_caller_model_id", table_name="quotes", schema="ops")
    op.create_index(
        "ix_quotes_current_wishes",
        "quotes",
        ["caller", "model_id", "material", "finish", "quantity", "rate_card_id", "kernel_version"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("caller is not null and superseded_by is null"),
    )


def downgrade() -> None:
    op.execute("drop function ops.kept_answer(text, text, text, text, timestamptz)")
    op.drop_index("ix_quotes_current_wishes", table_name="quotes", schema="ops")
    op.create_index(
        "ix_quotes_caller_model_id",
        "quotes",
        ["caller", "model_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("caller is not null"),
    )
    op.drop_column("rate_cards", "activated_at", schema="ops")
    op.drop_column("quotes", "levers", schema="ops")
    op.drop_index(
        "ix_orders_unapproved",
        table_name="orders",
        schema="ops",
        postgresql_where=sa.text("status in ('SUBMITTED', 'PRICE_CALCULATED')"),
    )
    op.drop_column("geometries", "measures", schema="ops")
    op.drop_column("geometries", "thinnest_mm", schema="ops")
    op.drop_column("geometries", "detail", schema="ops")
    op.drop_column("geometries", "support_mm3", schema="ops")
    op.drop_column("geometries", "print_height_mm", schema="ops")
    op.drop_column("geometries", "box_height_mm", schema="ops")
    op.drop_column("geometries", "box_width_mm", schema="ops")
    op.drop_column("geometries", "box_length_mm", schema="ops")
    op.execute("drop trigger geometries_mark_models_uncosted on ops.geometries")
    op.execute("drop function ops.mark_models_uncosted()")
    op.drop_table("uncosted_models", schema="ops")
    op.drop_table("cost_rates", schema="ops")
    op.drop_table("cost_table", schema="ops")
    op.drop_table("pending_models", schema="ops")

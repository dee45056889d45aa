"""Who calls, who works: API keys and what belongs to their callers, users, claims on orders.

Revision: 0002, after 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Text(), nullable=False, comment="The public part of the key."),
        sa.Column(
            "secret_hash", sa.Text(), nullable=False, comment="SHA-256 of the secret part, which has 256 random bits."
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column(
            "caller",
            sa.Text(),
            nullable=False,
            comment="Whose orders, models and quotes it may use; the orders' source.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True, comment="To the minute."),
        sa.CheckConstraint("scope in ('shop', 'partner', 'crm', 'admin')", name=op.f("ck_api_keys_scope")),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_api_keys")),
        schema="ops",
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("idempotency_key", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False, comment="SHA-256 of the request's bytes."),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("caller", "method", "path", "idempotency_key", name=op.f("pk_idempotency_keys")),
        schema="ops",
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False, schema="ops")
    op.create_table(
        "quote_requests",
        sa.Column("quote_id", sa.UUID(), nullable=False, comment="Of the quote that it becomes."),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column(
            "request",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The options as they were asked for.",
        ),
        sa.Column(
            "failure",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=True,
            comment="Code and message, when no price came of it.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("quote_id", name=op.f("pk_quote_requests")),
        schema="ops",
    )
    op.create_table(
        "users",
        sa.Column("user_name", sa.Text(), nullable=False, comment="How people sign in, and how events name them."),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="Argon2id, with its parameters and salt."),
        sa.Column("active", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("failed_sign_ins", sa.Integer(), server_default="0", nullable=False),
        sa.Column("locked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("role in ('operator', 'manager')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("user_name", name=op.f("pk_users")),
        schema="ops",
    )
    op.create_index(
        "uq_users_lower_user_name", "users", [sa.literal_column("lower(user_name)")], unique=True, schema="ops"
    )
    op.create_table(
        "model_uploads",
        sa.Column(
            "caller", sa.Text(), nullable=False, comment="The API caller that sent the bytes, and may use the model."
        ),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("uploaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["ops.models.model_id"], name=op.f("fk_model_uploads_model_id")),
        sa.PrimaryKeyConstraint("caller", "model_id", name=op.f("pk_model_uploads")),
        schema="ops",
    )
    op.create_table(
        "user_sessions",
        sa.Column("token_hash", sa.Text(), nullable=False, comment="SHA-256 of the cookie's token."),
        sa.Column("user_name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_name"],
            ["ops.users.user_name"],
            name=op.f("fk_user_sessions_user_name"),
            onupdate="CASCADE",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_user_sessions")),
        schema="ops",
    )
    op.create_index(op.f("ix_user_sessions_user_name"), "user_sessions", ["user_name"], unique=False, schema="ops")
    op.add_column(
        "orders",
        sa.Column("claimed_by", sa.Text(), nullable=True, comment="Operator who works on it: nobody else may move it."),
        schema="ops",
    )
    op.add_column(
        "orders",
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the claim ends unless work has begun; null once it has.",
        ),
        schema="ops",
    )
    op.add_column(
        "orders",
        sa.Column(
            "given_back_by",
            sa.Text(),
            nullable=True,
            comment="Operator who returned it last: it is not shared out to him again.",
        ),
        schema="ops",
    )
    op.add_column(
        "orders",
        sa.Column(
            "content_hash",
            sa.Text(),
            nullable=True,
            comment="SHA-256 of the content that the API was given: the same order again is known by it.",
        ),
        schema="ops",
    )
    op.alter_column(
        "orders",
        "assigned_to",
        existing_type=sa.TEXT(),
        comment="Operator in whose work queue it stands.",
        existing_nullable=True,
        schema="ops",
    )
    op.create_index(
        "ix_orders_unpriced",
        "orders",
        ["order_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status = 'SUBMITTED'"),
    )
    op.create_index(
        "ix_orders_leases",
        "orders",
        ["lease_until"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("lease_until is not null"),
    )
    op.create_index(
        "ix_orders_open_by_operator",
        "orders",
        ["assigned_to"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("status not in ('SHIPPED', 'CLOSED', 'CANCELLED')"),
    )
    op.create_index(
        "ix_orders_source_changed_at", "orders", ["source", "changed_at", "order_id"], unique=False, schema="ops"
    )
    op.create_index(
        "ix_orders_source_status_changed_at",
        "orders",
        ["source", "status", "changed_at", "order_id"],
        unique=False,
        schema="ops",
    )
    op.add_column(
        "quotes",
        sa.Column(
            "caller", sa.Text(), nullable=True, comment="The API caller that asked for it; null when an order did."
        ),
        schema="ops",
    )
    op.create_index(
        "ix_quotes_caller_model_id",
        "quotes",
        ["caller", "model_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("caller is not null"),
    )
    op.alter_column("orders", "changed_at", server_default=sa.text("clock_timestamp()"), schema="ops")
    op.create_check_constraint(
        op.f("ck_orders_lease"), "orders", "lease_until is null or claimed_by is not null", schema="ops"
    )


def downgrade() -> None:
    op.alter_column("orders", "changed_at", server_default=sa.text("now()"), schema="ops")
    op.drop_index("ix_quotes_caller_model_id", table_name="quotes", schema="ops")
    # dbt's models read what goes; dbt builds them again
    op.execute("drop schema if exists staging cascade")
    op.execute("drop schema if exists marts cascade")
    op.drop_column("quotes", "caller", schema="ops")
    op.drop_index("ix_orders_source_status_changed_at", table_name="orders", schema="ops")
    op.drop_index("ix_orders_source_changed_at", table_name="orders", schema="ops")
    op.drop_index(
        "ix_orders_open_by_operator",
        table_name="orders",
        schema="ops",
        postgresql_where=sa.text("status not in ('SHIPPED', 'CLOSED', 'CANCELLED')"),
    )
    op.drop_index(
        "ix_orders_unpriced",
        table_name="orders",
        schema="ops",
        postgresql_where=sa.text("status = 'SUBMITTED'"),
    )
    op.drop_index(
        "ix_orders_leases", table_name="orders", schema="ops", postgresql_where=sa.text("lease_until is not null")
    )
    op.alter_column(
        "orders",
        "assigned_to",
        existing_type=sa.TEXT(),
        comment=None,
        existing_comment="Operator in whose work queue it stands.",
        existing_nullable=True,
        schema="ops",
    )
    op.drop_column("orders", "content_hash", schema="ops")
    op.drop_column("orders", "given_back_by", schema="ops")
    op.drop_column("orders", "lease_until", schema="ops")
    op.drop_column("orders", "claimed_by", schema="ops")
    op.drop_index(op.f("ix_user_sessions_user_name"), table_name="user_sessions", schema="ops")
    op.drop_table("user_sessions", schema="ops")
    op.drop_table("model_uploads", schema="ops")
    op.drop_index("uq_users_lower_user_name", table_name="users", schema="ops")
    op.drop_table("users", schema="ops")
    op.drop_table("quote_requests", schema="ops")
    op.drop_index("ix_idempotency_keys_created_at", table_name="idempotency_keys", schema="ops")
    op.drop_table("idempotency_keys", schema="ops")
    op.drop_table("api_keys", schema="ops")

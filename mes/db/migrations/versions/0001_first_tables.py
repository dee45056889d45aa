"""The first tables: orders and their life, models and prices, feeds as they came.

Revision: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ORDER_STATUS = postgresql.ENUM(
    "INITIATED",
    "SUBMITTED",
    "PRICE_CALCULATED",
    "MANUFACTURING_APPROVED",
    "MANUFACTURING_STARTED",
    "MANUFACTURING_COMPLETED",
    "PACKAGING",
    "SHIPPED",
    "CLOSED",
    "CANCELLED",
    name="order_status",
    schema="ops",
    create_type=False,
)

MARK_DIRTY = """
create function ops.mark_orders_dirty() returns trigger language plpgsql as $$
begin
    insert into ops.dirty_orders (order_id) select distinct order_id from changed;
    return null;
end $$
"""
MARK_CUSTOMERS_ORDERS_DIRTY = """
create function ops.mark_customers_orders_dirty() returns trigger language plpgsql as $$
begin
    insert into ops.dirty_orders (order_id)
    select orders.order_id from ops.orders join changed using (customer_id);
    return null;
end $$
"""
REFUSE = """
create function ops.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '%.% is append-only: record a new event instead', tg_table_schema, tg_table_name;
end $$
"""
# Months are made before they are written to; what comes unannounced waits in the default partition and moves here when
# its month is made, so no event is ever refused for its date.
ENSURE_PARTITIONS = """
create function ops.ensure_event_partitions(first date, last date) returns integer language plpgsql as $$
declare
    month date;
    partition text;
    created integer := 0;
begin
    perform pg_advisory_xact_lock(7203392);
    for month in select generate_series(date_trunc('month', first), date_trunc('month', last), '1 month')::date loop
        partition := 'order_events_' || to_char(month, 'YYYYMM');
        continue when to_regclass('ops.' || partition) is not null;
        create temporary table moved on commit drop as
            select * from ops.order_events_default
            where occurred_at >= month and occurred_at < month + interval '1 month';
        delete from ops.order_events_default
            where occurred_at >= month and occurred_at < month + interval '1 month';
        execute format('create table ops.%I partition of ops.order_events for values from (%L) to (%L)',
            partition, month::text || ' 00:00:00+00', (month + interval '1 month')::date::text || ' 00:00:00+00');
        insert into ops.order_events select * from moved;
        drop table moved;
        created := created + 1;
    end loop;
    return created;
end $$
"""


CLOUD_EVENT = """
create function ops.cloud_event(
    order_id uuid, source text, external_id text, status ops.order_status, version integer, held boolean,
    type text, occurred_at timestamptz, system text, actor text, reason text, details jsonb
) returns jsonb language sql stable as $$
    select jsonb_build_object(
        'specversion', '1.0',
        'id', order_id || '/' || version,
        'type', 'mes.order.' || lower(type) || '.v1',
        'source', '/mes',
        'subject', order_id,
        'time', to_char(occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
        'datacontenttype', 'application/json',
        'sequence', version::text,
        'data', jsonb_strip_nulls(jsonb_build_object(
            'order', jsonb_build_object('order_id', order_id, 'source', source, 'external_id', external_id),
            'status', status, 'version', version, 'held', held,
            'system', system, 'actor', actor, 'reason', reason, 'details', details)))
$$
"""


def _mark_by_trigger(table: str, function: str, *moments: str) -> None:
    for moment in moments:
        op.execute(
            f"create trigger {table}_{function}_{moment} after {moment} on ops.{table} "
            f"referencing {'old' if moment == 'delete' else 'new'} table as changed "
            f"for each statement execute function ops.{function}()"
        )


def upgrade() -> None:
    op.execute("create extension if not exists pg_trgm")
    op.execute("create schema ops")
    op.execute("create schema raw")
    ORDER_STATUS.create(op.get_bind())
    op.create_table(
        "customers",
        sa.Column("customer_id", sa.UUID(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), server_default="retail", nullable=False),
        sa.Column(
            "exported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="`updated_at` of the export that it was last updated from.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tier in ('retail', 'b2b', 'vip')", name=op.f("ck_customers_tier")),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_customers")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_customers_source_external_id")),
        schema="ops",
    )
    op.create_table(
        "dirty_orders",
        sa.Column("mark_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("marked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("mark_id", name=op.f("pk_dirty_orders")),
        schema="ops",
    )
    op.create_table(
        "models",
        sa.Column(
            "model_id", sa.Text(), nullable=False, comment="SHA-256 of the file's bytes, lower-case hexadecimal."
        ),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column(
            "file_name", sa.Text(), nullable=False, comment="Name under which it was first seen; for people only."
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("model_id ~ '^[0-9a-f]{64}$'", name=op.f("ck_models_sha256")),
        sa.PrimaryKeyConstraint("model_id", name=op.f("pk_models")),
        schema="ops",
    )
    op.create_table(
        "order_events",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="The order's version after this event."),
        sa.Column(
            "type", sa.Text(), nullable=False, comment="The status moved to, or held, released, edited, assigned, ..."
        ),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("system", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("live", sa.Boolean(), nullable=False, comment="False for history: it is not told to other systems."),
        sa.Column(
            "inferred",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="No source reported it; life demands it.",
        ),
        sa.Column(
            "late",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Arrived after the order had moved on.",
        ),
        sa.Column("source_event_id", sa.Text(), nullable=True),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("order_id", "sequence", "occurred_at", name=op.f("pk_order_events")),
        schema="ops",
        postgresql_partition_by="RANGE (occurred_at)",
    )
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column(
            "event",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="The CloudEvent as it will be published.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("order_id", "sequence", name=op.f("uq_outbox_order_id_sequence")),
        schema="ops",
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["outbox_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("published_at is null"),
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column(
            "stage",
            sa.Text(),
            nullable=False,
            comment="`read`: refused; `apply`: landed, not applicable; `wait`: for its order.",
        ),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column(
            "content", sa.Text(), nullable=False, comment="The row as it stands in the file, cut to 2,000 characters."
        ),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "resolved_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the file was loaded again without this bad row.",
        ),
        sa.CheckConstraint("stage in ('read', 'apply', 'wait')", name=op.f("ck_quarantine_stage")),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
        sa.UniqueConstraint(
            "feed",
            "file",
            "line",
            "stage",
            "content_hash",
            name=op.f("uq_quarantine_feed_file_line_stage_content_hash"),
        ),
        schema="ops",
    )
    op.create_index(
        "ix_quarantine_open",
        "quarantine",
        ["quarantine_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("resolved_at is null"),
    )
    op.create_table(
        "rate_cards",
        sa.Column(
            "rate_card_id",
            sa.Text(),
            nullable=False,
            comment="Hash of the card's content: the same card is the same row.",
        ),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("card", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("valid_to > valid_from", name=op.f("ck_rate_cards_validity")),
        sa.PrimaryKeyConstraint("rate_card_id", name=op.f("pk_rate_cards")),
        schema="ops",
    )
    op.create_index("ix_rate_cards_valid_from", "rate_cards", ["valid_from"], unique=False, schema="ops")
    op.create_table(
        "crm_order_events",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("type", ORDER_STATUS, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "month", sa.Date(), nullable=False, comment="Partition: first day of the month of the row's own time (UTC)."
        ),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was applied to `ops`; null while it waits (e.g. for its order).",
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_crm_order_events")),
        schema="raw",
    )
    op.create_index("ix_crm_order_events_month", "crm_order_events", ["month"], unique=False, schema="raw")
    op.create_index(
        "ix_crm_order_events_order", "crm_order_events", ["source", "external_id"], unique=False, schema="raw"
    )
    op.create_index(
        "ix_crm_order_events_unapplied",
        "crm_order_events",
        ["source", "external_id"],
        unique=False,
        schema="raw",
        postgresql_where=sa.text("applied_at is null"),
    )
    op.create_table(
        "crm_orders",
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column(
            "row_hash",
            sa.Text(),
            nullable=False,
            comment="Of the row's content: one row per order and distinct export.",
        ),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("customer_external_id", sa.Text(), nullable=False),
        sa.Column("customer_name", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("rush", sa.Boolean(), nullable=False),
        sa.Column("status", ORDER_STATUS, nullable=False),
        sa.Column(
            "items",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="As exported; `model` is a path or a model's id.",
        ),
        sa.Column(
            "month", sa.Date(), nullable=False, comment="Partition: first day of the month of the row's own time (UTC)."
        ),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was applied to `ops`; null while it waits (e.g. for its order).",
        ),
        sa.PrimaryKeyConstraint("external_id", "row_hash", name=op.f("pk_crm_orders")),
        schema="raw",
    )
    op.create_index("ix_crm_orders_month", "crm_orders", ["month"], unique=False, schema="raw")
    op.create_index(
        "ix_crm_orders_unapplied",
        "crm_orders",
        ["external_id"],
        unique=False,
        schema="raw",
        postgresql_where=sa.text("applied_at is null"),
    )
    op.create_table(
        "legacy_status_history",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("type", ORDER_STATUS, nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "month", sa.Date(), nullable=False, comment="Partition: first day of the month of the row's own time (UTC)."
        ),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was applied to `ops`; null while it waits (e.g. for its order).",
        ),
        sa.PrimaryKeyConstraint("source", "external_id", "type", "occurred_at", name=op.f("pk_legacy_status_history")),
        schema="raw",
    )
    op.create_index("ix_legacy_status_history_month", "legacy_status_history", ["month"], unique=False, schema="raw")
    op.create_index(
        "ix_legacy_status_history_unapplied",
        "legacy_status_history",
        ["source", "external_id"],
        unique=False,
        schema="raw",
        postgresql_where=sa.text("applied_at is null"),
    )
    op.create_table(
        "shop_orders",
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column(
            "row_hash",
            sa.Text(),
            nullable=False,
            comment="Of the row's content: one row per order and distinct export.",
        ),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("customer_external_id", sa.Text(), nullable=False),
        sa.Column("customer_name", sa.Text(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("paid", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("rush", sa.Boolean(), nullable=False),
        sa.Column("status", ORDER_STATUS, nullable=False),
        sa.Column(
            "items",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="As exported; `model` is a path or a model's id.",
        ),
        sa.Column(
            "month", sa.Date(), nullable=False, comment="Partition: first day of the month of the row's own time (UTC)."
        ),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was applied to `ops`; null while it waits (e.g. for its order).",
        ),
        sa.PrimaryKeyConstraint("external_id", "row_hash", name=op.f("pk_shop_orders")),
        schema="raw",
    )
    op.create_index("ix_shop_orders_month", "shop_orders", ["month"], unique=False, schema="raw")
    op.create_index(
        "ix_shop_orders_unapplied",
        "shop_orders",
        ["external_id"],
        unique=False,
        schema="raw",
        postgresql_where=sa.text("applied_at is null"),
    )
    op.create_table(
        "geometries",
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("kernel_version", sa.Integer(), nullable=False),
        sa.Column("triangles", sa.BigInteger(), nullable=False),
        sa.Column("volume_mm3", sa.Double(), nullable=False),
        sa.Column("area_mm2", sa.Double(), nullable=False),
        sa.Column("extent_x_mm", sa.Double(), nullable=False),
        sa.Column("extent_y_mm", sa.Double(), nullable=False),
        sa.Column("extent_z_mm", sa.Double(), nullable=False),
        sa.Column("bodies", sa.Integer(), nullable=False),
        sa.Column("closed", sa.Boolean(), nullable=False),
        sa.Column("open_edges", sa.BigInteger(), nullable=False),
        sa.Column("facing", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=True, comment="Unit that the file states, if it states one."),
        sa.Column("measured_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["ops.models.model_id"], name=op.f("fk_geometries_model_id")),
        sa.PrimaryKeyConstraint("model_id", "kernel_version", name=op.f("pk_geometries")),
        schema="ops",
    )
    op.create_table(
        "orders",
        sa.Column("order_id", sa.UUID(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("customer_id", sa.UUID(), nullable=False),
        sa.Column("status", ORDER_STATUS, nullable=False),
        sa.Column("status_since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("placed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rush", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("currency", sa.Text(), server_default="USD", nullable=False),
        sa.Column("paid", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("hold_reason", sa.Text(), nullable=True),
        sa.Column("held_by", sa.Text(), nullable=True),
        sa.Column("held_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("assigned_to", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column(
            "overdue",
            sa.Boolean(),
            server_default=sa.text("false"),
            nullable=False,
            comment="Open and past due; flipped by the refresher when the time comes, so that no view asks the clock.",
        ),
        sa.Column(
            "live_from",
            sa.Integer(),
            nullable=True,
            comment="Version of the first live event: the outbox holds every event from it on; null while all is history.",
        ),
        sa.Column(
            "exported_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="`updated_at` of the export that this order was last updated from.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(hold_reason is null) = (held_since is null)", name=op.f("ck_orders_hold")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_orders_version")),
        sa.ForeignKeyConstraint(["customer_id"], ["ops.customers.customer_id"], name=op.f("fk_orders_customer_id")),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_orders")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_orders_source_external_id")),
        schema="ops",
    )
    op.create_index(
        "ix_orders_becoming_overdue",
        "orders",
        ["due_at"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("not overdue and status not in ('SHIPPED', 'CLOSED', 'CANCELLED')"),
    )
    op.create_index(op.f("ix_orders_customer_id"), "orders", ["customer_id"], unique=False, schema="ops")
    op.create_table(
        "model_files",
        sa.Column(
            "model", sa.Text(), nullable=False, comment="As the feeds name it: a path below the model root, or an id."
        ),
        sa.Column("model_id", sa.Text(), nullable=True, comment="Null while it cannot be used; then kind says why."),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("(model_id is null) = (kind is not null)", name=op.f("ck_model_files_fault")),
        sa.ForeignKeyConstraint(["model_id"], ["ops.models.model_id"], name=op.f("fk_model_files_model_id")),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_model_files")),
        schema="raw",
    )
    op.create_table(
        "anomalies",
        sa.Column("anomaly_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("advice", sa.Text(), nullable=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["ops.orders.order_id"], name=op.f("fk_anomalies_order_id")),
        sa.PrimaryKeyConstraint("anomaly_id", name=op.f("pk_anomalies")),
        sa.UniqueConstraint("order_id", "kind", name=op.f("uq_anomalies_order_id_kind")),
        schema="ops",
    )
    op.create_index("ix_anomalies_kind", "anomalies", ["kind", "anomaly_id"], unique=False, schema="ops")
    op.create_table(
        "quotes",
        sa.Column("quote_id", sa.UUID(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("order_id", sa.UUID(), nullable=True),
        sa.Column("line", sa.Integer(), nullable=True),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("kernel_version", sa.Integer(), nullable=False),
        sa.Column("rate_card_id", sa.Text(), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("longest_side_mm", sa.Numeric(precision=12, scale=4), nullable=True),
        sa.Column("rush", sa.Boolean(), nullable=False),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("stones", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("engraving", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("total", sa.Numeric(precision=14, scale=2), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("breakdown", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("superseded_by", sa.UUID(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_id", "kernel_version"],
            ["ops.geometries.model_id", "ops.geometries.kernel_version"],
            name="fk_quotes_geometry",
        ),
        sa.ForeignKeyConstraint(["rate_card_id"], ["ops.rate_cards.rate_card_id"], name=op.f("fk_quotes_rate_card_id")),
        sa.PrimaryKeyConstraint("quote_id", name=op.f("pk_quotes")),
        schema="ops",
    )
    op.create_index("ix_quotes_order_id_line", "quotes", ["order_id", "line"], unique=False, schema="ops")
    op.create_table(
        "order_items",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("model_id", sa.Text(), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("finish", sa.Text(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("longest_side_mm", sa.Numeric(precision=12, scale=4), nullable=True),
        sa.Column("stones", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("engraving", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("quote_id", sa.UUID(), nullable=True),
        sa.CheckConstraint("longest_side_mm > 0", name=op.f("ck_order_items_longest_side")),
        sa.CheckConstraint("quantity > 0", name=op.f("ck_order_items_quantity")),
        sa.ForeignKeyConstraint(["model_id"], ["ops.models.model_id"], name=op.f("fk_order_items_model_id")),
        sa.ForeignKeyConstraint(["order_id"], ["ops.orders.order_id"], name=op.f("fk_order_items_order_id")),
        sa.ForeignKeyConstraint(["quote_id"], ["ops.quotes.quote_id"], name=op.f("fk_order_items_quote_id")),
        sa.PrimaryKeyConstraint("order_id", "line", name=op.f("pk_order_items")),
        schema="ops",
    )
    op.create_index("ix_order_items_model_id", "order_items", ["model_id"], unique=False, schema="ops")
    op.create_index(
        "ix_order_items_unpriced",
        "order_items",
        ["order_id"],
        unique=False,
        schema="ops",
        postgresql_where=sa.text("quote_id is null"),
    )
    op.execute("create table ops.order_events_default partition of ops.order_events default")
    for function in (MARK_DIRTY, MARK_CUSTOMERS_ORDERS_DIRTY, REFUSE, ENSURE_PARTITIONS, CLOUD_EVENT):
        op.execute(function)
    _mark_by_trigger("orders", "mark_orders_dirty", "insert", "update", "delete")
    _mark_by_trigger("order_items", "mark_orders_dirty", "insert", "update", "delete")
    _mark_by_trigger("customers", "mark_customers_orders_dirty", "update")
    op.execute(
        "create trigger order_events_append_only before update or delete or truncate on ops.order_events "
        "for each statement execute function ops.refuse_change()"
    )


def downgrade() -> None:
    op.execute("drop schema raw cascade")
    op.execute("drop schema ops cascade")

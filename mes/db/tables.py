"""The tables of the schemas `ops` (truth) and `raw` (feeds as they came); migrations are tested to agree with this."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    TextClause,
    UniqueConstraint,
    false,
    func,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from mes.orders.life import FINISHED_STATUSES, Status

OPS, RAW = "ops", "raw"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ORDER_STATUS = Enum(*(status.value for status in Status), name="order_status", schema=OPS, metadata=metadata)
OPEN_PREDICATE = text(f"status not in ({', '.join(repr(status.value) for status in FINISHED_STATUSES)})")
SHA256_PATTERN = "'^[0-9a-f]{64}$'"
MONEY = Numeric(14, 2)
TIME = DateTime(timezone=True)
# queues in tables are emptied as fast as they are filled: by shares of the live rows, autovacuum would come too late
QUEUE_VACUUM = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "5000",
    "autovacuum_vacuum_cost_delay": "0",
    "autovacuum_analyze_scale_factor": "0",
    "autovacuum_analyze_threshold": "20000",
}
# what grows for years and changes at its young end would wait for two million changes, of ten million rows
LARGE_VACUUM = {
    "autovacuum_vacuum_scale_factor": "0.01",
    "autovacuum_vacuum_insert_scale_factor": "0.02",
    "autovacuum_analyze_scale_factor": "0.01",
}


def _uuid_key(name: str) -> Column[object]:
    return Column(name, UUID, primary_key=True, server_default=func.uuidv7())


def _now(name: str) -> Column[object]:
    return Column(name, TIME, nullable=False, server_default=func.now())


def _week_and_day(column: str) -> tuple[TextClause, TextClause]:
    """Monday of the week, and the day (UTC): one index finds an order's part in either report."""
    at = f"({column} at time zone 'UTC')"
    return text(f"(date_trunc('week', {at})::date)"), text(f"({at}::date)")


customers = Table(
    "customers",
    metadata,
    _uuid_key("customer_id"),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("name", Text),
    Column("tier", Text, nullable=False, server_default="retail"),
    Column("exported_at", TIME, comment="`updated_at` of the export that it was last updated from."),
    _now("created_at"),
    Column(
        "words",
        Text,
        Computed("lower(external_id || ' ' || coalesce(name, ''))", persisted=True),
        comment="What he is searched by.",
    ),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("tier in ('retail', 'b2b', 'vip')", name="tier"),
    Index("ix_customers_words", "words", postgresql_using="gin", postgresql_ops={"words": "gin_trgm_ops"}),
    schema=OPS,
)

orders = Table(
    "orders",
    metadata,
    _uuid_key("order_id"),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("customer_id", ForeignKey(customers.c.customer_id), nullable=False, index=True),
    Column("status", ORDER_STATUS, nullable=False),
    Column("status_since", TIME, nullable=False),
    Column("version", Integer, nullable=False),
    Column("placed_at", TIME, nullable=False),
    Column("due_at", TIME),
    Column("rush", Boolean, nullable=False, server_default=false()),
    Column("currency", Text, nullable=False, server_default="USD"),
    Column("paid", MONEY),
    Column("hold_reason", Text),
    Column("held_by", Text),
    Column("held_since", TIME),
    Column("assigned_to", Text, comment="Operator in whose work queue it stands."),
    Column("claimed_by", Text, comment="Operator who works on it: nobody else may move it."),
    Column("lease_until", TIME, comment="When the claim ends unless work has begun; null once it has."),
    Column("given_back_by", Text, comment="Operator who returned it last: it is not shared out to him again."),
    Column("note", Text),
    Column(
        "content_hash",
        Text,
        comment="SHA-256 of the content that the API was given: the same order again is known by it.",
    ),
    Column(
        "overdue",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="Open and past due; flipped by the refresher when the time comes, so that no view asks the clock.",
    ),
    Column(
        "live_from",
        Integer,
        comment="Version of the first live event: the outbox holds every event from it on; null while all is history.",
    ),
    Column("exported_at", TIME, comment="`updated_at` of the export that this order was last updated from."),
    _now("created_at"),
    # near the commit, where `now()` is the begin of a transaction that may be long
    Column("changed_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    UniqueConstraint("source", "external_id"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("(hold_reason is null) = (held_since is null)", name="hold"),
    CheckConstraint("lease_until is null or claimed_by is not null", name="lease"),
    Index("ix_orders_source_status_changed_at", "source", "status", "changed_at", "order_id"),
    Index("ix_orders_open_by_operator", "assigned_to", postgresql_where=OPEN_PREDICATE),
    Index("ix_orders_unpriced", "order_id", postgresql_where=text("status = 'SUBMITTED'")),
    Index("ix_orders_unapproved", "order_id", postgresql_where=text("status in ('SUBMITTED', 'PRICE_CALCULATED')")),
    Index("ix_orders_leases", "lease_until", postgresql_where=text("lease_until is not null")),
    Index(
        "ix_orders_becoming_overdue",
        "due_at",
        postgresql_where=text(f"not overdue and {OPEN_PREDICATE.text}"),
    ),
    Index("ix_orders_placed_week_day", *_week_and_day("placed_at")),
    Index(
        "ix_orders_open_status_since",
        "status",
        "status_since",
        postgresql_where=text(f"held_since is null and {OPEN_PREDICATE.text}"),
    ),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

models = Table(
    "models",
    metadata,
    Column("model_id", Text, primary_key=True, comment="SHA-256 of the file's bytes, lower-case hexadecimal."),
    Column("bytes", BigInteger, nullable=False),
    Column("format", Text, nullable=False),
    Column("file_name", Text, nullable=False, comment="Name under which it was first seen; for people only."),
    _now("created_at"),
    CheckConstraint(f"model_id ~ {SHA256_PATTERN}", name="sha256"),
    schema=OPS,
)

geometries = Table(
    "geometries",
    metadata,
    Column("model_id", ForeignKey(models.c.model_id), primary_key=True),
    Column("kernel_version", Integer, primary_key=True),
    Column("triangles", BigInteger, nullable=False),
    Column("volume_mm3", Double, nullable=False),
    Column("area_mm2", Double, nullable=False),
    Column("extent_x_mm", Double, nullable=False),
    Column("extent_y_mm", Double, nullable=False),
    Column("extent_z_mm", Double, nullable=False),
    Column("bodies", Integer, nullable=False),
    Column("closed", Boolean, nullable=False),
    Column("open_edges", BigInteger, nullable=False),
    Column("facing", Text, nullable=False),
    Column("unit", Text, comment="Unit that the file states, if it states one."),
    # from here on null for kernel 1, which did not measure them
    Column("box_length_mm", Double, comment="Of the oriented box, longest side first."),
    Column("box_width_mm", Double),
    Column("box_height_mm", Double),
    Column("print_height_mm", Double, comment="As its wax is printed best."),
    Column("support_mm3", Double, comment="Under the overhangs of the wax, as it is printed best."),
    Column("detail", Double, comment="Total absolute mean curvature over that of a sphere of the same area."),
    Column("thinnest_mm", Double, comment="Thinnest wall that was met."),
    Column("measures", JSONB, comment="All measures, faults and thin places included."),
    _now("measured_at"),
    schema=OPS,
)

model_uploads = Table(
    "model_uploads",
    metadata,
    Column("caller", Text, primary_key=True, comment="The API caller that sent the bytes, and may use the model."),
    Column("model_id", ForeignKey(models.c.model_id), primary_key=True),
    _now("uploaded_at"),
    schema=OPS,
)

pending_models = Table(
    "pending_models",
    metadata,
    Column("model_id", Text, primary_key=True, comment="Its bytes are stored; a worker measures it."),
    Column("caller", Text, primary_key=True, comment="The API caller that sent it, and waits."),
    Column("bytes", BigInteger, nullable=False),
    _now("requested_at"),
    Column("started_at", TIME, comment="When a worker began to measure it."),
    Column("failure", JSONB, comment="Code and message, when it turned out to be no model."),
    CheckConstraint(f"model_id ~ {SHA256_PATTERN}", name="sha256"),
    schema=OPS,
)

rate_cards = Table(
    "rate_cards",
    metadata,
    Column(
        "rate_card_id",
        Text,
        primary_key=True,
        comment="Hash of the card's content: the same card is the same row.",
    ),
    Column("name", Text, nullable=False),
    Column("valid_from", TIME, nullable=False),
    Column("valid_to", TIME),
    Column("card", JSONB, nullable=False),
    _now("loaded_at"),
    Column(
        "activated_at",
        TIME,
        server_default=func.now(),
        comment="From when on it may be priced with; null: a draft, loaded to look at.",
    ),
    CheckConstraint("valid_to > valid_from", name="validity"),
    Index("ix_rate_cards_valid_from", "valid_from"),
    schema=OPS,
)

quotes = Table(
    "quotes",
    metadata,
    _uuid_key("quote_id"),
    Column("order_id", UUID),
    Column("line", Integer),
    Column("caller", Text, comment="The API caller that asked for it; null when an order did."),
    Column("model_id", Text, nullable=False),
    Column("kernel_version", Integer, nullable=False),
    Column("rate_card_id", ForeignKey(rate_cards.c.rate_card_id), nullable=False),
    Column("material", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("longest_side_mm", Numeric(12, 4)),
    Column("rush", Boolean, nullable=False),
    Column("tier", Text, nullable=False),
    Column("stones", JSONB),
    Column("engraving", JSONB),
    Column("total", MONEY, nullable=False),
    Column("currency", Text, nullable=False),
    Column("breakdown", JSONB, nullable=False),
    Column("levers", JSONB, comment="What would have made it cheaper, and by how much; null where nobody asked."),
    Column("valid_until", TIME, nullable=False),
    Column("superseded_by", UUID),
    _now("created_at"),
    ForeignKeyConstraint(
        ["model_id", "kernel_version"],
        [geometries.c.model_id, geometries.c.kernel_version],
        name="fk_quotes_geometry",
    ),
    Index("ix_quotes_order_id_line", "order_id", "line"),
    # from a caller's wish to its quotes by other rates or kernels, past thousands by the same ones
    Index(
        "ix_quotes_current_wishes",
        *("caller", "model_id", "material", "finish", "quantity", "rate_card_id", "kernel_version"),
        postgresql_where=text("caller is not null and superseded_by is null"),
    ),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

quote_requests = Table(
    "quote_requests",
    metadata,
    Column("quote_id", UUID, primary_key=True, comment="Of the quote that it becomes."),
    Column("caller", Text, nullable=False),
    Column("request", JSONB, nullable=False, comment="The options as they were asked for."),
    Column("failure", JSONB, comment="Code and message, when no price came of it."),
    _now("created_at"),
    schema=OPS,
)

cost_table = Table(
    "cost_table",
    metadata,
    # no foreign key: rows are made of `geometries` alone, and checking it would double the time to fill the table
    Column("model_id", Text, primary_key=True),
    Column("material", Text, primary_key=True),
    Column("finish", Text, primary_key=True),
    Column("kernel_version", Integer, nullable=False),
    Column("rate_card_id", Text, nullable=False, comment="The card by which it was last computed."),
    Column("rates_hash", Text, nullable=False, comment="Of the rates that it depends on: others may move."),
    Column("mass_g", Double, comment="Of one piece at the model's own size."),
    Column("material_cost", MONEY, comment="For one piece, before margin and minimum."),
    Column("work_cost", MONEY),
    Column("unit_price", MONEY, comment="Of one piece for a retail customer, without rush, stones and engraving."),
    Column("currency", Text),
    Column("problem", Text, comment="Why there is no price."),
    _now("refreshed_at"),
    schema=OPS,
    # what moves is in no index, so that with room in its page a new version of a row needs no index entry (HOT)
    postgresql_with={"fillfactor": 65},
)

cost_rates = Table(
    "cost_rates",
    metadata,
    Column("material", Text, primary_key=True),
    Column("finish", Text, primary_key=True),
    Column("rates_hash", Text, nullable=False, comment="Of the rates by which the cost table has these rows."),
    Column("reached", Text, comment="Model up to which it has, while they move; null once all are there."),
    _now("moved_at"),
    schema=OPS,
)

uncosted_models = Table(
    "uncosted_models",
    metadata,
    Column("mark_id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "model_id", Text, nullable=False, comment="Measured since the cost table had its rows, or for the first time."
    ),
    _now("marked_at"),
    schema=OPS,
)

order_items = Table(
    "order_items",
    metadata,
    Column("order_id", ForeignKey(orders.c.order_id), primary_key=True),
    Column("line", Integer, primary_key=True),
    Column("model_id", ForeignKey(models.c.model_id), nullable=False),
    Column("material", Text, nullable=False),
    Column("finish", Text, nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("longest_side_mm", Numeric(12, 4)),
    Column("stones", JSONB),
    Column("engraving", JSONB),
    Column("quote_id", ForeignKey(quotes.c.quote_id)),
    CheckConstraint("quantity > 0", name="quantity"),
    CheckConstraint("longest_side_mm > 0", name="longest_side"),
    Index("ix_order_items_model_id", "model_id"),
    Index("ix_order_items_unpriced", "order_id", postgresql_where=text("quote_id is null")),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

order_events = Table(
    "order_events",
    metadata,
    Column("order_id", UUID, nullable=False),
    Column("sequence", Integer, nullable=False, comment="The order's version after this event."),
    Column("type", Text, nullable=False, comment="The status moved to, or held, released, edited, assigned, ..."),
    Column("occurred_at", TIME, nullable=False),
    _now("recorded_at"),
    Column("system", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text),
    Column("live", Boolean, nullable=False, comment="False for history: it is not told to other systems."),
    Column(
        "inferred",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="No source reported it; life demands it.",
    ),
    Column(
        "late",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="Arrived after the order had moved on.",
    ),
    Column("source_event_id", Text),
    Column("data", JSONB),
    # occurred_at belongs to the key because the partitions are by month of it; that (order_id, sequence) is unique
    # follows from the order's row, which every writer locks
    PrimaryKeyConstraint("order_id", "sequence", "occurred_at"),
    schema=OPS,
    postgresql_partition_by="RANGE (occurred_at)",
)

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", UUID, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("event", JSONB, nullable=False, comment="The CloudEvent as it will be published."),
    _now("created_at"),
    Column(
        "position",
        BigInteger,
        comment="In the order of commits, without gaps, given after the commit; null until then.",
    ),
    Column(
        "telling",
        Integer,
        nullable=False,
        server_default="0",
        comment="0: the event itself; from 1 on, snapshots told of the order at this version.",
    ),
    UniqueConstraint("order_id", "sequence", "telling"),
    Index("uq_outbox_position", "position", unique=True),
    Index(
        "ix_outbox_source_position",
        text("(event #>> '{data,order,source}')"),
        "position",
        postgresql_where=text("position is not null"),
    ),
    Index("ix_outbox_unnumbered", "outbox_id", postgresql_where=text("position is null")),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

reconciliation_runs = Table(
    "reconciliation_runs",
    metadata,
    Column("run_id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False, comment="With which it compared."),
    Column("scope", Text, nullable=False, comment="`all` orders, or those that changed lately."),
    Column("started_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("finished_at", TIME),
    Column("state", Text, nullable=False, server_default="running"),
    Column("error", Text, comment="Why it failed: nothing was compared, nor repaired."),
    Column("seen_up_to", TIME, comment="Our changes up to then were compared; the next run goes on from there."),
    Column("stated", BigInteger, comment="Orders that the system spoke of."),
    Column("bad_rows", BigInteger, comment="Rows of its statement that could not be read."),
    Column("ours", BigInteger, comment="Orders of ours that were compared."),
    Column("buckets", JSONB, comment="Per source and bucket that differed: counts, sums of versions and digests."),
    Column("found", JSONB, comment="Open differences by kind."),
    Column("repaired", BigInteger, comment="Repairs that this run began."),
    CheckConstraint("scope in ('all', 'recent')", name="scope"),
    CheckConstraint("state in ('running', 'done', 'failed')", name="state"),
    Index("ix_reconciliation_runs_system_run_id", "system", "run_id"),
    schema=OPS,
)

drift = Table(
    "drift",
    metadata,
    Column("drift_id", BigInteger, Identity(always=True), primary_key=True),
    Column("system", Text, nullable=False, comment="Who says otherwise."),
    Column("source", Text, nullable=False, comment="Of the order."),
    Column("external_id", Text, nullable=False, comment="Of the order."),
    Column("order_id", UUID, comment="Null while we do not know the order."),
    Column("kind", Text, nullable=False),
    Column("ours", Text, comment="Our status and version, in words."),
    Column("theirs", Text, comment="Theirs."),
    Column("explanation", Text, nullable=False),
    Column("remedy", Text, nullable=False, comment="What may repair it: `snapshot`, `wake`, or a `person`."),
    Column("state", Text, nullable=False),
    Column("opened_at", TIME, nullable=False, server_default=func.now()),
    Column("seen_at", TIME, nullable=False, server_default=func.now(), comment="When a run last found it."),
    Column("closed_at", TIME, comment="When a run found it gone."),
    Column("repairs", Integer, nullable=False, server_default="0", comment="How often it was tried to be repaired."),
    Column("repaired_at", TIME),
    Column("repaired_by", Text, comment="Program or person, of the last repair."),
    Column("accepted_by", Text),
    Column("accepted_at", TIME),
    Column("accepted_reason", Text),
    UniqueConstraint("system", "source", "external_id"),
    CheckConstraint("state in ('open', 'person', 'accepted', 'closed')", name="state"),
    CheckConstraint("remedy in ('snapshot', 'wake', 'person')", name="remedy"),
    Index("ix_drift_open", "system", "kind", "opened_at", postgresql_where=text("state in ('open', 'person')")),
    schema=OPS,
)

carriers = Table(
    "carriers",
    metadata,
    Column("name", Text, primary_key=True),
    Column("position", BigInteger, nullable=False, comment="Of the last event up to which it has carried all."),
    Column("stream", Text, comment="Which stream of the bus holds them: made anew, it differs."),
    Column("stream_sequence", BigInteger, comment="Up to which the stream was filled at the least."),
    _now("changed_at"),
    schema=OPS,
)

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("token", BigInteger, nullable=False, comment="Grows with each new holder."),
    Column("until", TIME, nullable=False),
    schema=OPS,
)

inbox = Table(
    "inbox",
    metadata,
    Column("inbox_id", BigInteger, Identity(always=True), primary_key=True),
    Column("sender", Text, nullable=False, comment="Which system told us."),
    Column("event_source", Text, nullable=False, comment="The CloudEvent's own source; its ids are unique there."),
    Column("event_id", Text, nullable=False),
    Column("source", Text, nullable=False, comment="Of the order."),
    Column("external_id", Text, nullable=False, comment="Of the order."),
    Column("sequence", Integer, comment="Per sender and order, from 1; null of a sender that cannot number."),
    Column("type", Text, nullable=False, comment="As it was told; may be no status at all."),
    Column("occurred_at", TIME, nullable=False),
    Column("reason", Text),
    Column("fault", Text, comment="Why it can never be applied, as far as it tells by itself."),
    Column("event", JSONB, nullable=False, comment="As it came."),
    Column("carrier", Text, nullable=False, comment="By which it came first."),
    Column("received_at", TIME, nullable=False, server_default=func.clock_timestamp()),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("outcome", Text, comment="In words: what it waits for, or why it was not applied."),
    Column("decided_at", TIME),
    UniqueConstraint("sender", "event_source", "event_id"),
    CheckConstraint("state in ('waiting', 'applied', 'ignored', 'parked')", name="state"),
    Index("ix_inbox_order", "source", "external_id", "inbox_id"),
    Index(
        "ix_inbox_undecided",
        *("sender", "source", "external_id"),
        postgresql_where=text("state in ('waiting', 'parked')"),
    ),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

inbox_orders = Table(
    "inbox_orders",
    metadata,
    Column("sender", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("external_id", Text, primary_key=True),
    Column("next_sequence", Integer, nullable=False, server_default="1"),
    Column("due_at", TIME, comment="When it is to be looked at; null: nothing to do."),
    Column("attempts", Integer, nullable=False, server_default="0", comment="Looks in a row that failed."),
    Column(
        "seen_version",
        Integer,
        comment="Version of the order that its next event waits to change; 0 while there is no such order.",
    ),
    Column(
        "wakes_at",
        ARRAY(ORDER_STATUS),
        comment="Statuses of the order that it waits for; null: any change of it.",
    ),
    Column("gap_since", TIME, comment="Since when the next event is missing."),
    Column("fetched_at", TIME, comment="When it was last asked for again."),
    Column("parked_at", TIME),
    Column("parked_reason", Text),
    Index("ix_inbox_orders_due", "due_at", postgresql_where=text("due_at is not null")),
    Index("ix_inbox_orders_waiting", "seen_version", postgresql_where=text("seen_version is not null")),
    Index("ix_inbox_orders_gaps", "gap_since", postgresql_where=text("gap_since is not null")),
    Index("ix_inbox_orders_parked", "parked_at", postgresql_where=text("parked_at is not null")),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

rejected_messages = Table(
    "rejected_messages",
    metadata,
    Column("message_id", BigInteger, Identity(always=True), primary_key=True),
    Column("sender", Text, nullable=False),
    Column("carrier", Text, nullable=False),
    Column("subject", Text, nullable=False, comment="On which it came."),
    Column("body", LargeBinary, nullable=False, comment="Its first 64 KiB."),
    Column("bytes", BigInteger, nullable=False, comment="Of all of it."),
    Column("reason", Text, nullable=False),
    _now("received_at"),
    Index("ix_rejected_messages_received_at", "received_at"),
    schema=OPS,
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    _uuid_key("endpoint_id"),
    Column("caller", Text, nullable=False, comment="The API caller that it belongs to."),
    Column("sees_all", Boolean, nullable=False, comment="Told of all orders, not of the caller's own only."),
    Column("url", Text, nullable=False),
    Column("event_types", ARRAY(Text), comment="Told of these only; null: of all."),
    Column(
        "secrets",
        JSONB,
        nullable=False,
        comment="What calls are signed with, newest first; each with the time until which it is used.",
    ),
    Column("from_position", BigInteger, nullable=False, comment="Told of events after this one."),
    _now("created_at"),
    Column("disabled_at", TIME),
    Column("disabled_reason", Text),
    Column("deleted_at", TIME, comment="Gone for its owner; a worker removes it, with its deliveries."),
    Index("ix_webhook_endpoints_caller", "caller"),
    schema=OPS,
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("delivery_id", BigInteger, Identity(always=True), primary_key=True),
    Column("endpoint_id", ForeignKey(webhook_endpoints.c.endpoint_id, ondelete="CASCADE"), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("order_id", UUID, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column(
        "next_at",
        TIME,
        nullable=False,
        comment="When it is tried; infinity while an earlier event of the order is not delivered.",
    ),
    Column("claimed_until", TIME, comment="A worker has it in hand until then."),
    _now("created_at"),
    Column("finished_at", TIME),
    UniqueConstraint("endpoint_id", "position"),
    CheckConstraint("state in ('waiting', 'delivered', 'failed')", name="state"),
    Index("ix_webhook_deliveries_due", "endpoint_id", "next_at", postgresql_where=text("state = 'waiting'")),
    Index(
        "ix_webhook_deliveries_of_order",
        *("endpoint_id", "order_id", "position"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index(
        "ix_webhook_deliveries_failed",
        *("endpoint_id", "position"),
        postgresql_where=text("state = 'failed'"),
    ),
    Index("ix_webhook_deliveries_finished_at", "finished_at", postgresql_where=text("finished_at is not null")),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column("attempt_id", BigInteger, Identity(always=True), primary_key=True),
    Column("delivery_id", ForeignKey(webhook_deliveries.c.delivery_id, ondelete="CASCADE"), nullable=False),
    _now("attempted_at"),
    Column("status", Integer, comment="HTTP status of the answer; null without one."),
    Column("error", Text),
    Column("duration_ms", Double, nullable=False),
    Index("ix_webhook_attempts_delivery_id", "delivery_id"),
    schema=OPS,
)

dirty_orders = Table(
    "dirty_orders",
    metadata,
    Column("mark_id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", UUID, nullable=False),
    _now("marked_at"),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

order_ends = Table(
    "order_ends",
    metadata,
    # by a trigger of order_events; no foreign key, which would be checked for each order that ends
    Column("order_id", UUID, primary_key=True),
    Column(
        "shipped_at",
        TIME,
        comment="When it was first shipped, as its events say; it may have been cancelled all the same.",
    ),
    Column("cancelled_at", TIME, comment="When it was first cancelled."),
    Index(
        "ix_order_ends_shipped_week_day",
        *_week_and_day("shipped_at"),
        postgresql_where=text("shipped_at is not null"),
    ),
    Index(
        "ix_order_ends_cancelled_week_day",
        *_week_and_day("cancelled_at"),
        postgresql_where=text("cancelled_at is not null"),
    ),
    schema=OPS,
    postgresql_with=LARGE_VACUUM,
)

changed_days = Table(
    "changed_days",
    metadata,
    Column("mark_id", BigInteger, Identity(always=True), primary_key=True),
    Column("day", Date, nullable=False, comment="UTC; the reports have to count it again."),
    _now("marked_at"),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

set_aside_indexes = Table(
    "set_aside_indexes",
    metadata,
    Column("name", Text, primary_key=True),
    Column("table_name", Text, nullable=False),
    Column("definition", Text, nullable=False),
    schema=OPS,
)

changed_weeks = Table(
    "changed_weeks",
    metadata,
    Column("mark_id", BigInteger, Identity(always=True), primary_key=True),
    Column("week", Date, nullable=False, comment="UTC; the reports have to count it again."),
    _now("marked_at"),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

merged_orders = Table(
    "merged_orders",
    metadata,
    Column("merge_id", BigInteger, Identity(always=True), primary_key=True),
    Column(
        "order_id",
        UUID,
        nullable=False,
        comment="Merged into the order list while dbt builds the next one, which must have the change too.",
    ),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

list_counts = Table(
    "list_counts",
    metadata,
    Column("counter", Text, primary_key=True, comment="What is counted: `status`, `late`, `queue`, ..."),
    Column("subject", Text, primary_key=True, comment="Of which status or operator; empty where of none."),
    Column("orders", BigInteger, nullable=False),
    Column("remaining_h", Numeric, nullable=False, comment="Standard working hours left in them."),
    schema=OPS,
)

list_count_changes = Table(
    "list_count_changes",
    metadata,
    Column("change_id", BigInteger, Identity(always=True), primary_key=True),
    Column("counter", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("orders", BigInteger, nullable=False),
    Column("remaining_h", Numeric, nullable=False),
    schema=OPS,
    postgresql_with=QUEUE_VACUUM,
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("quarantine_id", BigInteger, Identity(always=True), primary_key=True),
    Column("feed", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    Column(
        "stage",
        Text,
        nullable=False,
        comment="`read`: refused; `apply`: landed, not applicable; `wait`: for its order.",
    ),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("content", Text, nullable=False, comment="The row as it stands in the file, cut to 2,000 characters."),
    Column("content_hash", Text, nullable=False),
    _now("first_seen_at"),
    _now("last_seen_at"),
    Column("resolved_at", TIME, comment="When the file was loaded again without this bad row."),
    UniqueConstraint("feed", "file", "line", "stage", "content_hash"),
    CheckConstraint("stage in ('read', 'apply', 'wait')", name="stage"),
    Index("ix_quarantine_open", "quarantine_id", postgresql_where=text("resolved_at is null")),
    schema=OPS,
)

anomalies = Table(
    "anomalies",
    metadata,
    Column("anomaly_id", BigInteger, Identity(always=True), primary_key=True),
    Column("order_id", ForeignKey(orders.c.order_id), nullable=False),
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("advice", Text, nullable=False),
    Column("feed", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("line", BigInteger, nullable=False),
    _now("found_at"),
    UniqueConstraint("order_id", "kind"),
    Index("ix_anomalies_kind", "kind", "anomaly_id"),
    schema=OPS,
)


users = Table(
    "users",
    metadata,
    Column("user_name", Text, primary_key=True, comment="How people sign in, and how events name them."),
    Column("role", Text, nullable=False),
    Column("password_hash", Text, nullable=False, comment="Argon2id, with its parameters and salt."),
    Column("active", Boolean, nullable=False, server_default=true()),
    Column("failed_sign_ins", Integer, nullable=False, server_default="0"),
    Column("locked_until", TIME),
    _now("created_at"),
    CheckConstraint("role in ('operator', 'manager')", name="role"),
    Index("uq_users_lower_user_name", text("lower(user_name)"), unique=True),
    schema=OPS,
)

user_sessions = Table(
    "user_sessions",
    metadata,
    Column("token_hash", Text, primary_key=True, comment="SHA-256 of the cookie's token."),
    Column(
        "user_name",
        ForeignKey(users.c.user_name, ondelete="CASCADE", onupdate="CASCADE"),
        nullable=False,
        index=True,
    ),
    _now("created_at"),
    _now("last_seen_at"),
    Column("expires_at", TIME, nullable=False),
    schema=OPS,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Text, primary_key=True, comment="The public part of the key."),
    Column("secret_hash", Text, nullable=False, comment="SHA-256 of the secret part, which has 256 random bits."),
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("caller", Text, nullable=False, comment="Whose orders, models and quotes it may use; the orders' source."),
    _now("created_at"),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME, comment="To the minute."),
    CheckConstraint("scope in ('shop', 'partner', 'crm', 'admin')", name="scope"),
    schema=OPS,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("caller", Text, primary_key=True),
    Column("method", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("idempotency_key", Text, primary_key=True),
    Column("body_hash", Text, nullable=False, comment="SHA-256 of the request's bytes."),
    Column("status", Integer, nullable=False),
    Column("headers", JSONB, nullable=False),
    Column("body", Text, nullable=False),
    _now("created_at"),
    Index("ix_idempotency_keys_created_at", "created_at"),
    schema=OPS,
)


def _landing_columns() -> tuple[Column[object], ...]:
    return (
        Column(
            "month",
            Date,
            nullable=False,
            comment="Partition: first day of the month of the row's own time (UTC).",
        ),
        Column("file", Text, nullable=False),
        Column("line", BigInteger, nullable=False),
        _now("loaded_at"),
        Column(
            "applied_at",
            TIME,
            comment="When it was applied to `ops`; null while it waits (e.g. for its order).",
        ),
    )


def _exported_orders(name: str) -> Table:
    return Table(
        name,
        metadata,
        Column("external_id", Text, nullable=False),
        Column(
            "row_hash",
            Text,
            nullable=False,
            comment="Of the row's content: one row per order and distinct export.",
        ),
        Column("placed_at", TIME, nullable=False),
        Column("due_at", TIME),
        Column("updated_at", TIME, nullable=False),
        Column("customer_external_id", Text, nullable=False),
        Column("customer_name", Text),
        Column("tier", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("paid", MONEY),
        Column("rush", Boolean, nullable=False),
        Column("status", ORDER_STATUS, nullable=False),
        Column(
            "items",
            JSONB,
            nullable=False,
            comment="As exported; `model` is a path or a model's id.",
        ),
        *_landing_columns(),
        PrimaryKeyConstraint("external_id", "row_hash"),
        Index(f"ix_{name}_month", "month"),
        Index(f"ix_{name}_unapplied", "external_id", postgresql_where=text("applied_at is null")),
        schema=RAW,
    )


shop_orders = _exported_orders("shop_orders")
crm_orders = _exported_orders("crm_orders")

feed_loads = Table(
    "feed_loads",
    metadata,
    Column("feed", Text, primary_key=True),
    Column("loaded_at", TIME, nullable=False, comment="When its files were last read, whether or not they had news."),
    Column("rows", BigInteger, nullable=False, comment="Good rows that they had then."),
    schema=OPS,
)

model_files = Table(
    "model_files",
    metadata,
    Column("model", Text, primary_key=True, comment="As the feeds name it: a path below the model root, or an id."),
    Column("model_id", ForeignKey(models.c.model_id), comment="Null while it cannot be used; then kind says why."),
    Column("kind", Text),
    Column("reason", Text),
    Column("advice", Text),
    _now("checked_at"),
    CheckConstraint("(model_id is null) = (kind is not null)", name="fault"),
    schema=RAW,
)

crm_order_events = Table(
    "crm_order_events",
    metadata,
    Column("event_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("type", ORDER_STATUS, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    *_landing_columns(),
    Index("ix_crm_order_events_month", "month"),
    Index("ix_crm_order_events_order", "source", "external_id"),
    Index("ix_crm_order_events_unapplied", "source", "external_id", postgresql_where=text("applied_at is null")),
    schema=RAW,
)

legacy_status_history = Table(
    "legacy_status_history",
    metadata,
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("type", ORDER_STATUS, nullable=False),
    Column("occurred_at", TIME, nullable=False),
    *_landing_columns(),
    PrimaryKeyConstraint("source", "external_id", "type", "occurred_at"),
    Index("ix_legacy_status_history_month", "month"),
    Index(
        "ix_legacy_status_history_unapplied",
        "source",
        "external_id",
        postgresql_where=text("applied_at is null"),
    ),
    schema=RAW,
)

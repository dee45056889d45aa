"""When each order ended, by order and by day, and the days that the reports have to count again.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
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
# An order's first shipping and first cancellation, whenever their events come: the smaller time stays. Looking for the
# first in order_events would ask every partition, since its months are not known before.
KEEP_ENDS = """
create function ops.keep_order_ends() returns trigger language plpgsql as $$
begin
    if not exists (select from added where type in ('SHIPPED', 'CANCELLED')) then
        return null;  -- seven events of eight
    end if;
    with kept as (
        insert into ops.order_ends as known (order_id, shipped_at, cancelled_at)
        select
            order_id,
            min(occurred_at) filter (where type = 'SHIPPED'),
            min(occurred_at) filter (where type = 'CANCELLED')
        from added where type in ('SHIPPED', 'CANCELLED') group by order_id
        on conflict (order_id) do update set
            shipped_at = least(known.shipped_at, excluded.shipped_at),
            cancelled_at = least(known.cancelled_at, excluded.cancelled_at)
        where
            least(known.shipped_at, excluded.shipped_at) is distinct from known.shipped_at
            or least(known.cancelled_at, excluded.cancelled_at) is distinct from known.cancelled_at
        returning with (old as before, new as after)
            before.shipped_at as shipped_before, before.cancelled_at as cancelled_before,
            after.shipped_at, after.cancelled_at
    )
    insert into ops.changed_days (day)
    select distinct (times.at at time zone 'UTC')::date
    from kept cross join lateral (
        values (shipped_before), (cancelled_before), (shipped_at), (cancelled_at)
    ) as times (at)
    where times.at is not null;
    return null;
end $$
"""
MARK_PLACED_DAYS = """
create function ops.mark_placed_days() returns trigger language plpgsql as $$
begin
    insert into ops.changed_days (day) select distinct (placed_at at time zone 'UTC')::date from added;
    return null;
end $$
"""
# For a row that changed or went: the day it was placed, if that is another, and the days that it ended.
MARK_ORDER_DAYS = """
create function ops.mark_order_days() returns trigger language plpgsql as $$
begin
    insert into ops.changed_days (day)
    select distinct (times.at at time zone 'UTC')::date
    from (
        select unnest(array[old.placed_at, new.placed_at]) as at
        where old.placed_at is distinct from new.placed_at
        union all
        select unnest(array[shipped_at, cancelled_at]) from ops.order_ends where order_id = old.order_id
    ) as times
    where times.at is not null;
    if tg_op = 'DELETE' then
        delete from ops.order_ends where order_id = old.order_id;
    end if;
    return null;
end $$
"""
TRIGGERS = (
    (
        "create trigger order_events_ends after insert on ops.order_events "
        "referencing new table as added for each statement execute function ops.keep_order_ends()"
    ),
    (
        "create trigger orders_placed_days after insert on ops.orders "
        "referencing new table as added for each statement execute function ops.mark_placed_days()"
    ),
    # by row, because only that can look at the row first: a move that changes no figure costs nothing more
    (
        "create trigger orders_changed_days after update on ops.orders for each row when "
        "(old.placed_at <> new.placed_at or old.due_at is distinct from new.due_at "
        "or (old.status = 'CANCELLED') <> (new.status = 'CANCELLED')) execute function ops.mark_order_days()"
    ),
    ("create trigger orders_gone_days after delete on ops.orders for each row execute function ops.mark_order_days()"),
)


def upgrade() -> None:
    op.create_table(
        "order_ends",
        sa.Column("order_id", sa.UUID(), nullable=False),
        sa.Column(
            "shipped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was first shipped, as its events say; it may have been cancelled all the same.",
        ),
        sa.Column("cancelled_at", sa.DateTime(timezone=True), nullable=True, comment="When it was first cancelled."),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_order_ends")),
        schema="ops",
        postgresql_with=LARGE,
    )
    for queue, subject in (("changed_days", "day"), ("changed_weeks", "week")):
        op.create_table(
            queue,
            sa.Column("mark_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
            sa.Column(subject, sa.Date(), nullable=False, comment="UTC; the reports have to count it again."),
            sa.Column("marked_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
            sa.PrimaryKeyConstraint("mark_id", name=op.f(f"pk_{queue}")),
            schema="ops",
            postgresql_with=QUEUE,
        )
    for statement in (KEEP_ENDS, MARK_PLACED_DAYS, MARK_ORDER_DAYS, *TRIGGERS):
        op.execute(statement)
    op.execute(
        "insert into ops.order_ends select order_id, min(occurred_at) filter (where type = 'SHIPPED'), "
        "min(occurred_at) filter (where type = 'CANCELLED') from ops.order_events "
        "where type in ('SHIPPED', 'CANCELLED') group by order_id"
    )
    for table, column, condition in (
        ("orders", "placed_at", None),
        ("order_ends", "shipped_at", "shipped_at is not null"),
        ("order_ends", "cancelled_at", "cancelled_at is not null"),
    ):
        op.create_index(
            f"ix_{table}_{column.removesuffix('_at')}_week_day",
            table,
            [
                sa.text(f"(date_trunc('week', ({column} at time zone 'UTC'))::date)"),
                sa.text(f"(({column} at time zone 'UTC')::date)"),
            ],
            schema="ops",
            postgresql_where=sa.text(condition) if condition else None,
        )


def downgrade() -> None:
    op.drop_index("ix_orders_placed_week_day", "orders", schema="ops")
    for table, trigger in (
        ("orders", "orders_gone_days"),
        ("orders", "orders_changed_days"),
        ("orders", "orders_placed_days"),
        ("order_events", "order_events_ends"),
    ):
        op.execute(f"drop trigger {trigger} on ops.{table}")
    for function in ("mark_order_days", "mark_placed_days", "keep_order_ends"):
        op.execute(f"drop function ops.{function}()")
    for table in ("changed_weeks", "changed_days", "order_ends"):
        op.drop_table(table, schema="ops", if_exists=True)

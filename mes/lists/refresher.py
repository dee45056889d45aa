"""Merges changed orders into the order list, from dbt's view, so that an action shows without a dbt run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from uuid import UUID

from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from mes.db import query

LIST, VIEW = "marts.order_list", "marts.order_list_live"
# dbt holds these alone, refreshers share them: the one while it merges, or puts a new list in the old one's place; the
# other while it builds that new list beside the old one. As in dbt_project.yml; macros/list_building.sql says how
REFRESH_LOCK, REBUILD_LOCK = 7_203_394, 7_203_400
# a merge of 1,000 orders takes some 30 ms: long enough to be worth a statement, short enough to be seen at once
BATCH = 1_000
# dbt's merge of a day's marks takes less; who waits longer is shown by the refresher
_OWN_CHANGE_WAIT = "800ms"


@dataclass(frozen=True)
class Refreshed:
    """What one batch did: which orders were merged, and when the marks were made that were taken for them."""

    order_ids: Sequence[UUID]
    marked_at: Sequence[datetime]

    @property
    def orders(self) -> int:
        """How many orders were merged."""
        return len(self.order_ids)

    @property
    def marks(self) -> int:
        """How many marks were taken."""
        return len(self.marked_at)

    def lags_s(self, now: datetime) -> Sequence[float]:
        """For each mark, seconds from the change to `now`."""
        return [(now - at).total_seconds() for at in self.marked_at]


def is_built(conn: Connection) -> bool:
    """Whether dbt has built the list and its view."""
    return query.flag(
        conn, "select to_regclass(:list) is not null and to_regclass(:view) is not null", list=LIST, view=VIEW
    )


def refresh_batch(conn: Connection, limit: int = BATCH) -> Refreshed:
    """Take up to `limit` dirty marks and merge their orders, in the caller's transaction.

    Marks are deleted with the work, so a crash leaves both undone. An order is locked while it is merged (an advisory
    lock, which no writer waits for), and the merge reads the view after that: whoever merges an order last has seen all
    that was committed before its mark.
    """
    conn.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": REFRESH_LOCK})
    taken = conn.execute(
        text("""
            with due as materialized (
                select ctid, order_id, marked_at from ops.dirty_orders
                order by mark_id limit :limit for update skip locked
            ), ours as materialized (
                select * from (
                    select order_id, array_agg(marked_at) as marked_at, array_agg(ctid) as marks
                    from due group by order_id
                ) as orders
                where pg_try_advisory_xact_lock(hashtextextended(order_id::text, :key))
            ), deleted as (
                delete from ops.dirty_orders where ctid = any(array(select unnest(marks) from ours))
            )
            select order_id, marked_at from ours
        """),
        {"limit": limit, "key": REFRESH_LOCK},
    ).all()
    orders = [row.order_id for row in taken]
    _merge(conn, orders)
    return Refreshed(orders, [at for row in taken for at in row.marked_at])


def refresh_now(conn: Connection, order_ids: Sequence[UUID]) -> None:
    """Merge these orders at once, in the caller's transaction: what I just did is on my screen.

    Their marks stay, so the refresher looks at them again after the commit, and alone at those that it is merging just
    now. While dbt merges, this waits for it, though not for long.
    """
    if not order_ids or not is_built(conn) or not _share_list(conn):
        return
    ours = conn.execute(
        text("""
            select order_id from unnest(cast(:ids as uuid[])) as orders (order_id)
            where pg_try_advisory_xact_lock(hashtextextended(order_id::text, :key))
        """),
        {"ids": list(order_ids), "key": REFRESH_LOCK},
    )
    _merge(conn, list(ours.scalars()))


def flip_overdue(conn: Connection, limit: int = BATCH) -> int:
    """Mark up to `limit` open orders whose due date has passed; gives how many.

    An index finds them, whatever the table's size. One that is locked is left for the next time: an import may hold it
    for minutes, and waiting for several would end in a deadlock with whoever takes them in another order.
    """
    flipped = conn.execute(
        text("""
            update ops.orders set overdue = true, changed_at = clock_timestamp()
            where order_id in (
                select order_id from ops.orders
                where not overdue and status not in ('SHIPPED', 'CLOSED', 'CANCELLED') and due_at < now()
                order by due_at limit :limit for no key update skip locked
            )
        """),
        {"limit": limit},
    )
    return int(flipped.rowcount)


def backlog(conn: Connection) -> int:
    """Dirty marks that wait."""
    return query.number(conn, "select count(*) from ops.dirty_orders")


def _share_list(conn: Connection) -> bool:
    """Share the list with the refreshers; false when dbt has it for longer than a person should wait."""
    if query.flag(conn, "select pg_try_advisory_xact_lock_shared(:key)", key=REFRESH_LOCK):
        return True
    try:
        with conn.begin_nested():
            conn.execute(text(f"set local lock_timeout = '{_OWN_CHANGE_WAIT}'"))
            conn.execute(text("select pg_advisory_xact_lock_shared(:key)"), {"key": REFRESH_LOCK})
            conn.execute(text("set local lock_timeout = default"))
    except OperationalError as error:
        if isinstance(error.orig, LockNotAvailable):
            return False
        raise
    return True


def _merge(conn: Connection, order_ids: list[UUID]) -> None:
    """Bring these orders' rows to what the view says; note them where dbt builds a new list beside this one."""
    if not order_ids:
        return
    alone = query.flag(conn, "select pg_try_advisory_xact_lock_shared(:key)", key=REBUILD_LOCK)
    values = {"ids": order_ids}
    conn.execute(text(_merge_statement(tuple(_columns(conn)))), values)
    conn.execute(_DELETE_GONE, values)
    if not alone:
        conn.execute(text("insert into ops.merged_orders (order_id) select unnest(cast(:ids as uuid[]))"), values)


_DELETE_GONE = text(f"""
    delete from {LIST} as list
    where list.order_id = any(cast(:ids as uuid[]))
        and not exists (select from ops.orders where orders.order_id = list.order_id)
""")


def _columns(conn: Connection) -> Sequence[str]:
    """The list's columns: dbt decides them, so they are asked for, not written down."""
    rows = conn.execute(
        text("""
            select attname from pg_attribute
            where attrelid = to_regclass(:list) and attnum > 0 and not attisdropped order by attnum
        """),
        {"list": LIST},
    )
    return [str(name) for (name,) in rows]


@cache
def _merge_statement(columns: tuple[str, ...]) -> str:
    """A row that says the same already is left alone: each new version of it costs an entry in every index."""
    listed, live = (", ".join(f"{name}.{column}" for column in columns) for name in ("list", "live"))
    updates = ", ".join(f"{column} = live.{column}" for column in columns if column != "order_id")
    return f"""
        merge into {LIST} as list
        using (select * from {VIEW} where order_id = any(cast(:ids as uuid[]))) as live
        on list.order_id = live.order_id
        when matched and live.version >= list.version and ({listed}) is distinct from ({live}) then update set {updates}
        when not matched then insert ({", ".join(columns)}) values ({live})
    """

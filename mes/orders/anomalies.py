"""Finds what the sources say about an order that cannot be true together, for a person to look at.

Works on the temporary tables of one import (see `history`); anomalies are a function of all that is known about an
order, so a fact that comes later can also clear one.
"""

import json

from sqlalchemy import Connection, text

from mes.db import query

# (what happened, before what it must follow, kind)
_OUT_OF_ORDER = (
    ("SHIPPED", "MANUFACTURING_APPROVED", "shipped_before_approved"),
    ("SHIPPED", "SUBMITTED", "shipped_before_placed"),
    ("CLOSED", "SHIPPED", "closed_before_shipped"),
    ("MANUFACTURING_APPROVED", "SUBMITTED", "approved_before_placed"),
    ("MANUFACTURING_STARTED", "MANUFACTURING_APPROVED", "started_before_approved"),
    ("MANUFACTURING_COMPLETED", "MANUFACTURING_STARTED", "completed_before_started"),
    ("PACKAGING", "MANUFACTURING_COMPLETED", "packed_before_completed"),
    ("SHIPPED", "PACKAGING", "shipped_before_packed"),
)
# what a declared status needs an event of: itself, and the two milestones that money and goods hang on
_MISSING = {
    "MANUFACTURING_APPROVED": "missing_approval",
    "MANUFACTURING_STARTED": "missing_start",
    "MANUFACTURING_COMPLETED": "missing_completion",
    "PACKAGING": "missing_packing",
    "SHIPPED": "missing_hand_over",
    "CLOSED": "missing_closing",
    "CANCELLED": "missing_cancellation",
}
_MILESTONES = ("MANUFACTURING_APPROVED", "SHIPPED")

KINDS: dict[str, str] = {
    **{
        kind: "Check the two times with the systems that reported them, and have the wrong one corrected there."
        for _, _, kind in _OUT_OF_ORDER
    },
    **dict.fromkeys(
        _MISSING.values(), "Ask the system that makes this move whether it happened, and to export its event."
    ),
    "cancelled_after_shipping": "Find out whether the goods were returned; have the wrong event or status corrected.",
    "status_contradicts_events": "The exported status was kept; ask its sender which of the two is right.",
    "repeated_status": "The first was kept; ask the sender why it reported this twice, at different times.",
    "moved_while_held": "Tell whoever held the order; the goods may have left with the fault that it was held for.",
    "placed_at_changed": "The first time was kept; ask the sender which of the two is right.",
    "export_behind": "The order had moved on; ask the sender to bring its status up to date.",
}

_VALUES_OUT_OF_ORDER = ", ".join(f"('{later}', '{earlier}', '{kind}')" for later, earlier, kind in _OUT_OF_ORDER)
_VALUES_MISSING = ", ".join(
    f"('{status}'::ops.order_status, '{kind}', {str(status in _MILESTONES).lower()})"
    for status, kind in _MISSING.items()
)


def _iso(column: str) -> str:
    return f"to_char({column} at time zone 'UTC', 'YYYY-MM-DD HH24:MI')"


_RULES = (
    "out_of_order",
    "missing",
    "cancelled_after_shipping",
    "moved_while_held",
    "placed_again",
    "contradicting",
    "repeated",
    "behind",
)
_FIND = f"""
create temporary table found on commit drop as
with known as (
    select affected.order_id, affected.declared, affected.declared_at, target.status,
        export.feed, export.file, export.line, export.placed_at
    from affected
    join target using (order_id)
    left join export using (source, external_id)
), first_fact as (
    select order_id, type, occurred_at, feed, file, line from fact where nth = 1
    union all
    select order_id, 'SUBMITTED', placed_at, feed, file, line from known
    where placed_at is not null and not exists (
        select from fact where fact.order_id = known.order_id and fact.type = 'SUBMITTED')
), out_of_order as (
    select later.order_id, rule.kind, later.feed, later.file, later.line,
        format('%s at %s, before %s at %s', later.type, {_iso("later.occurred_at")}, earlier.type,
            {_iso("earlier.occurred_at")}) as reason
    from (values {_VALUES_OUT_OF_ORDER}) as rule (later, earlier, kind)
    join first_fact as later on later.type = rule.later::ops.order_status
    join first_fact as earlier
        on earlier.order_id = later.order_id and earlier.type = rule.earlier::ops.order_status
    where later.occurred_at < earlier.occurred_at
), missing as (
    select known.order_id, rule.kind, known.feed, known.file, known.line,
        format('it is %s, but no %s was reported', known.status, rule.status) as reason
    from known
    join (values {_VALUES_MISSING}) as rule (status, kind, is_milestone)
        on rule.status = known.status
        or rule.is_milestone and rule.status < known.status and known.status <> 'CANCELLED'
    where not exists (
        select from fact where fact.order_id = known.order_id and fact.type = rule.status)
        and not exists (
            select from ops.order_events as events
            where events.order_id = known.order_id and events.type = rule.status::text and not events.inferred)
), cancelled_after_shipping as (
    select handed_over.order_id, 'cancelled_after_shipping' as kind,
        handed_over.feed, handed_over.file, handed_over.line,
        format('cancelled%s, yet %s', ' at ' || {_iso("cancelled.occurred_at")},
            string_agg(format('%s at %s', handed_over.type, {_iso("handed_over.occurred_at")}), ', ')
                over (partition by handed_over.order_id)) as reason
    from first_fact as handed_over
    join known using (order_id)
    left join first_fact as cancelled
        on cancelled.order_id = handed_over.order_id and cancelled.type = 'CANCELLED'
    where handed_over.type in ('SHIPPED', 'CLOSED')
        and (cancelled.order_id is not null or known.declared = 'CANCELLED' or known.status = 'CANCELLED')
    union all  -- one of the two said in a status, without an event
    select known.order_id, 'cancelled_after_shipping', known.feed, known.file, known.line,
        format('declared %s, yet it is %s', known.declared, known.status)
    from known
    where known.declared = 'CANCELLED' and known.status in ('SHIPPED', 'CLOSED')
        or known.status = 'CANCELLED' and known.declared in ('SHIPPED', 'CLOSED')
), moved_while_held as (
    select distinct known.order_id, 'moved_while_held' as kind, known.feed, known.file, known.line,
        format('moved to %s by an import while it was on hold', known.status) as reason
    from known
    join affected using (order_id)
    join chain using (order_id)
    where affected.held and chain.status <> 'CANCELLED' and known.feed is not null
), placed_again as (
    select known.order_id, 'placed_at_changed' as kind, known.feed, known.file, known.line,
        format('exported as placed at %s, known as placed at %s', {_iso("known.placed_at")}, {_iso("orders.placed_at")})
            as reason
    from known
    join ops.orders using (order_id)
    where known.feed is not null and known.placed_at <> orders.placed_at
), contradicting as (
    select fact.order_id, 'status_contradicts_events' as kind, fact.feed, fact.file, fact.line,
        format('declared %s at %s, yet %s at %s', known.declared, {_iso("known.declared_at")}, fact.type,
            {_iso("fact.occurred_at")}) as reason
    from fact
    join known using (order_id)
    where fact.occurred_at <= known.declared_at and fact.type > known.status and known.status <> 'CANCELLED'
        and not (fact.type = 'CANCELLED' and exists (
            select from fact as other where other.order_id = fact.order_id and other.type in ('SHIPPED', 'CLOSED')))
), repeated as (
    select fact.order_id, 'repeated_status' as kind, fact.feed, fact.file, fact.line,
        format('%s again at %s', fact.type, {_iso("fact.occurred_at")}) as reason
    from fact
    where nth > (
        select case when fact.type in ('MANUFACTURING_STARTED', 'MANUFACTURING_COMPLETED') then
            greatest(count(*) filter (where other.type = 'MANUFACTURING_STARTED'), 1) else 1 end
        from fact as other where other.order_id = fact.order_id)
), behind as (
    select known.order_id, 'export_behind' as kind, known.feed, known.file, known.line,
        format('declared %s at %s, when it was %s already',
            known.declared, {_iso("known.declared_at")}, orders.status) as reason
    from known
    join ops.orders using (order_id)
    where known.declared < orders.status and known.declared_at > orders.status_since
        and not (orders.status = 'CANCELLED' and known.declared >= 'SHIPPED')
)
select distinct on (order_id, kind) order_id, kind, reason, feed, file, line
from (
    {" union all ".join(f"select order_id, kind, reason, feed, file, line from {rule}" for rule in _RULES)}
) as all_kinds
order by order_id, kind, file, line
"""
_UPSERT = """
insert into ops.anomalies as kept (order_id, kind, reason, advice, feed, file, line)
select order_id, kind, reason, cast(:advice as jsonb) ->> kind, feed, file, line from found
on conflict (order_id, kind) do update
    set reason = excluded.reason, advice = excluded.advice,
        feed = excluded.feed, file = excluded.file, line = excluded.line
    where (kept.reason, kept.file, kept.line) is distinct from (excluded.reason, excluded.file, excluded.line)
"""
_CLEAR = """
delete from ops.anomalies using affected
where anomalies.order_id = affected.order_id and not exists (
    select from found where found.order_id = anomalies.order_id and found.kind = anomalies.kind)
"""


def replace(conn: Connection) -> int:
    """Bring the anomalies of the affected orders up to date; gives how many those orders have now."""
    conn.execute(text(_FIND))
    conn.execute(text(_UPSERT), {"advice": json.dumps(KINDS)})
    conn.execute(text(_CLEAR))
    count = query.number(conn, "select count(*) from found")
    conn.execute(text("drop table found"))
    return count


def counts(conn: Connection) -> dict[str, int]:
    """How many orders have each kind of anomaly."""
    rows = conn.execute(text("select kind, count(*) as orders from ops.anomalies group by kind order by kind"))
    return {row.kind: row.orders for row in rows}

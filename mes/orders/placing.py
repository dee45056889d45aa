"""Takes new orders from callers: checked, written and handed to pricing in one statement, so never in part."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar
from uuid import UUID

from sqlalchemy import Connection, Row, text

from mes.callers.model import Caller
from mes.clock import Clock, utc_now
from mes.errors import MesError
from mes.jobs.names import PRICE_ORDER, PRICING_QUEUE
from mes.models.errors import NoSuchModel
from mes.models.pending import ModelPending
from mes.observability import traces
from mes.orders.new_order import NewOrder

CLOCK_TOLERANCE = timedelta(minutes=5)
# twice when a first order of the same customer, or the same order, was being written at the same moment
_ATTEMPTS = 5


class ExternalIdTaken(MesError):
    """An order of yours has this external_id already, with other content: use another one, or change that order."""

    code: ClassVar[str] = "external_id_taken"
    http_status: ClassVar[int] = 409


class PlacedInFuture(MesError):
    """`placed_at` lies in the future: check your clock, or leave it out."""

    code: ClassVar[str] = "placed_in_future"
    http_status: ClassVar[int] = 422


class UnusableQuote(MesError):
    """This quote cannot price this item."""

    code: ClassVar[str] = "unusable_quote"
    http_status: ClassVar[int] = 422


class QuotePending(MesError):
    """This quote has no price yet: ask for it until it has, then place the order again."""

    code: ClassVar[str] = "quote_pending"
    http_status: ClassVar[int] = 409


_QUOTE_FAULTS = {
    "unknown": "You have no quote with this id: ask for one, or leave `quote_id` out.",
    "expired": "The quote is no longer valid: ask for a new one, or leave `quote_id` out.",
    "differs": "The quote is for another model, material, finish, quantity, size, stones, engraving or rush: "
    "ask for one that says what the item says.",
}


@dataclass(frozen=True, slots=True)
class Added:
    """What an order is that its caller did not say: when it was written, and how its customer is known."""

    status_since: datetime
    placed_at: datetime
    created_at: datetime
    changed_at: datetime
    currency: str
    customer_name: str | None
    tier: str


@dataclass(frozen=True)
class Placed:
    """The order, and whether this call made it; if not, the same one was there already.

    `added` completes what its caller said to the order as it stands, where that needs no further look.
    """

    order_id: UUID
    created: bool
    added: Added | None = None


# The tables' triggers leave the dirty marks; foreign keys are checked when the statement ends, with all rows there.
_PLACE = text("""
with item as materialized (
    select * from jsonb_to_recordset(cast(:items as jsonb)) as item(
        line integer, model_id text, material text, finish text, quantity integer, longest_side_mm numeric(12, 4),
        stones jsonb, engraving jsonb, quote_id uuid
    )
), existing as materialized (
    select order_id, content_hash from ops.orders where source = :caller and external_id = :external_id
), fault as materialized (
    select item.line, case
        when exists (
            select from ops.pending_models as pending
            where pending.model_id = item.model_id and pending.caller = :caller and pending.failure is null
        ) then 'model_pending' else 'no_such_model'
    end as kind from item
    where not exists (
        select from ops.model_uploads as upload where upload.caller = :caller and upload.model_id = item.model_id
    )
    union all
    select line, kind from (
        select item.line, case
            when exists (
                select from ops.quote_requests as pending
                where pending.quote_id = item.quote_id and pending.caller = :caller and pending.failure is null
            ) then 'pending'
            when quotes.quote_id is null or quotes.caller is distinct from :caller and not exists (
                select from ops.orders as own where own.order_id = quotes.order_id and own.source = :caller
            ) then 'unknown'
            when quotes.valid_until < :now then 'expired'
            when (
                quotes.model_id, quotes.material, quotes.finish, quotes.quantity, quotes.longest_side_mm,
                quotes.stones, quotes.engraving, quotes.rush
            ) is distinct from (
                item.model_id, item.material, item.finish, item.quantity, item.longest_side_mm,
                item.stones, item.engraving, cast(:rush as boolean)
            ) then 'differs'
        end as kind
        from item left join ops.quotes using (quote_id) where item.quote_id is not null
    ) as quoted
    where kind is not null
), wanted as materialized (
    select where not exists (select from existing) and not exists (select from fault)
), known_customer as (
    select customer_id from ops.customers where source = :caller and external_id = :customer
), customer as (
    insert into ops.customers as known (source, external_id, name, tier)
    select :caller, :customer, :customer_name, coalesce(:tier, :usual_tier) from wanted
    on conflict (source, external_id) do update set
        name = coalesce(excluded.name, known.name), tier = coalesce(:tier, known.tier)
    where (known.name, known.tier)
        is distinct from (coalesce(excluded.name, known.name), coalesce(:tier, known.tier))
    returning customer_id
), placed as (
    insert into ops.orders (
        source, external_id, customer_id, status, status_since, version, placed_at, due_at, rush, live_from,
        content_hash
    )
    select
        :caller, :external_id, customer_id, 'SUBMITTED', :now, 1, :placed_at, :due_at, :rush, 1, :content_hash
    from wanted cross join (select customer_id from customer union select customer_id from known_customer) as buyer
    on conflict (source, external_id) do nothing
    returning order_id, status, version
), items as (
    insert into ops.order_items (
        order_id, line, model_id, material, finish, quantity, longest_side_mm, stones, engraving, quote_id
    )
    select order_id, line, model_id, material, finish, quantity, longest_side_mm, stones, engraving, quote_id
    from placed cross join item
), recorded as (
    insert into ops.order_events (order_id, sequence, type, occurred_at, system, actor, live, data)
    select order_id, version, status::text, :now, :system, :actor, true, cast(:data as jsonb) from placed
), told as (
    insert into ops.outbox (order_id, sequence, event)
    select order_id, version, ops.cloud_event(
        order_id, :caller, :external_id, status, version, false, status::text, :now, :system, :actor, null, null,
        cast(:traceparent as text))
    from placed
), job as (
    select procrastinate_defer_jobs_v1(array[row(
        :queue, :task, 0, 'order:' || order_id, null, jsonb_build_object('order_id', order_id), null
    )::procrastinate_job_to_defer_v1]) as job_ids
    from placed
)
select
    (select order_id from placed) as order_id,
    (select array_length(job_ids, 1) from job) as jobs,
    (select order_id from existing) as existing_id,
    (select content_hash from existing) as existing_hash,
    (select json_agg(json_build_object('line', line, 'kind', kind) order by line) from fault) as faults
""")


# what the order does not say (its tier, when it was placed) cannot differ; exports know neither stones nor engravings
_AS_EXPORTED = text("""
with item as (
    select line, model_id, material, finish, quantity, longest_side_mm, stones, engraving
    from jsonb_to_recordset(cast(:items as jsonb)) as item(
        line integer, model_id text, material text, finish text, quantity integer, longest_side_mm numeric(12, 4),
        stones jsonb, engraving jsonb
    )
), kept as (
    select item.line, model_id, material, finish, quantity, longest_side_mm, stones, engraving
    from ops.order_items as item join ops.orders using (order_id)
    where source = :caller and orders.external_id = :external_id
)
select
    customers.external_id = :customer
    and coalesce(cast(:tier as text) = customers.tier, true)
    and coalesce(cast(:placed_at_said as timestamptz) = orders.placed_at, true)
    and orders.due_at is not distinct from :due_at and orders.rush = :rush
    and not exists ((table item except all table kept) union all (table kept except all table item))
from ops.orders join ops.customers using (customer_id)
where orders.source = :caller and orders.external_id = :external_id
""")


def place(
    conn: Connection, caller: Caller, new: NewOrder, *, cause: str | None = None, clock: Clock = utc_now
) -> Placed:
    """Write a new order, SUBMITTED at version 1, in the caller's transaction; a job prices it after the commit.

    The same content under the same number is the same order: nothing is written. `cause` is the `traceparent` of what
    it came with, by default the current work's.

    Raises:
        ExternalIdTaken: the caller has another order of this number.
        NoSuchModel: an item's model was never uploaded by this caller.
        ModelPending: it is still being measured.
        UnusableQuote: an item's quote is not the caller's, no longer valid, or for something else.
        QuotePending: it has no price yet.
        PlacedInFuture: `placed_at` is more than five minutes ahead of our clock.
    """
    now = clock()
    if new.placed_at is not None and new.placed_at > now + CLOCK_TOLERANCE:
        raise PlacedInFuture(placed_at=new.placed_at.isoformat())
    values = _values(caller, new, now) | {"traceparent": cause or traces.traceparent()}
    for _ in range(_ATTEMPTS):
        row = conn.execute(_PLACE, values).one()
        if row.order_id is not None:
            return Placed(row.order_id, created=True)
        if row.existing_id is not None:
            same = row.existing_hash == new.content_hash if row.existing_hash else _is_as_exported(conn, values)
            if not same:
                raise ExternalIdTaken(external_id=new.external_id, order_id=row.existing_id)
            return Placed(row.existing_id, created=False)
        _refuse(row, new)
    raise AssertionError("an order was neither written, nor there already, nor refused")


def _is_as_exported(conn: Connection, values: dict[str, object]) -> bool:
    """Whether the caller's order of this number, which came by a feed, says what is being said now."""
    return bool(conn.execute(_AS_EXPORTED, values).scalar_one())


def _values(caller: Caller, new: NewOrder, now: datetime) -> dict[str, object]:
    items = [item.model_dump(mode="json") for item in new.items]
    for item in items:
        item["stones"] = item["stones"] or None
    return {
        "caller": caller.name,
        "external_id": new.external_id,
        "customer": new.customer.external_id,
        "customer_name": new.customer.name,
        "tier": new.customer.tier,
        "usual_tier": caller.usual_tier,
        "placed_at": new.placed_at or now,
        "placed_at_said": new.placed_at,
        "due_at": new.due_at,
        "rush": new.rush,
        "content_hash": new.content_hash,
        "items": json.dumps(items),
        "data": json.dumps(content_told(new, items)),
        "system": caller.actor.system.value,
        "actor": caller.actor.name,
        "now": now,
        "queue": PRICING_QUEUE,
        "task": PRICE_ORDER,
    }


def content_told(new: NewOrder, items: list[dict[str, object]]) -> dict[str, object]:
    """What an order's first event says of its content, so that it can be made again from its events alone."""
    due_at = new.due_at.isoformat() if new.due_at is not None else None
    return {"due_at": due_at, "rush": new.rush, "customer": new.customer.external_id, "items": items}


def _refuse(row: Row[tuple[object, ...]], new: NewOrder) -> None:
    """Say what is wrong with the first item at fault; nothing when another writer was in the way."""
    items = {item.line: item for item in new.items}
    for fault in row.faults or ():
        item = items[fault["line"]]
        if fault["kind"] == NoSuchModel.code:
            raise NoSuchModel(line=item.line, model_id=item.model_id)
        if fault["kind"] == ModelPending.code:
            raise ModelPending(line=item.line, model_id=item.model_id)
        if fault["kind"] == "pending":
            raise QuotePending(line=item.line, quote_id=item.quote_id)
        raise UnusableQuote(_QUOTE_FAULTS[fault["kind"]], line=item.line, quote_id=item.quote_id)

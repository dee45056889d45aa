"""Gives every item of an order its quote, from dbt's pricing inputs; many at once, by the same definition as one."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import polars as pl
import structlog
from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.orders import repository, service
from mes.orders.life import FINISHED_STATUSES, EventType, Status, System
from mes.orders.model import Actor, NewEvent, Order
from mes.pricing.costs.cost_model import price
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.quotes import doubts, quote_rows
from mes.pricing.quotes.quote_rows import InputsNotBuilt
from mes.pricing.rates import rate_store

__all__ = ["PRICER", "InputsNotBuilt", "Quoted", "quote_items"]

log = structlog.get_logger(__name__)

# a row with its breakdown takes some 3 kB: this keeps a batch under 100 MB
BATCH = 25_000
# measures of an order's models take some 50 kB: this keeps a look at orders under 100 MB
ORDERS_AT_ONCE = 1_000
# an item is quoted once, whoever asks at the same time; the number is arbitrary and ours
QUOTING_LOCK = 7_203_395
PRICER = Actor(System.MES, "pricing")
_UNTOLD = {Status.INITIATED, Status.SUBMITTED}  # nobody was told a price yet


@dataclass(frozen=True)
class Quoted:
    """What one pass did: quotes made, orders that moved on or were held, and items without a price by problem.

    `waits_s`: for each order that moved on, seconds from its submission to its price.
    """

    quotes: int
    priced_orders: int
    held_orders: int
    problems: dict[str, int]
    waits_s: Sequence[float] = ()


@dataclass
class _Done:
    """Which lines of which orders were looked at, which of them have no price and why, and how many have one."""

    lines: dict[UUID, list[int]] = field(default_factory=lambda: defaultdict(list))
    problems: dict[doubts.Item, str] = field(default_factory=dict)
    quotes: int = 0


@dataclass
class _Outcome:
    """For each order that got its price, how long it waited; and how many are held."""

    waits_s: list[float] = field(default_factory=list)
    held: int = 0


def quote_items(
    conn: Connection,
    order_ids: Sequence[UUID] | None = None,
    *,
    clock: Clock = utc_now,
    progress: Callable[[int], None] = lambda _done: None,
) -> Quoted:
    """Price all items that have no quote yet: of the open ones among `order_ids`, or of all orders.

    All of it happens in the caller's transaction. A submitted order whose items are all priced moves to
    PRICE_CALCULATED. An open order whose price cannot be trusted (a finding that is an error, or no price) is held for
    a person. History and finished orders get their quotes silently. Open orders are locked first, so nobody prices one
    twice; one that somebody else has locked is waited for if it was named, and left to him if not.

    Raises:
        InputsNotBuilt: dbt has not built `marts.pricing_inputs`.
    """
    quote_rows.require_inputs(conn)
    if order_ids is None:
        conn.execute(text("select pg_advisory_xact_lock(:key)"), {"key": QUOTING_LOCK})
    ours = _lock_open(conn, order_ids)
    done = _price(conn, _unpriced(conn, ours, finished_too=order_ids is None), progress)
    # nothing is decided a second time about an order whose price was told and that got no new one
    undecided = [order_id for order_id, status in ours.items() if order_id in done.lines or status in _UNTOLD]
    outcome = _Outcome()
    for start in range(0, len(undecided), ORDERS_AT_ONCE):
        _conclude(conn, undecided[start : start + ORDERS_AT_ONCE], done, outcome, clock)
    problems = dict(Counter(done.problems.values()))
    return Quoted(done.quotes, len(outcome.waits_s), outcome.held, problems, outcome.waits_s)


def _price(conn: Connection, inputs: pl.DataFrame, progress: Callable[[int], None]) -> _Done:
    cards = rate_store.by_id(conn, inputs["rate_card"].drop_nulls().unique().to_list())
    rates = rate_frame(list(cards.values()))
    done = _Done()
    for batch in inputs.iter_slices(BATCH):
        priced = price(batch, rates)
        good = priced.filter(pl.col("problem").is_null())
        quote_rows.keep(conn, good.with_columns(priced_at=pl.col("placed_at")), cards)
        for order_id, line, problem in priced.select("order_id", "line", "problem").iter_rows():
            done.lines[UUID(order_id)].append(line)
            if problem is not None:
                done.problems[UUID(order_id), line] = problem
        done.quotes += good.height
        progress(done.quotes)
    return done


def _lock_open(conn: Connection, order_ids: Sequence[UUID] | None) -> dict[UUID, Status]:
    """Lock the open ones of these orders, or of all that wait for a price; gives their statuses, by id."""
    finished = [status.value for status in FINISHED_STATUSES]
    which = "order_id = any(:ids)"
    if order_ids is None:
        which = """(
            order_id in (select order_id from ops.order_items where quote_id is null)
            or status = 'SUBMITTED' and held_since is null
        )"""
    rows = conn.execute(
        text(f"""
            select order_id, status from ops.orders
            where {which} and status <> all (cast(:finished as ops.order_status[]))
            order by order_id for no key update {"skip locked" if order_ids is None else ""}
        """),
        {"finished": finished} | ({"ids": list(order_ids)} if order_ids is not None else {}),
    )
    return {row.order_id: Status(row.status) for row in rows}


def _unpriced(conn: Connection, ours: Iterable[UUID], *, finished_too: bool) -> pl.DataFrame:
    which = "quote_id is null and (order_id = any(%(ids)s::uuid[])" + (" or not is_open)" if finished_too else ")")
    return quote_rows.read(conn, which, ids=[str(order_id) for order_id in ours])


def _conclude(
    conn: Connection,
    open_orders: Sequence[UUID],
    done: _Done,
    outcome: _Outcome,
    clock: Clock,
) -> None:
    """Move or hold the open orders that were looked at; one by one, since each is a decision with its event."""
    reasons = doubts.of_orders(conn, open_orders, done.problems)
    for order_id in open_orders:
        total, was = _totals(conn, order_id, done.lines.get(order_id, ()))
        order = _tell_of_move(conn, repository.lock(conn, order_id), was, total, clock)
        if total is not None and order.status is Status.SUBMITTED and not order.held:
            told, submitted_at = {"total": {"from": None, "to": str(total)}}, order.status_since
            order = service.transition(conn, order_id, Status.PRICE_CALCULATED, PRICER, data=told, clock=clock)
            outcome.waits_s.append((order.status_since - submitted_at).total_seconds())
            log.info("order priced", order_id=str(order_id), total=str(total), version=order.version)
        if order_id in reasons and not order.held:
            service.hold(conn, order_id, PRICER, reasons[order_id], clock=clock)
            outcome.held += 1
            log.info("order held", order_id=str(order_id), reason=reasons[order_id])


def _tell_of_move(conn: Connection, order: Order, was: Decimal | None, total: Decimal | None, clock: Clock) -> Order:
    """Record that an order whose price was told costs something else now."""
    if order.status in _UNTOLD or total is None or was is None or was == total:
        return order
    event = NewEvent(EventType.REPRICED, clock(), PRICER, data={"total": {"from": str(was), "to": str(total)}})
    return repository.change(conn, order, order, event)


def _totals(conn: Connection, order_id: UUID, fresh: Sequence[int]) -> tuple[Decimal | None, Decimal | None]:
    """What the order costs, and what it did before its `fresh` lines were quoted; None while an item lacks a price."""
    row = conn.execute(
        text("""
            select
                case when bool_and(now.total is not null) then sum(now.total) end as total,
                case when bool_and(before.total is not null) then sum(before.total) end as was
            from ops.order_items as items
            left join ops.quotes as now using (quote_id)
            left join lateral (
                select now.total where items.line <> all(:fresh)
                union all
                select total from ops.quotes as older
                where items.line = any(:fresh) and older.order_id = items.order_id and older.line = items.line
                    and older.superseded_by = items.quote_id
                limit 1
            ) as before on true
            where items.order_id = :order_id
        """),
        {"order_id": order_id, "fresh": list(fresh)},
    ).one()
    return row.total, row.was

"""Renews the prices of open orders: those whose time is over, and those that were computed from something wrong.

A quote is never changed. A new one, by the rates in force now, supersedes it, and the order records what that means for
its total as `repriced`. Where the total stays the same to the cent there is nothing to tell: the new quote alone says
how long the price is valid from now on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import polars as pl
import structlog
from sqlalchemy import Connection, text

from mes.clock import Clock, utc_now
from mes.db.copy import read_frame
from mes.orders import repository, service
from mes.orders.life import FINISHED_STATUSES, EventType
from mes.orders.model import NewEvent
from mes.pricing.costs.cost_model import price
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.quotes import doubts, quote_rows
from mes.pricing.quotes.order_quotes import PRICER
from mes.pricing.rates import rate_store
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import NoRateCard

log = structlog.get_logger(__name__)

# a step of some 5 s at most, so that whoever waits for one of these orders does not wait long
ORDERS_AT_ONCE = 500
EXPIRED = "its price had run out"

_OLD: dict[str, pl.DataType | type[pl.DataType]] = {
    "quote_id": pl.String,
    "old_total": pl.Decimal(38, 2),
    "old_kernel_version": pl.Int32,
    "old_rate_card": pl.String,
    "expired": pl.Boolean,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What renewing means for one order.

    Attributes:
        order_id: which.
        was: what it costs; None while one of its items has no price.
        total: what it will.
        lines: items that get a new quote.
        problems: lines that cannot be priced any more, each with a key of the cost model's `PROBLEMS`.
    """

    order_id: UUID
    was: Decimal | None
    total: Decimal | None
    lines: tuple[int, ...]
    problems: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Renewed:
    """What one step did.

    Attributes:
        orders: looked at.
        quotes: made.
        repriced: orders whose total changed.
        held: orders put on hold, as their price cannot be trusted.
        problems: items that could not be priced, by problem.
        last: the last order looked at, to go on after; None when there are no more.
    """

    orders: int = 0
    quotes: int = 0
    repriced: int = 0
    held: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)
    last: UUID | None = None

    def __add__(self, later: "Renewed") -> "Renewed":
        """Both steps as one."""
        return Renewed(
            self.orders + later.orders,
            self.quotes + later.quotes,
            self.repriced + later.repriced,
            self.held + later.held,
            dict(Counter(self.problems) + Counter(later.problems)),
            later.last,
        )


def renew_expired(
    conn: Connection, *, after: UUID | None = None, limit: int = ORDERS_AT_ONCE, clock: Clock = utc_now
) -> Renewed:
    """Renew quotes that are no longer valid, of orders that nobody approved or paid yet, whether or not they are held.

    An approved price is agreed, and so is one that was paid, as of orders that were imported years later: neither runs
    out. An order that somebody else is changing is left for the next time. Takes at most `limit` orders, those that
    follow `after` by id; call it again, in a transaction of its own, until there is no `last`.

    Raises:
        InputsNotBuilt: dbt has not built `marts.pricing_inputs`.
        NoRateCard: no rate card is in force now.
    """
    now = clock()
    rows = conn.execute(
        text("""
            select order_id from ops.orders
            where status in ('SUBMITTED', 'PRICE_CALCULATED') and coalesce(paid, 0) = 0
                and coalesce(order_id > :after, true)
                and exists (
                    select from ops.order_items as items join ops.quotes using (quote_id)
                    where items.order_id = orders.order_id and quotes.valid_until < :now
                )
            order by order_id limit :limit for no key update skip locked
        """),
        {"after": after, "now": now, "limit": limit},
    )
    orders = [row.order_id for row in rows]
    return _renew(conn, orders, EXPIRED, now, expired_only=True) if orders else Renewed()


def renew(conn: Connection, order_ids: Sequence[UUID], *, reason: str, clock: Clock = utc_now) -> Renewed:
    """Price open orders anew, approved ones too, as what they were priced from was wrong; all in one transaction.

    An item gets a new quote where its model was measured by a newer kernel, another card is in force, its options or
    its customer's tier make another price of it, or the old quote has run out. So the same again does nothing.
    Finished orders are never touched. Orders that somebody else is changing are waited for.

    Args:
        conn: the caller's transaction.
        order_ids: which; finished ones are left out.
        reason: what was wrong, told with the event.
        clock: tells the time.

    Raises:
        InputsNotBuilt: dbt has not built `marts.pricing_inputs`.
        NoRateCard: no rate card is in force now.
    """
    rows = conn.execute(
        text("""
            select order_id from ops.orders
            where order_id = any(:ids) and status <> all (cast(:finished as ops.order_status[]))
            order by order_id for no key update
        """),
        {"ids": list(order_ids), "finished": [status.value for status in FINISHED_STATUSES]},
    )
    orders = [row.order_id for row in rows]
    return _renew(conn, orders, reason, clock(), expired_only=False) if orders else Renewed()


def preview(conn: Connection, order_ids: Sequence[UUID], *, clock: Clock = utc_now) -> list[Change]:
    """What `renew` would do to these open orders; nothing is locked or written.

    Raises:
        InputsNotBuilt, NoRateCard: as for `renew`.
    """
    now = clock()
    offers, _ = _offers(conn, order_ids, now, expired_only=False)
    return _changes(offers, _totals(conn, order_ids))


def _renew(conn: Connection, orders: Sequence[UUID], reason: str, now: datetime, *, expired_only: bool) -> Renewed:
    offers, card = _offers(conn, orders, now, expired_only=expired_only)
    changes = _changes(offers, _totals(conn, orders))
    quote_rows.keep(conn, offers.filter("taken").with_columns(priced_at=pl.lit(now)), {card.version: card})
    doubtful = _doubts(conn, offers)
    repriced = held = 0
    for change in changes:
        order = repository.lock(conn, change.order_id)
        if change.was is not None and change.was != change.total:
            told = {"total": {"from": str(change.was), "to": str(change.total)}}
            order = repository.change(conn, order, order, NewEvent(EventType.REPRICED, now, PRICER, reason, told))
            repriced += 1
            log.info("order repriced", order_id=str(change.order_id), reason=reason, **told["total"])
        if change.order_id in doubtful and not order.held:
            service.hold(conn, change.order_id, PRICER, doubtful[change.order_id], clock=lambda: now)
            held += 1
            log.info("order held", order_id=str(change.order_id), reason=doubtful[change.order_id])
    return Renewed(
        orders=len(orders),
        quotes=sum(len(change.lines) for change in changes),
        repriced=repriced,
        held=held,
        problems=dict(Counter(problem for change in changes for _, problem in change.problems)),
        last=orders[-1],
    )


def _offers(
    conn: Connection, orders: Sequence[UUID], now: datetime, *, expired_only: bool
) -> tuple[pl.DataFrame, RateCard]:
    """The items that have a quote, priced by the card in force; `taken` where the new price is to replace the old."""
    quote_rows.require_inputs(conn)
    card_id = rate_store.id_valid_at(conn, now)
    if card_id is None:
        raise NoRateCard("No rate card is in force now; load or activate one (`mes rates`), then try again.")
    card = rate_store.kept(conn, card_id)
    ids = [str(order_id) for order_id in orders]
    inputs = quote_rows.read(conn, "quote_id is not null and order_id = any(%(ids)s::uuid[])", ids=ids)
    items = inputs.join(_old_quotes(conn, ids, now), on="quote_id").with_columns(rate_card=pl.lit(card.version))
    if expired_only:
        items = items.filter("expired")
    offers = price(items, rate_frame([card]))
    is_other = pl.any_horizontal(
        pl.col("expired"),
        pl.col("old_kernel_version") != pl.col("kernel_version"),
        pl.col("old_rate_card") != pl.col("rate_card"),
        pl.col("old_total") != pl.col("total").cast(pl.Decimal(38, 2)),
    )
    return offers.with_columns(taken=pl.col("problem").is_null() & is_other), card


def _old_quotes(conn: Connection, order_ids: Sequence[str], now: datetime) -> pl.DataFrame:
    return read_frame(
        conn,
        """
            select quote_id, total, kernel_version, rate_card_id, valid_until < %(now)s
            from ops.order_items join ops.quotes using (quote_id) where order_items.order_id = any(%(ids)s::uuid[])
        """,
        _OLD,
        ids=list(order_ids),
        now=now,
    ).unique("quote_id")


def _totals(conn: Connection, orders: Sequence[UUID]) -> dict[UUID, Decimal | None]:
    rows = conn.execute(
        text("""
            select items.order_id, case when bool_and(quotes.total is not null) then sum(quotes.total) end as total
            from ops.order_items as items left join ops.quotes using (quote_id)
            where items.order_id = any(:ids) group by items.order_id
        """),
        {"ids": list(orders)},
    )
    return {row.order_id: row.total for row in rows}


def _changes(offers: pl.DataFrame, totals: Mapping[UUID, Decimal | None]) -> list[Change]:
    """By order, those to which nothing happens left out."""
    touched = offers.filter(pl.col("taken") | pl.col("problem").is_not_null())
    changes = []
    for (order_id,), items in touched.group_by("order_id", maintain_order=True):
        order = UUID(str(order_id))
        taken = items.filter("taken")
        was = totals[order]
        moved = sum((new - old for new, old in taken.select("total", "old_total").iter_rows()), Decimal(0))
        changes.append(
            Change(
                order,
                was,
                was + moved if was is not None else None,
                tuple(taken["line"]),
                tuple(items.filter(pl.col("problem").is_not_null()).select("line", "problem").iter_rows()),
            )
        )
    return changes


def _doubts(conn: Connection, offers: pl.DataFrame) -> dict[UUID, str]:
    """Why orders should wait: what has no price any more, and what a newer measurement found.

    A finding that was there before was judged then, by the one who released the order.
    """
    anew = offers.filter(
        pl.col("problem").is_not_null() | (pl.col("taken") & (pl.col("old_kernel_version") != pl.col("kernel_version")))
    )
    items = {
        (UUID(order_id), line): problem
        for order_id, line, problem in anew.select("order_id", "line", "problem").iter_rows()
    }
    problems = {item: problem for item, problem in items.items() if problem is not None}
    orders = sorted({order_id for order_id, _ in items})
    return doubts.of_orders(conn, orders, problems, only=items.keys()) if orders else {}

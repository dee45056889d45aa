"""The console's door for reading: opens connections, asks `mes`, and names what is wrong when it cannot."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

import streamlit as st
from obstore.exceptions import BaseError as StoreFailed
from psycopg.errors import InvalidSchemaName, UndefinedColumn, UndefinedTable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from mes import config
from mes.db import engine as db
from mes.db import reads
from mes.db.reads import again_on_primary
from mes.errors import MesError
from mes.events import parked
from mes.events.parked import ParkedOrder, RejectedMessage
from mes.events.webhooks import delivery_log
from mes.events.webhooks.delivery_log import Delivery, Trouble, Webhook
from mes.lists import counts, order_details, order_list, quarantine
from mes.lists.counts import OrderCounts, Queue, Waiting
from mes.lists.order_details import Anomaly, Item, ItemPrice, Lever, OrderDetails
from mes.lists.order_list import Filter, Found, Key, ListedOrder, Page, Scope
from mes.lists.quarantine import ANOMALIES, BAD_ROWS, BadRow, Findings, Group, OrderAnomaly, Row, Turn
from mes.lists.quarantine import Page as FindingsPage
from mes.models import picture_marks
from mes.models.picture_view import UnknownView
from mes.models.store import ObjectStore
from mes.observability import conditions, metrics
from mes.observability.conditions import Sample, Urgency, Wrong
from mes.observability.database_gauges import DatabaseGauges
from mes.orders.life import FINISHED_STATUSES, OPEN_STATUSES, EventType, Move, Status
from mes.orders.model import Event, Order
from mes.people import users
from mes.pricing.findings import Finding, Measure, Severity
from mes.pricing.geometry import Geometry, Point
from mes.reconciliation import drift, runs
from mes.reconciliation.drift import Count as DriftCount
from mes.reconciliation.drift import Drift
from mes.reconciliation.model import Kind as DriftKind
from mes.reconciliation.model import Remedy
from mes.reconciliation.runs import LastRun
from mes.reports import throughput as throughput_report
from mes.reports.throughput import Week

__all__ = [
    "ANOMALIES",
    "BAD_ROWS",
    "FINISHED_STATUSES",
    "OPEN_STATUSES",
    "Anomaly",
    "BadRow",
    "Delivery",
    "Drift",
    "DriftCount",
    "DriftKind",
    "Event",
    "EventType",
    "Filter",
    "Finding",
    "Findings",
    "FindingsPage",
    "Found",
    "Geometry",
    "Group",
    "Item",
    "ItemPrice",
    "Key",
    "LastRun",
    "Lever",
    "ListedOrder",
    "Measure",
    "Move",
    "Order",
    "OrderAnomaly",
    "OrderCounts",
    "OrderDetails",
    "Page",
    "ParkedOrder",
    "Picture",
    "Queue",
    "RejectedMessage",
    "Remedy",
    "Row",
    "Sample",
    "Scope",
    "Severity",
    "Status",
    "Trouble",
    "Turn",
    "Urgency",
    "Waiting",
    "Webhook",
    "Week",
    "Wrong",
    "again_on_primary",
]

MOST_NEWER = order_list.MOST_NEWER
MOST_WAITING = delivery_log.MOST_WAITING
_POOL = 10  # people on one console share these; a page holds one for some milliseconds
_reader: ContextVar[str | None] = ContextVar("reader", default=None)


class Turning(StrEnum):
    """Which page of the list a key leads to: the one that begins with it, the one after it, the one before it."""

    START = "start"
    AFTER = "after"
    BEFORE = "before"


class NoDatabase(MesError):
    """The console does not know its database: start everything with `mes up`, or set MES_DATABASE_URL."""

    code: ClassVar[str] = "no_database"
    http_status: ClassVar[int] = 503


class DatabaseDown(MesError):
    """The database cannot be reached. Nothing is lost; look at `mes doctor`, or ask whoever runs the server."""

    code: ClassVar[str] = "database_down"
    http_status: ClassVar[int] = 503


class NotBuilt(MesError):
    """The database has no tables or read models yet. `mes up` makes them; it takes some seconds."""

    code: ClassVar[str] = "not_built"
    http_status: ClassVar[int] = 503


@st.cache_resource
def engine() -> Engine:
    """The console's connections.

    Raises:
        NoDatabase: none is configured.
    """
    url = config.load().database_url
    if url is None:
        raise NoDatabase
    return db.connect(url, application="mes-console", pool_size=_POOL)


@st.cache_resource
def _reads() -> reads.Reads:
    settings = config.load()
    url = settings.database_read_url
    replica = reads.connect(url, application="mes-console", pool_size=_POOL) if url is not None else None
    return reads.Reads(engine(), replica, lag_max_s=settings.read_lag_max_s)


@st.cache_resource
def _gauges() -> DatabaseGauges:
    """Asks for itself, and only so long: it answers while the console's own connections wait."""
    url = config.load().database_url
    if url is None:
        raise NoDatabase
    return DatabaseGauges(url)


def system_health() -> tuple[Sequence[Sample], Sequence[Wrong]]:
    """The numbers of the whole system, and what is wrong by them.

    Raises:
        NoDatabase: none is configured.
    """
    found = conditions.samples(_gauges())
    return found, conditions.wrong(found)


def rows_are_there(began: float) -> None:
    """Note that a page that began then, by `time.perf_counter`, has its first rows."""
    metrics.observe_first_rows(time.perf_counter() - began)


@contextmanager
def reading_as(user_name: str) -> Iterator[None]:
    """Show this person, in the block, all that he has done and seen, wherever it is read."""
    mark = _reader.set(user_name)
    try:
        yield
    finally:
        _reader.reset(mark)


@contextmanager
def change(user_name: str) -> Iterator[Connection]:
    """A transaction of this person's, who is shown from then on what he did, or why it was refused.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as they say.
    """
    try:
        with connection(write=True) as conn:
            yield conn
    finally:
        _reads().wrote(user_name)


@contextmanager
def connection(*, write: bool = False) -> Iterator[Connection]:
    """A connection, perhaps to a replica; with `write`, to the primary, and committed at the end of the block.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as they say.
        ReplicaFailed: the replica failed in the block; see `again_on_primary`.
    """
    try:
        with engine().begin() if write else _reads().connection(_reader.get()) as conn:
            yield conn
    except (OperationalError, PoolExhausted) as error:
        raise DatabaseDown from error
    except ProgrammingError as error:
        if isinstance(error.orig, UndefinedTable | InvalidSchemaName | UndefinedColumn):
            raise NotBuilt from error
        raise


@again_on_primary
def orders(chosen: Filter, turn: Turning, key: Key | None) -> tuple[Page, bool]:
    """One page of the order list, and whether there are no orders at all."""
    with connection() as conn:
        start, after, before = (key if turn is each else None for each in Turning)
        page = order_list.page(conn, chosen, start=start, after=after, before=before)
        came_to_start = turn is Turning.BEFORE and not page.has_previous
        if key is not None and (came_to_start or not page.rows):
            page = order_list.page(conn, chosen)  # rows moved meanwhile: the first page is whole again
        return page, not page.rows and order_list.is_empty(conn)


@again_on_primary
def newer_orders(chosen: Filter, top: Key) -> int:
    """How many orders of the list come ahead of `top` by now; MOST_NEWER stands for that or more."""
    with connection() as conn:
        return order_list.newer(conn, chosen, top)


@again_on_primary
def customer_name(customer_id: UUID) -> str | None:
    """What a customer is called; None where there is no such customer."""
    with connection() as conn:
        return order_details.customer_name(conn, customer_id)


def key_of(row: ListedOrder, chosen: Filter) -> Key:
    """Where a row stands in the list."""
    return order_list.key_of(row, chosen)


@again_on_primary
def find_orders(number: str) -> Sequence[Found]:
    """The orders with this number."""
    with connection() as conn:
        return order_list.find(conn, number)


@again_on_primary
def order_counts(operator: str | None = None) -> OrderCounts:
    """Orders by status; open ones that are late, on hold, in this operator's queue and in nobody's."""
    with connection() as conn:
        return counts.orders(conn, operator)


@again_on_primary
def queues() -> Sequence[Queue]:
    """The work queues of all who may be given work."""
    with connection() as conn:
        return counts.queues(conn, users.active_operators(conn))


@again_on_primary
def waiting(operator: str) -> Waiting:
    """What keeps orders from being an operator's next job."""
    with connection() as conn:
        return counts.waiting(conn, operator)


@again_on_primary
def order(order_id: UUID) -> OrderDetails:
    """All about one order.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    with connection() as conn:
        return order_details.read(conn, order_id)


@again_on_primary
def order_version(order_id: UUID) -> int:
    """The version that an order is at.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    with connection() as conn:
        return order_details.version(conn, order_id)


@dataclass(frozen=True)
class Picture:
    """A model's picture (PNG), with marks.

    `hidden` says of each place that was to be marked whether the piece hides it; None where none could be marked, since
    the picture was drawn before pictures knew where they look from.
    """

    png: bytes
    hidden: Sequence[bool] | None


def picture(model_id: str, places: Sequence[Point] = ()) -> Picture | None:
    """The model's picture, these places of it marked; None while there is none, or while the store cannot be read."""
    try:
        png = _store().picture(model_id)
    except (MesError, StoreFailed):
        return None
    if png is None or not places:
        return Picture(png, ()) if png is not None else None
    try:
        return Picture(picture_marks.mark(png, places), picture_marks.hidden(png, places))
    except UnknownView:
        return Picture(png, None)


@again_on_primary
def weeks(last: int | None) -> Sequence[Week]:
    """Throughput of the last weeks that have data, or of all."""
    with connection() as conn:
        return throughput_report.weeks(conn, last)


@again_on_primary
def finding_groups(findings: Findings[Row]) -> Sequence[Group]:
    """Open findings counted by feed and kind."""
    with connection() as conn:
        return quarantine.groups(conn, findings)


@again_on_primary
def findings_page(
    findings: Findings[Row], feed: str | None, kind: str | None, turn: Turn, key: int | None
) -> FindingsPage[Row]:
    """One page of the open findings, the newest first."""
    with connection() as conn:
        return quarantine.page(conn, findings, feed=feed, kind=kind, turn=turn, key=key)


@again_on_primary
def parked_orders() -> Sequence[ParkedOrder]:
    """Orders whose next event of shop or CRM cannot be applied, the longest parked first."""
    with connection() as conn:
        return parked.orders(conn)


@again_on_primary
def unreadable_messages() -> Sequence[RejectedMessage]:
    """Messages that belong to no order, the newest first."""
    with connection() as conn:
        return parked.messages(conn)


@again_on_primary
def webhooks() -> Sequence[Webhook]:
    """Whom we tell of events, and how far behind they are."""
    with connection() as conn:
        return delivery_log.webhooks(conn)


@again_on_primary
def webhook_calls(endpoint_id: UUID, state: str | None, before: int | None, limit: int) -> Sequence[Delivery]:
    """What a webhook was told, the newest first; `before` is the id of the last one seen."""
    with connection() as conn:
        return delivery_log.of_webhook(conn, endpoint_id, state=state, before=before, limit=limit)


@again_on_primary
def webhooks_in_trouble() -> Sequence[Trouble]:
    """Calls to webhooks that failed, the newest first."""
    with connection() as conn:
        return delivery_log.in_trouble(conn)


@again_on_primary
def open_drift(limit: int) -> Sequence[Drift]:
    """Orders on which shop or CRM say otherwise than we do, those for a person first, then the oldest."""
    with connection() as conn:
        return drift.listed(conn, limit=limit)


@again_on_primary
def drift_counts() -> Sequence[DriftCount]:
    """Open differences by system and kind."""
    with connection() as conn:
        return drift.counts(conn)


@again_on_primary
def last_comparisons() -> Sequence[LastRun]:
    """The last comparison with each system that was ever compared with."""
    with connection() as conn:
        return runs.last(conn)


@again_on_primary
def all_findings(findings: Findings[Row], feed: str | None, kind: str | None) -> Sequence[Row]:
    """All open findings, for a file."""
    with connection() as conn:
        return list(quarantine.export(conn, findings, feed=feed, kind=kind))


@st.cache_resource
def _store() -> ObjectStore:
    return ObjectStore(config.load().objects_location)

"""The console's door for reading: opens connections, asks `mes`, and names what is wrong when it cannot."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from mes.errors import MesError
from mes.lists import counts, order_details, order_list, quarantine
from mes.lists.counts import OrderCounts, Queue, Waiting
from mes.lists.order_details import Anomaly, Item, ItemPrice, Lever, OrderDetails
from mes.lists.order_list import Filter, Found, Key, ListedOrder, Page, Scope
from mes.lists.quarantine import ANOMALIES, BAD_ROWS, BadRow, Findings, Group, OrderAnomaly, Row, Turn
from mes.lists.quarantine import Page as FindingsPage
from mes.models import picture_marks
from mes.models.picture_view import UnknownView
from mes.models.store import ObjectStore
from mes.orders.life import FINISHED_STATUSES, OPEN_STATUSES, EventType, Move, Status
from mes.orders.model import Event, Order
from mes.people import users
from mes.pricing.findings import Finding, Measure, Severity
from mes.pricing.geometry import Geometry, Point
from mes.reports import throughput as throughput_report
from mes.reports.throughput import Week

__all__ = [
    "ANOMALIES",
    "BAD_ROWS",
    "FINISHED_STATUSES",
    "OPEN_STATUSES",
    "Anomaly",
    "BadRow",
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
    "Lever",
    "ListedOrder",
    "Measure",
    "Move",
    "Order",
    "OrderAnomaly",
    "OrderCounts",
    "OrderDetails",
    "Page",
    "Picture",
    "Queue",
    "Row",
    "Scope",
    "Severity",
    "Status",
    "Turn",
    "Waiting",
    "Week",
]

_POOL = 10  # people on one console share these; a page holds one for some milliseconds


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


@contextmanager
def connection(*, write: bool = False) -> Iterator[Connection]:
    """A connection; with `write`, in a transaction that is committed at the end of the block.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as they say.
    """
    try:
        with engine().begin() if write else engine().connect() as conn:
            yield conn
    except (OperationalError, PoolExhausted) as error:
        raise DatabaseDown from error
    except ProgrammingError as error:
        if isinstance(error.orig, UndefinedTable | InvalidSchemaName | UndefinedColumn):
            raise NotBuilt from error
        raise


def orders(chosen: Filter, after: Key | None, before: Key | None) -> tuple[Page, bool]:
    """One page of the order list, and whether there are no orders at all."""
    with connection() as conn:
        page = order_list.page(conn, chosen, after=after, before=before)
        came_to_start = before is not None and not page.has_previous
        if came_to_start or (after is not None and not page.rows):
            page = order_list.page(conn, chosen)  # rows moved meanwhile: the first page is whole again
        return page, not page.rows and order_list.is_empty(conn)


def key_of(row: ListedOrder, chosen: Filter) -> Key:
    """Where a row stands in the list."""
    return order_list.key_of(row, chosen)


def find_orders(number: str) -> Sequence[Found]:
    """The orders with this number."""
    with connection() as conn:
        return order_list.find(conn, number)


def order_counts(operator: str | None = None) -> OrderCounts:
    """Orders by status; open ones that are late, on hold, in this operator's queue and in nobody's."""
    with connection() as conn:
        return counts.orders(conn, operator)


def queues() -> Sequence[Queue]:
    """The work queues of all who may be given work."""
    with connection() as conn:
        return counts.queues(conn, users.active_operators(conn))


def waiting(operator: str) -> Waiting:
    """What keeps orders from being an operator's next job."""
    with connection() as conn:
        return counts.waiting(conn, operator)


def order(order_id: UUID) -> OrderDetails:
    """All about one order.

    Raises:
        NoSuchOrder: there is none with this id.
    """
    with connection() as conn:
        return order_details.read(conn, order_id)


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


def weeks(last: int | None) -> Sequence[Week]:
    """Throughput of the last weeks that have data, or of all."""
    with connection() as conn:
        return throughput_report.weeks(conn, last)


def finding_groups(findings: Findings[Row]) -> Sequence[Group]:
    """Open findings counted by feed and kind."""
    with connection() as conn:
        return quarantine.groups(conn, findings)


def findings_page(
    findings: Findings[Row], feed: str | None, kind: str | None, turn: Turn, key: int | None
) -> FindingsPage[Row]:
    """One page of the open findings, the newest first."""
    with connection() as conn:
        return quarantine.page(conn, findings, feed=feed, kind=kind, turn=turn, key=key)


def all_findings(findings: Findings[Row], feed: str | None, kind: str | None) -> Sequence[Row]:
    """All open findings, for a file."""
    with connection() as conn:
        return list(quarantine.export(conn, findings, feed=feed, kind=kind))


@st.cache_resource
def _store() -> ObjectStore:
    return ObjectStore(config.load().objects_location)

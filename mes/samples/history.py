"""Writes a generated history into the database by COPY: millions of orders with their whole lives, in minutes.

Customers come first, in one transaction; then orders, a batch in each transaction, complete with items, quotes and
events. What a crash cut short is therefore whole batches, and the same request goes on where it ended: a batch is there
when its first order is, under the id that this request would give it.

An empty database that nobody else is connected to is filled without its indexes, which are built in the end, by the
next migration if this was cut short. Beside others nothing is switched off: indexes stay and are filled in ascending
order, and triggers and foreign keys rest in our transactions only.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar
from uuid import UUID

from psycopg import sql
from sqlalchemy import Connection, Engine, text

from mes.db import query, set_aside
from mes.db.migrate import ensure_event_partitions
from mes.errors import MesError
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore
from mes.samples import history_batches, history_prices
from mes.samples.copy_rows import Coded, Columns, encoded, fixed
from mes.samples.history_plan import History
from mes.samples.history_shop import SOURCES, Shop

# three threads: one draws, one is in the lighter tables, one in the events; a fourth gains nothing on two cores
_WRITERS = 3
_TABLES = ("ops.orders", "ops.quotes", "ops.order_items", "ops.order_events")
# what the triggers of the others keep; where those do not rest, they write it themselves
_KEPT_BY_TRIGGERS = ("ops.order_ends", "ops.changed_days")
_FILLED = ("ops.customers", *_TABLES, "ops.order_ends")
# batches; the running ones keep what came just before from being frozen, which is then looked at twice
_TIDIED_TOGETHER = 4
# fewer are there sooner with their indexes
_BARE_FROM = 100_000

Progress = Callable[[int, int], None]


class HistoryExists(MesError):
    """This very history was generated already; another --seed generates another one beside it."""

    code, http_status = "history_exists", 409


class OtherHistory(MesError):
    """Another history with this seed is there; give another --seed, or repeat the numbers that it was begun with."""

    code, http_status = "other_history", 409


class _Cut(MesError):
    """Another writer failed, or the command was ended."""

    code: ClassVar[str] = "cut_short"


@dataclass(frozen=True)
class Written:
    """What one run wrote: orders, rows by table, seconds for the writing, and whether the orders were marked dirty.

    `resumed_from` is the number of orders that earlier runs of the same request had left.
    """

    orders: int
    resumed_from: int
    rows: Mapping[str, int]
    seconds: float
    marked: bool


def last_until(engine: Engine, seed: int) -> datetime | None:
    """When the history of this seed that is there, if any, ends."""
    with engine.begin() as conn:
        until: datetime | None = conn.execute(
            text("select exported_at from ops.customers where source = any(:sources) and external_id = :first"),
            {"sources": list(SOURCES), "first": f"G{seed}-C0000001"},
        ).scalar()
    return until


def write(
    engine: Engine,
    history: History,
    store: ObjectStore,
    limits: Limits,
    *,
    mark: bool = False,
    bare_from: int = _BARE_FROM,
    progress: Progress = lambda _done, _of: None,
) -> Written:
    """Write all of `history` that is not there yet.

    Args:
        engine: the database, migrated.
        history: what to generate.
        store: where the models' bytes and pictures go.
        limits: for measuring them.
        mark: whether the orders are marked dirty, so that the refreshers merge them into the order list.
        bare_from: so many missing orders are written without indexes where that is possible.
        progress: told the orders that are there, and all of them, after each batch.

    Raises:
        HistoryExists: all of it is there.
        OtherHistory: another one with this seed is.
        TablesBeingFilled: another process writes one.
        NoRateCard: no rate card is valid at the end of the history.
    """
    with set_aside.alone(engine):
        missing = _missing(engine, history)
        with engine.begin() as conn:
            unfinished = bool(missing) or set_aside.any_is(conn)
        if not unfinished:
            raise HistoryExists(seed=history.seed, orders=history.orders, until=history.until.isoformat())
        catalogue = history_prices.prepare(engine, store, limits, orders=history.orders, at=history.until)
        shop = Shop(history, catalogue)
        started = time.monotonic()
        there = history.orders - sum(len(history.rows(number)) for number in missing)
        bare = _is_bare(engine, wanted=history.orders - there >= bare_from)
        _ensure_customers(engine, shop)
        with engine.begin() as conn:
            ensure_event_partitions(conn, history.since.date(), history.until.date())
        writers = _Writers(engine, shop, missing, mark, there, progress, bare=bare)
        writers.run()
        set_aside.put_back(engine, _FILLED)
        return Written(history.orders - there, there, writers.rows, time.monotonic() - started, marked=mark)


def ensure(
    engine: Engine, history: History, store: ObjectStore, limits: Limits, *, mark: bool = False
) -> Written | None:
    """Make sure that `history` is there, whole; None when it was. Errors are those of `write`."""
    try:
        return write(engine, history, store, limits, mark=mark)
    except HistoryExists:
        return None


@dataclass
class _Writers:
    """Threads that take batches in turn: each draws its rows alone, and enters a table when the batch before has left.

    So every table's rows come in ascending order of their keys, which fills the B-trees' pages: two batches at once in
    one table would leave them half empty.
    """

    engine: Engine
    shop: Shop
    batches: Sequence[int]
    mark: bool
    done: int
    progress: Progress
    bare: bool = False
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*_TABLES, *_KEPT_BY_TRIGGERS), 0))
    failed: bool = False
    turns: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*_TABLES, *_KEPT_BY_TRIGGERS), 0))
    changed: threading.Condition = field(default_factory=threading.Condition)
    taken: Iterator[tuple[int, int]] = field(init=False)

    def run(self) -> None:
        """Write all batches; on an error, or when interrupted, the batches in work are rolled back."""
        self.taken = iter(list(enumerate(self.batches)))
        with ThreadPoolExecutor(_WRITERS, "write") as threads:
            running = [threads.submit(self._write_some) for _ in range(min(_WRITERS, len(self.batches)))]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
            finally:
                self._stop()
        _raise_first(running)

    def _write_some(self) -> None:
        try:
            while not self.failed and (turn := self._next()) is not None:
                self._write(*turn)
        except BaseException:
            self._stop()
            raise

    def _next(self) -> tuple[int, int] | None:
        with self.changed:
            return next(self.taken, None)

    def _write(self, turn: int, number: int) -> None:
        tables = history_batches.rows(self.shop, number)
        pieces = {table: list(encoded(list(columns.values()))) for table, columns in tables.items()}
        with self.engine.begin() as conn:
            resting = _rest_triggers(conn)
            for table, columns in tables.items():
                with self._in_turn(table, turn):
                    if table in _KEPT_BY_TRIGGERS and not resting:
                        continue
                    self._copy(conn, table, columns, pieces.pop(table))
            if self.mark and resting:
                _mark(conn, self.shop.history, number)
            elif not self.mark and not resting:
                _unmark(conn)
        with self.changed:
            for table, columns in tables.items():
                self.rows[table] += _height(columns)
            self.done += len(self.shop.history.rows(number))
            self.progress(self.done, self.shop.history.orders)
        tidy_up = turn % _TIDIED_TOGETHER == _TIDIED_TOGETHER - 1
        if self.bare and tidy_up and turn < len(self.batches) - 1:  # building the indexes begins with the rest
            set_aside.tidy(self.engine, _FILLED)

    def _copy(self, conn: Connection, table: str, columns: Columns, pieces: Iterable[bytes]) -> None:
        copy(conn, table, columns, self._unless_failed(pieces))

    def _unless_failed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            if self.failed:
                raise _Cut
            yield piece

    @contextmanager
    def _in_turn(self, table: str, turn: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: self.failed or self.turns[table] == turn)
        if self.failed:
            raise _Cut
        yield
        with self.changed:
            self.turns[table] += 1
            self.changed.notify_all()

    def _stop(self) -> None:
        with self.changed:
            self.failed = True
            self.changed.notify_all()


def copy(conn: Connection, table: str, columns: Columns, pieces: Iterable[bytes]) -> None:
    """Append encoded rows to a table, in the caller's transaction."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    target = sql.SQL("copy {} ({}) from stdin (format binary)").format(sql.Identifier(*table.split(".")), names)
    connection = conn.connection.driver_connection
    if connection is None:
        raise RuntimeError("the connection is closed")
    with connection.cursor() as cursor, cursor.copy(target) as stream:
        for piece in pieces:
            stream.write(piece)


def _height(columns: Columns) -> int:
    column = next(iter(columns.values()))
    return len(column.codes if isinstance(column, Coded) else column.matrix)


def _is_bare(engine: Engine, *, wanted: bool) -> bool:
    """Whether the tables have no indexes while they are filled: where it is wanted and possible, or was begun so."""
    with engine.begin() as conn:
        if set_aside.any_is(conn):
            return True
        if not wanted or not set_aside.can_be(conn, _FILLED):
            return False
        return set_aside.set_aside(conn, _FILLED) > 0


def _missing(engine: Engine, history: History) -> list[int]:
    """The batches that are not there.

    Raises:
        OtherHistory: there is something else under these numbers.
    """
    wanted = {}
    for number in range(history.batches):
        ids = history.order_ids(number, history.placed_us(number))
        wanted[f"{history.prefix}{history.rows(number)[0] + 1:08d}"] = number, UUID(bytes=ids[0].tobytes())
    with engine.begin() as conn:
        found = conn.execute(
            text("""
                select external_id, order_id from ops.orders
                where source = any(:sources) and external_id = any(:numbers)
            """),
            {"sources": list(SOURCES), "numbers": list(wanted)},
        ).all()
        until = last_until(engine, history.seed)
    others = [row.external_id for row in found if wanted[row.external_id][1] != row.order_id]
    if others or (until is not None and until != history.until):
        raise OtherHistory(seed=history.seed, until=until.isoformat() if until is not None else None)
    there = {row.external_id for row in found}
    return [number for external_id, (number, _) in wanted.items() if external_id not in there]


def _ensure_customers(engine: Engine, shop: Shop) -> None:
    """Write all customers, or none where they are there.

    Raises:
        OtherHistory: there are others under their numbers.
    """
    first = UUID(bytes=shop.customer_ids[0].tobytes())
    with engine.begin() as conn:
        found = conn.execute(
            text("select customer_id from ops.customers where source = any(:sources) and external_id = :first"),
            {"sources": list(SOURCES), "first": f"{shop.history.prefix}C0000001"},
        ).scalar()
        if found is not None and found != first:
            raise OtherHistory(seed=shop.history.seed)
        if found is None:
            columns = shop.customers()
            copy(conn, "ops.customers", columns, encoded(list(columns.values())))


def _rest_triggers(conn: Connection) -> bool:
    """Let triggers and foreign keys rest in this transaction; false where this user may not, and they work."""
    conn.execute(text("set local synchronous_commit = off"))
    if not query.flag(conn, "select has_parameter_privilege('session_replication_role', 'set')"):
        return False
    conn.execute(text("set local session_replication_role = replica"))
    return True


def _mark(conn: Connection, history: History, number: int) -> None:
    ids = history.order_ids(number, history.placed_us(number))
    columns: Columns = {"order_id": fixed(ids)}
    copy(conn, "ops.dirty_orders", columns, encoded(list(columns.values())))


def _unmark(conn: Connection) -> None:
    """Take back the marks that our triggers made in this transaction."""
    conn.execute(text("delete from ops.dirty_orders where xmin = pg_current_xact_id()::xid"))


def _raise_first(running: Sequence[Future[None]]) -> None:
    """The error that the others were cut short by, if there is any."""
    errors = [future.exception() for future in running]
    for error in sorted(filter(None, errors), key=lambda error: isinstance(error, _Cut)):
        raise error

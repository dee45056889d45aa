"""Applies what is in the inbox: each sender's events to each order, once, in their sequence.

An order is looked at under the lock of the sender's row for it, so any number of workers may do it. All times are the
database's, so that the clocks of several machines need not agree.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from opentelemetry.trace import SpanKind
from psycopg.errors import LockNotAvailable
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import DBAPIError, OperationalError

from mes.db import query
from mes.events.inbox import Key
from mes.events.judging import Judgement, Standing, Verdict, judge, judged_again_at
from mes.observability import traces
from mes.observability.redaction import redact_text
from mes.orders import service
from mes.orders.life import Status, System
from mes.orders.model import Actor, Told

BATCH = 20
# earlier events of a sender that cannot number may come so much later
UNNUMBERED_WAIT = timedelta(seconds=5)
# a gap that is older is asked about, at once and then now and then
GAP_WAIT, ASK_EVERY = timedelta(seconds=5), timedelta(seconds=30)
_ATTEMPTS = 5
_PLACES = {status.value: place for place, status in enumerate(Status)}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Looked:
    """What one batch came to: orders looked at, events applied, and the keys whose gap is to be asked about."""

    orders: int
    applied: int
    gaps: tuple[Key, ...]


def look(conn: Connection, limit: int = BATCH) -> Looked:
    """Apply what can be applied of up to `limit` orders that are due, in the caller's transaction."""
    conn.execute(text("set local lock_timeout = '1s'"))  # an import may hold an order for longer: it is looked at later
    rows = conn.execute(
        text("""
            select sender, source, external_id, next_sequence, attempts, gap_since, fetched_at, parked_at,
                parked_reason, clock_timestamp() as looked_at
            from ops.inbox_orders where due_at <= clock_timestamp()
            order by due_at limit :limit for update skip locked
        """),
        {"limit": limit},
    ).all()
    applied, gaps = 0, []
    for row in rows:
        key = Key(row.sender, row.source, row.external_id)
        try:
            with conn.begin_nested():
                looking = _Look(conn, key, row)
                looking.go_on()
        except Exception as error:
            if not _concerns_one_order(error):
                raise
            _try_later(conn, key, row.attempts, error)
        else:
            applied += looking.applied
            gaps += [key] if looking.asks else []
    return Looked(len(rows), applied, tuple(gaps))


class _Look:
    """One look at what a sender has told about an order."""

    def __init__(self, conn: Connection, key: Key, row: Row[Any]) -> None:
        self.applied, self.asks = 0, False
        self._conn, self._key = conn, key
        self._sender = System(key.sender)
        self._next: int = row.next_sequence
        self._gap_since: datetime | None = row.gap_since
        self._fetched_at: datetime | None = row.fetched_at
        self._parked: tuple[datetime, str] | None = (row.parked_at, row.parked_reason) if row.parked_at else None
        self._due_at: datetime | None = None
        self._waits = False
        self._wakes_at: frozenset[Status] | None = frozenset()
        self._order_id: UUID | None = None
        self._version = 0
        self._order: Standing | None = None
        self._read_order()
        self._events: list[Row[Any]] = []
        self._now: datetime = row.looked_at

    def go_on(self) -> None:
        """Apply what can be applied, and note what is waited for."""
        if self._sender is System.CRM:
            self._next = self._after_feed()
        self._events = self._undecided()
        self._cancel()
        if self._parked is None:
            self._go_on_numbered()
        if self._parked is None:
            self._go_on_unnumbered()
        self._save()

    def _cancel(self) -> None:
        """A cancellation is judged at once, ahead of what waits: no more work should go into the order.

        What its sender told before it, or tells later of the time before it, has no effect any more.
        """
        for event in sorted(self._events, key=lambda each: each.inbox_id):
            passed = event.sequence is not None and event.sequence < self._next
            if event.type != Status.CANCELLED or event.fault is not None or passed or event not in self._events:
                continue
            judgement = self._judge(event)
            if judgement.verdict is Verdict.WAIT:
                continue
            if judgement.verdict is Verdict.PARK:
                self._park(event, judgement)
                return
            self._settle(event, judgement)
            self._void_before(event)

    def _void_before(self, cancellation: Row[Any]) -> None:
        """What its sender told before a cancellation waits no more; one without a number comes after all of those."""
        self._parked = None
        sequence = cancellation.sequence
        for other in list(self._events):
            if (other.sequence is None) == (sequence is None) and (sequence is None or other.sequence < sequence):
                self._ignore(other, "the order was cancelled meanwhile")
        if sequence is not None:
            self._next = max(self._next, sequence + 1)

    def _go_on_numbered(self) -> None:
        gap = False
        for event in sorted((each for each in self._events if each.sequence is not None), key=_by_sequence):
            if event.sequence < self._next:
                self._ignore(event, "a later one was applied before, or the same one by another way")
                continue
            gap = event.sequence > self._next
            if gap or not self._go_on_with(event):
                break
            self._next += 1
        self._note_gap(gap=gap)

    def _go_on_unnumbered(self) -> None:
        for event in sorted((each for each in self._events if each.sequence is None), key=_by_life):
            ripe_at = event.received_at + UNNUMBERED_WAIT
            if ripe_at > self._now:
                self._look_again(ripe_at)
                return
            if not self._go_on_with(event):
                return

    def _go_on_with(self, event: Row[Any]) -> bool:
        """Do what is to be done with a sender's next event; gives whether the one after it has its turn now."""
        judgement = self._judge(event)
        if judgement.verdict is Verdict.PARK:
            self._park(event, judgement)
            return False
        if judgement.verdict is Verdict.WAIT:
            self._wait_for(judged_again_at(self._sender, event.type, self._order))
            self._decide(event, "waiting", f"waits: {judgement.reason}")
            return False
        self._settle(event, judgement)
        return True

    def _judge(self, event: Row[Any]) -> Judgement:
        return judge(self._sender, self._key.source, event.type, event.fault, self._order)

    def _settle(self, event: Row[Any], judgement: Judgement) -> None:
        if judgement.verdict is Verdict.IGNORE or self._order_id is None:
            self._ignore(event, judgement.reason)
            return
        about = {traces.ORDER: str(self._order_id), "messaging.message.id": redact_text(event.event_id)}
        about["messaging.operation.type"] = "process"
        led = [event.traceparent]
        with traces.span("apply event", kind=SpanKind.CONSUMER, causes=led, attributes=about, foreign=True):
            service.transition(
                self._conn,
                self._order_id,
                Status(event.type),
                Actor(self._sender, f"{self._sender} (bus)"),
                reason=event.reason,
                told=Told(event.event_id, event.occurred_at),
            )
        self._read_order()
        self.applied += 1
        self._decide(event, "applied", f"version {self._version}")

    def _park(self, event: Row[Any], judgement: Judgement) -> None:
        self._parked = (self._now, judgement.reason)
        log.error(
            "event parked, its order waits for a person",
            sender=self._sender.value,
            source=self._key.source,
            external_id=self._key.external_id,
            inbox_id=event.inbox_id,
            reason=judgement.reason,
        )
        self._decide(event, "parked", judgement.reason)

    def _ignore(self, event: Row[Any], reason: str) -> None:
        self._decide(event, "ignored", reason)

    def _decide(self, event: Row[Any], state: str, outcome: str) -> None:
        if state not in {"waiting", "parked"}:
            self._events.remove(event)
        if (event.state, event.outcome) != (state, outcome):
            self._conn.execute(
                text("""
                    update ops.inbox set state = :state, outcome = :outcome,
                        decided_at = case when :state <> 'waiting' then clock_timestamp() end
                    where inbox_id = :inbox_id
                """),
                {"inbox_id": event.inbox_id, "state": state, "outcome": outcome},
            )

    def _note_gap(self, *, gap: bool) -> None:
        if not gap:
            self._gap_since = self._fetched_at = None
            return
        self._gap_since = self._gap_since or self._now
        asked_before = self._fetched_at is not None
        ask_at = self._fetched_at + ASK_EVERY if self._fetched_at is not None else self._gap_since + GAP_WAIT
        if ask_at <= self._now:
            self.asks, self._fetched_at = True, self._now
            ask_at = self._now + ASK_EVERY
            if asked_before:
                log.error(
                    "an event is missing",
                    sender=self._sender.value,
                    source=self._key.source,
                    external_id=self._key.external_id,
                    sequence=self._next,
                    since=self._gap_since.isoformat(),
                )
        self._look_again(ask_at)
        self._wait_for(None)  # the feed may bring it, which changes the order

    def _wait_for(self, statuses: frozenset[Status] | None) -> None:
        """Be woken when the order comes to one of these, or by any change of it."""
        self._waits = True
        self._wakes_at = None if statuses is None or self._wakes_at is None else self._wakes_at | statuses

    def _look_again(self, at: datetime) -> None:
        self._due_at = at if self._due_at is None else min(self._due_at, at)

    def _read_order(self) -> None:
        row = self._conn.execute(
            text("""
                select order_id, status, version, held_since is not null as held, (
                    select array_agg(distinct type) from ops.order_events as events
                    where events.order_id = orders.order_id and events.type = upper(events.type)
                ) as passed
                from ops.orders where source = :source and external_id = :external_id for no key update
            """),
            {"source": self._key.source, "external_id": self._key.external_id},
        ).one_or_none()
        if row is None:
            return
        passed = frozenset(map(Status, row.passed or ()))
        self._order_id, self._version, self._order = row.order_id, row.version, Standing(row.status, row.held, passed)

    def _after_feed(self) -> int:
        """The next number, once the sender's feed has been applied from where we are on, without gaps."""
        return query.number(
            self._conn,
            """
            select coalesce(max(sequence) + 1, :next) from (
                select sequence, row_number() over (order by sequence) as nth from (
                    select distinct sequence from raw.crm_order_events
                    where source = :source and external_id = :external_id and applied_at is not null
                        and sequence >= :next
                ) as told
            ) as numbered where sequence = :next - 1 + nth
            """,
            source=self._key.source,
            external_id=self._key.external_id,
            next=self._next,
        )

    def _undecided(self) -> list[Row[Any]]:
        rows = self._conn.execute(
            text("""
                select inbox_id, event_id, sequence, type, occurred_at, reason, fault, received_at, state, outcome,
                    event ->> 'traceparent' as traceparent
                from ops.inbox
                where sender = :sender and source = :source and external_id = :external_id
                    and state in ('waiting', 'parked')
            """),
            self._names,
        )
        return list(rows)

    def _save(self) -> None:
        parked_at, parked_reason = self._parked or (None, None)
        self._conn.execute(
            text("""
                update ops.inbox_orders set
                    next_sequence = :next, due_at = :due_at, seen_version = :seen,
                    wakes_at = cast(:wakes_at as ops.order_status[]), gap_since = :gap_since, fetched_at = :fetched_at,
                    parked_at = :parked_at, parked_reason = :parked_reason, attempts = 0
                where sender = :sender and source = :source and external_id = :external_id
            """),
            self._names
            | {
                "next": self._next,
                "due_at": self._due_at if self._parked is None else None,
                "seen": self._version if self._waits and self._parked is None else None,
                "wakes_at": [status.value for status in sorted(self._wakes_at)] if self._wakes_at else None,
                "gap_since": self._gap_since,
                "fetched_at": self._fetched_at,
                "parked_at": parked_at,
                "parked_reason": parked_reason,
            },
        )

    @property
    def _names(self) -> dict[str, object]:
        return {"sender": self._key.sender, "source": self._key.source, "external_id": self._key.external_id}


def _by_sequence(event: Row[Any]) -> tuple[int, int]:
    return event.sequence, event.inbox_id


def _by_life(event: Row[Any]) -> tuple[int, datetime, int]:
    return _PLACES.get(event.type, len(_PLACES)), event.occurred_at, event.inbox_id


def _concerns_one_order(error: Exception) -> bool:
    """Whether other orders can go on; they cannot when the connection is gone."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return False
    return not isinstance(error, OperationalError) or isinstance(error.orig, LockNotAvailable)


def _try_later(conn: Connection, key: Key, attempts: int, error: Exception) -> None:
    """Look again after a while; what fails again and again is parked, so that a person sees it."""
    if not isinstance(error, OperationalError):  # that the order is locked is no fault of it
        attempts += 1
        log.error("events of an order cannot be applied", external_id=key.external_id, exc_info=error)
    conn.execute(
        text("""
            update ops.inbox_orders set
                attempts = :attempts,
                due_at = case when not :parked then clock_timestamp() + :pause end,
                parked_at = case when :parked then clock_timestamp() end,
                parked_reason = case when :parked then :reason end
            where sender = :sender and source = :source and external_id = :external_id
        """),
        {
            "attempts": attempts,
            "parked": attempts >= _ATTEMPTS,
            "pause": timedelta(seconds=2 ** min(attempts, _ATTEMPTS)),
            "reason": f"it cannot be applied ({type(error).__name__}); the worker's log says why",
            "sender": key.sender,
            "source": key.source,
            "external_id": key.external_id,
        },
    )

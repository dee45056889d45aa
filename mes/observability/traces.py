"""Follows an order through all processes, by OpenTelemetry: requests, jobs, messages and statements are spans.

An order lives for days, so its life is many traces: each event of an order has the `traceparent` of the work that made
it, as CloudEvents has it, and whatever goes on from an event is its child or is linked to it.

Of a flood, so many new traces a second are sampled. What is not sampled costs little more than its ids; when it fails
or takes long, its span is made at its end and sent all the same.
"""

import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from operator import methodcaller
from random import getrandbits
from threading import Lock
from types import TracebackType
from typing import TypeAlias

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util import types

from mes.errors import MesError
from mes.observability.redaction import redact_text

HEADER = "traceparent"
TRACE_ID, SPAN_ID = slice(3, 35), slice(36, 52)
"""Where a `traceparent` has its ids."""

ORDER, VERSION = "mes.order.id", "mes.order.version"
"""Attributes of spans that are about one order."""

MOST_LINKS = 32
Facts: TypeAlias = Mapping[str, str | int]
Description: TypeAlias = Callable[[Span], None]

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
# of SQL, what a statement is about: the first table that it writes, or else reads
_WRITES = re.compile(r"(?is)\b(?:insert\s+into|update|delete\s+from|merge\s+into|copy|lock\s+table)\s+[a-z_]+\.\w+")
_READS = re.compile(r"(?is)\bfrom\s+[a-z_]+\.\w+")
_LONGEST_SQL = 2_000
_BURST_S = 10.0
_SERVER_ERROR = 500
_NS = 1_000_000_000
_NEARLY = 0.9  # slow: a span ends a moment after its work was timed
_SCOPE = InstrumentationScope("mes")
_says_sampled: Callable[[str | None], bool] = methodcaller("endswith", tuple("13579bdf"))
"""Whether a `traceparent` does, by its flags alone; whether it is well formed is looked at when it becomes a link."""
_UNRECORDED = nullcontext()
_DRAWN_AT_ONCE = 64
_drawn = deque[str]()
os.register_at_fork(after_in_child=_drawn.clear)  # what is left is the parent's
_current: ContextVar[Span] = ContextVar("mes_span", default=INVALID_SPAN)
_UNSAMPLED, _SAMPLED = TraceFlags(TraceFlags.DEFAULT), TraceFlags(TraceFlags.SAMPLED)


class _Bucket:
    """Lets so many through each second, and after a quiet time those of `_BURST_S` at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._most = per_s, max(per_s * _BURST_S, 1.0)
        self._left, self._seen_at = per_s * _BURST_S, time.monotonic()
        self._empty_until = float("-inf")
        self._lock = Lock()

    def take(self) -> bool:
        """Whether one more may go; of a flood, most are told off without a lock."""
        now = time.monotonic()
        if now < self._empty_until:
            return False
        with self._lock:
            self._left = min(self._most, self._left + (now - self._seen_at) * self._per_s)
            self._seen_at = now
            if self._left < 1:
                self._empty_until = now + (1 - self._left) / self._per_s if self._per_s else float("inf")
                return False
            self._left -= 1
            return True


@dataclass(frozen=True)
class _Sending:
    """Where spans go, and which of them."""

    tracer: trace.Tracer
    to: SpanProcessor
    resource: Resource
    new: _Bucket
    slow_ns: float


_sending: _Sending | None = None


def send(to: SpanProcessor, resource: Resource, *, per_s: float, slow_s: float) -> TracerProvider:
    """Record spans from now on, and hand on those of `per_s` new traces a second, and of what fails or is slow.

    Shut the provider that it gives down to have the last ones sent.
    """
    global _sending  # noqa: PLW0603 - a process has one, as it has one root logger
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(to)
    _sending = _Sending(provider.get_tracer(_SCOPE.name), to, resource, _Bucket(per_s), slow_s * _NS)
    return provider


def send_nothing() -> None:
    """Record nothing from now on, as at the beginning; work has ids all the same, for logs and events."""
    global _sending  # noqa: PLW0603 - as above
    _sending = None


def may_be_sent(span: Span, seconds: float) -> bool:
    """Whether a span of work that took so long, and did not fail, may go anywhere, so that it should be described."""
    return span.is_recording() or (_sending is not None and seconds * _NS >= _NEARLY * _sending.slow_ns)


def records() -> bool:
    """Whether spans go anywhere, so that it is worth while to look up what led to them."""
    return _sending is not None


def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    causes: Iterable[str | None] = (),
    attributes: Facts | None = None,
    began_ns: int | None = None,
    foreign: bool = False,
) -> AbstractContextManager[Span]:
    """Do a piece of work within a span; an error that leaves it marks it as failed, unless it is a refusal.

    Args:
        name: what is done, of few different values.
        kind: of the span, as OpenTelemetry has them.
        causes: the `traceparent` of what led to it. A single one becomes the parent of work that has none; several,
            and those of work within other work, are linked.
        attributes: more about it.
        began_ns: when it began, since the epoch, if that was before; for work that is worth a span only when it found
            something to do.
        foreign: whether the causes are others', who must not decide whether our work is sampled.
    """
    return _Work(name, kind, causes, attributes, began_ns, foreign=foreign)


class _Work(Span):
    """A piece of work, from its beginning to its end; unless it is sampled, it is its own span.

    Almost none is sampled, and whatever is done for each request shows: such a one has ids and remembers the little
    that is told of it, should it have to be sent after all; OpenTelemetry's objects are made only then.
    """

    __slots__ = (
        "_began_ns",
        "_causes",
        "_descriptions",
        "_events",
        "_facts",
        "_failed",
        "_foreign",
        "_kind",
        "_name",
        "_parent",
        "_recorded",
        "_token",
        "traceparent",
    )

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        causes: Iterable[str | None],
        attributes: Facts | None,
        began_ns: int | None,
        *,
        foreign: bool,
    ) -> None:
        self._name, self._kind, self._causes = name, kind, causes
        self._facts: Mapping[str, object] = attributes or {}
        self._began_ns, self._foreign = began_ns, foreign
        self._failed = False
        self._events: Sequence[Event] = ()
        self._descriptions: Sequence[Description] = ()
        self._recorded: tuple[Span, Token[Context]] | None = None

    def __enter__(self) -> Span:
        self._parent = _current.get()
        if self._causes:
            self._causes = causes = [*filter(None, self._causes)]
            if causes and self._parent is INVALID_SPAN and causes.count(causes[0]) == len(causes):
                self._parent = self._given_parent(causes[0])
        self._began_ns = self._began_ns or time.time_ns()
        sending = _sending
        if sending is not None and self._is_sampled(sending):
            return self._record(sending)
        drawn = _draw()
        above = None if self._parent is INVALID_SPAN else traceparent(self._parent)
        self.traceparent = drawn if above is None else f"00-{above[TRACE_ID]}-{drawn[SPAN_ID]}-00"
        self._token = _current.set(self)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)
        if self._recorded is None:
            if isinstance(error, Exception):
                note_error(self, error)
            self.end()
            return
        span, token = self._recorded
        contexts.detach(token)
        if isinstance(error, Exception):
            note_error(span, error)
        span.end()

    def end(self, end_time: int | None = None) -> None:
        """Send it after all, if it matters."""
        ended_ns = end_time or time.time_ns()
        if _sending is not None and (self._failed or ended_ns - (self._began_ns or 0) >= _sending.slow_ns):
            self._send(_sending, ended_ns)

    def _send(self, sending: _Sending, ended_ns: int) -> None:
        for describe in self._descriptions:
            describe(self)
        trace_id, span_id = self._ids()
        sending.to.on_end(
            ReadableSpan(
                name=self._name,
                context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED),
                parent=None if self._parent is INVALID_SPAN else self._parent.get_span_context(),
                resource=sending.resource,
                attributes=self._told_facts(),
                events=self._events,
                links=self._links(),
                kind=self._kind,
                status=Status(StatusCode.ERROR if self._failed else StatusCode.UNSET),
                start_time=self._began_ns,
                end_time=ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )

    def get_span_context(self) -> SpanContext:
        return SpanContext(*self._ids(), is_remote=False, trace_flags=_UNSAMPLED)

    def is_recording(self) -> bool:
        return False

    def update_name(self, name: str) -> None:
        self._name = name

    def set_attribute(self, key: str, value: object) -> None:
        self._facts = {**self._facts, key: value}

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        self._facts = {**self._facts, **attributes}

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:  # noqa: ARG002
        code = status.status_code if isinstance(status, Status) else status
        self._failed |= code is StatusCode.ERROR

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        self._events = [*self._events, Event(name, attributes, timestamp)]

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,  # noqa: ARG002
        timestamp: int | None = None,  # noqa: ARG002
        escaped: bool = False,  # noqa: ARG002, FBT001, FBT002 - OpenTelemetry's
    ) -> None:
        note_error(self, exception)

    def describe(self, how: Description) -> None:
        """Remember how it is described."""
        self._descriptions = (*self._descriptions, how)

    def follow(self, causes: Iterable[str | None]) -> None:
        """Remember what led to it."""
        self._causes = [*self._causes, *causes]

    def _ids(self) -> tuple[int, int]:
        return int(self.traceparent[TRACE_ID], 16), int(self.traceparent[SPAN_ID], 16)

    def _given_parent(self, told: str) -> Span:
        """A single cause is the parent of work that has none."""
        context = _context(told)
        if context is None:
            return INVALID_SPAN
        self._causes = ()
        return NonRecordingSpan(context)

    def _is_sampled(self, sending: _Sending) -> bool:
        """Sampled is what has a sampled cause: a parent, or a link when there is none; and some of what has none."""
        parent = self._parent
        if parent is not INVALID_SPAN:  # looked at first: whether it is ours is asked of OpenTelemetry's abstract class
            if isinstance(parent, _Work):
                return False
            context = parent.get_span_context()
            if not (context.is_remote and self._foreign):
                return bool(context.trace_flags.sampled)
        if self._causes and not self._foreign and any(map(_says_sampled, self._causes)):
            return True
        return sending.new.take()

    def _record(self, sending: _Sending) -> Span:
        span = sending.tracer.start_span(
            self._name,
            context=trace.set_span_in_context(self._parent, Context()),
            kind=self._kind,
            attributes=self._told_facts(),
            links=self._links(),
            start_time=self._began_ns,
        )
        # libraries of OpenTelemetry look for it there
        self._recorded = span, contexts.attach(trace.set_span_in_context(span))
        self._token = _current.set(span)
        return span

    def _told_facts(self) -> Facts:
        return {key: value if isinstance(value, int) else str(value) for key, value in self._facts.items()}

    def _links(self) -> list[Link]:
        """Looked up only for a span that is sent: a transaction of many calls has many causes."""
        return [Link(context) for context in _contexts(self._causes)]


def _draw() -> str:
    """The `traceparent` of work that begins a trace and is not sampled; drawn many at a time, at half the cost."""
    try:
        return _drawn.pop()
    except IndexError:
        digits = f"{getrandbits(192 * _DRAWN_AT_ONCE):0{48 * _DRAWN_AT_ONCE}x}"
        ids = (digits[at : at + 48] for at in range(0, len(digits), 48))
        first, *others = (f"00-{each[16:]}-{each[:16]}-00" for each in ids)
        _drawn.extend(others)
        return first


def current() -> Span:
    """The span of the current work; an invalid one outside of any."""
    return _current.get()


def query(sql: str | bytes) -> AbstractContextManager[None]:
    """Send a statement within a span, if the work that it belongs to is recorded; its parameters are not told."""
    statement = begin_query(sql)
    return _UNRECORDED if statement is None else _within(statement)


@contextmanager
def _within(statement: Span) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        note_error(statement, error)
        raise
    finally:
        statement.end()


def begin_query(sql: str | bytes) -> Span | None:
    """As `query`, for whoever must end the span by himself; None when nothing is recorded."""
    if _sending is None or not _current.get().is_recording():
        return None
    name, shown = _about(sql)
    attributes = {"db.system.name": "postgresql", "db.query.text": shown}
    return _sending.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def past(name: str, began_ns: int, ended_ns: int, *, failed: bool = False) -> None:
    """Tell a piece of the current work after it has ended, by times since the epoch."""
    if _sending is None or not _current.get().is_recording():
        return
    span = _sending.tracer.start_span(name, start_time=began_ns)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)


def note_error(span: Span, error: BaseException) -> None:
    """Mark a span as failed, with the error's kind and its words without secrets; a refusal is an answer."""
    if isinstance(error, MesError) and error.http_status < _SERVER_ERROR:
        return
    kind = type(error).__name__
    span.set_status(StatusCode.ERROR)
    span.set_attribute("error.type", kind)
    span.add_event("exception", {"exception.type": kind, "exception.message": redact_text(_words(error))})


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error without words must not take the place of what it stands for
        return ""


def traceparent(of: Span | None = None) -> str | None:
    """The W3C `traceparent` of a span, by default the current one; None without one."""
    span = of or _current.get()
    if isinstance(span, _Work):
        return span.traceparent
    context = span.get_span_context()
    flags = "01" if context.trace_flags.sampled else "00"
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{flags}" if context.is_valid else None


def describe(span: Span, how: Description) -> None:
    """Have `how` tell more of a span, if it is sent; whether it has failed must be said at once."""
    if isinstance(span, _Work):
        span.describe(how)
    else:
        how(span)


def follow(span: Span, causes: Iterable[str | None]) -> None:
    """Link a span to what led to it, when that is known only after it began."""
    if isinstance(span, _Work):
        span.follow(causes)
    elif span.is_recording():
        for context in _contexts(causes):
            span.add_link(context)


def of_message(event: Mapping[str, object], given: Mapping[str, str] | None = None) -> str | None:
    """The `traceparent` of a message: the CloudEvent's own extension, or else its carrier's header."""
    told = event.get(HEADER) or (given or {}).get(HEADER)
    return told if isinstance(told, str) and _TRACEPARENT.fullmatch(told) else None


def headers(event: Mapping[str, object], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What names an event's trace, beside it or in it: for receivers that look only at one of them."""
    told = of_message(event, given)
    return {HEADER: told} if told is not None else {}


def headers_if_sampled(event: Mapping[str, object]) -> dict[str, str]:
    """As `headers`, for a bus that carries many: the trace of the others is in the event alone."""
    return headers(event) if _says_sampled(str(event.get(HEADER, ""))) else {}


def _contexts(causes: Iterable[str | None]) -> Sequence[SpanContext]:
    """Each cause once: the sampled ones, which can be followed, or all when there are none."""
    named = [cause for cause in dict.fromkeys(causes) if cause is not None]
    sampled = [cause for cause in named if _says_sampled(cause)]
    found = (_context(cause) for cause in sampled or named)
    return list(islice((context for context in found if context is not None), MOST_LINKS))


def _context(told: str) -> SpanContext | None:
    match = _TRACEPARENT.fullmatch(told)
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags & TraceFlags.SAMPLED))


@lru_cache(maxsize=1024)
def _about(sql: str | bytes) -> tuple[str, str]:
    """What a statement is about, in few words, and its text as far as it is shown."""
    text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
    found = _WRITES.search(text) or _READS.search(text)
    name = " ".join(found.group(0).split()).lower() if found else (text.split(maxsplit=1) or ["query"])[0].lower()
    return name, text[:_LONGEST_SQL]

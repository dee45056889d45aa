"""Follows an order through all processes, by OpenTelemetry: requests, jobs, messages and statements are spans.

An order lives for days, so its life is many traces: each event of an order has the `traceparent` of the work that made
it, as CloudEvents has it, and whatever goes on from an event is its child or is linked to it.

Of a flood, so many new traces a second are sampled. What is not sampled costs little more than its ids; when it fails
or takes long, its span is made at its end and sent all the same.
"""

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from types import TracebackType
from typing import TypeAlias

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from mes.errors import MesError
from mes.observability.redaction import redact_text

HEADER = "traceparent"
ORDER, VERSION = "mes.order.id", "mes.order.version"
"""Attributes of spans that are about one order."""

MOST_LINKS = 32
Facts: TypeAlias = Mapping[str, str | int]

_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
# of SQL, what a statement is about: the first table that it writes, or else reads
_WRITES = re.compile(r"(?is)\b(?:insert\s+into|update|delete\s+from|merge\s+into|copy|lock\s+table)\s+[a-z_]+\.\w+")
_READS = re.compile(r"(?is)\bfrom\s+[a-z_]+\.\w+")
_LONGEST_SQL = 2_000
_BURST_S = 10.0
_SERVER_ERROR = 500
_NS = 1_000_000_000
_SCOPE = InstrumentationScope("mes")
_ODD_DIGITS = frozenset("13579bdf")
_UNRECORDED = nullcontext()
_UNSAMPLED, _SAMPLED = TraceFlags(TraceFlags.DEFAULT), TraceFlags(TraceFlags.SAMPLED)


class _Bucket:
    """Lets so many through each second, and after a quiet time those of `_BURST_S` at once."""

    def __init__(self, per_s: float) -> None:
        self._per_s, self._most = per_s, max(per_s * _BURST_S, 1.0)
        self._left, self._seen_at = per_s * _BURST_S, time.monotonic()
        self._lock = Lock()

    def take(self) -> bool:
        """Whether one more may go."""
        with self._lock:
            now = time.monotonic()
            self._left = min(self._most, self._left + (now - self._seen_at) * self._per_s)
            self._seen_at = now
            if self._left < 1:
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
    work = _Work(name, kind, causes, attributes, began_ns)
    work.foreign = foreign
    return work


class _Unsampled(NonRecordingSpan):
    """A span that is not recorded; remembers the little that is told of it, should it have to be sent after all."""

    def __init__(self, context: SpanContext, name: str, attributes: Facts | None) -> None:
        super().__init__(context)
        self.name, self.facts, self.failed = name, dict(attributes or {}), False
        self.events: list[Event] = []
        self.causes: list[str | None] = []

    def update_name(self, name: str) -> None:
        self.name = name

    def set_attribute(self, key: str, value: object) -> None:
        self.facts[key] = value if isinstance(value, int) else str(value)

    def set_attributes(self, attributes: Mapping[str, object]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:  # noqa: ARG002
        code = status.status_code if isinstance(status, Status) else status
        self.failed |= code is StatusCode.ERROR


class _Work(AbstractContextManager[Span]):
    """A piece of work, from its beginning to its end."""

    __slots__ = ("_attributes", "_began_ns", "_causes", "_kind", "_name", "_parent", "_span", "_token", "foreign")

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        causes: Iterable[str | None],
        attributes: Facts | None,
        began_ns: int | None,
    ) -> None:
        self._name, self._kind, self._causes, self._attributes = name, kind, causes, attributes
        self._began_ns, self.foreign = began_ns, False

    def __enter__(self) -> Span:
        causes = [cause for cause in dict.fromkeys(self._causes) if cause]
        parent = trace.get_current_span().get_span_context()
        self._parent = parent if parent.is_valid else None
        if self._parent is None and len(causes) == 1:
            self._parent = _context(causes.pop())
        self._causes = causes
        self._began_ns = self._began_ns or time.time_ns()
        self._span = self._begin(_sending)
        self._token = contexts.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        contexts.detach(self._token)
        if isinstance(error, Exception):
            note_error(self._span, error)
        if isinstance(self._span, _Unsampled):
            self._end_unsampled(self._span)
        else:
            self._span.end()

    def _begin(self, sending: _Sending | None) -> Span:
        if sending is None or not self._is_sampled(sending):
            trace_id = self._parent.trace_id if self._parent is not None else random.getrandbits(128)
            context = SpanContext(trace_id, random.getrandbits(64), is_remote=False, trace_flags=_UNSAMPLED)
            return _Unsampled(context, self._name, self._attributes)
        parent = None
        if self._parent is not None:
            parent = trace.set_span_in_context(NonRecordingSpan(self._parent))
        return sending.tracer.start_span(
            self._name,
            context=parent,
            kind=self._kind,
            attributes=dict(self._attributes or {}),
            links=self._links(),
            start_time=self._began_ns,
        )

    def _is_sampled(self, sending: _Sending) -> bool:
        """Sampled is what has a sampled cause: a parent, or a link when there is none; and some of what has none."""
        parent = self._parent
        if parent is not None and not (parent.is_remote and self.foreign):
            return bool(parent.trace_flags.sampled)
        led = not self.foreign and any(_says_sampled(cause) for cause in self._causes if cause)
        return led or sending.new.take()

    def _links(self, more: Iterable[str | None] = ()) -> list[Link]:
        """Looked up only for a span that is sent: a transaction of many calls has many causes."""
        return [Link(context) for context in _contexts([*self._causes, *more])]

    def _end_unsampled(self, span: _Unsampled) -> None:
        """Send it after all, if it matters."""
        sending, ended_ns, began_ns = _sending, time.time_ns(), self._began_ns or 0
        if sending is None or not (span.failed or ended_ns - began_ns >= sending.slow_ns):
            return
        context = span.get_span_context()
        sending.to.on_end(
            ReadableSpan(
                name=span.name,
                context=SpanContext(context.trace_id, context.span_id, is_remote=False, trace_flags=_SAMPLED),
                parent=self._parent,
                resource=sending.resource,
                attributes=span.facts,
                events=span.events,
                links=self._links(span.causes),
                kind=self._kind,
                status=Status(StatusCode.ERROR if span.failed else StatusCode.UNSET),
                start_time=began_ns,
                end_time=ended_ns,
                instrumentation_scope=_SCOPE,
            )
        )


def query(sql: str | bytes) -> AbstractContextManager[None]:
    """Send a statement within a span, if the work that it belongs to is recorded; its parameters are not told."""
    current = begin_query(sql)
    return _UNRECORDED if current is None else _within(current)


@contextmanager
def _within(current: Span) -> Iterator[None]:
    try:
        with trace.use_span(current, record_exception=False, set_status_on_exception=False):
            yield
    except Exception as error:
        note_error(current, error)
        raise
    finally:
        current.end()


def begin_query(sql: str | bytes) -> Span | None:
    """As `query`, for whoever must end the span by himself; None when nothing is recorded."""
    if _sending is None or not trace.get_current_span().is_recording():
        return None
    name, shown = _about(sql)
    attributes = {"db.system.name": "postgresql", "db.query.text": shown}
    return _sending.tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def past(name: str, began_ns: int, ended_ns: int, *, failed: bool = False) -> None:
    """Tell a piece of the current work after it has ended, by times since the epoch."""
    if _sending is None or not trace.get_current_span().is_recording():
        return
    span = _sending.tracer.start_span(name, start_time=began_ns)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)


def note_error(current: Span, error: BaseException) -> None:
    """Mark a span as failed, with the error's kind and its words without secrets; a refusal is an answer."""
    if isinstance(error, MesError) and error.http_status < _SERVER_ERROR:
        return
    kind = type(error).__name__
    current.set_status(StatusCode.ERROR)
    current.set_attribute("error.type", kind)
    said = {"exception.type": kind, "exception.message": redact_text(_words(error))}
    if isinstance(current, _Unsampled):
        current.events.append(Event("exception", said))
    else:
        current.add_event("exception", said)


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an error without words must not take the place of what it stands for
        return ""


def traceparent(of: Span | None = None) -> str | None:
    """The W3C `traceparent` of a span, by default the current one; None without one."""
    context = (of or trace.get_current_span()).get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & TraceFlags.SAMPLED:02x}"


def follow(current: Span, causes: Iterable[str | None]) -> None:
    """Link a span to what led to it, when that is known only after it began."""
    if isinstance(current, _Unsampled):
        current.causes.extend(causes)
    elif current.is_recording():
        for context in _contexts(causes):
            current.add_link(context)


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
    """Each cause once, the sampled ones first: those can be followed."""
    found = [context for cause in dict.fromkeys(causes) if cause is not None and (context := _context(cause))]
    if len(found) > 1:
        found.sort(key=lambda context: not context.trace_flags.sampled)
    return found[:MOST_LINKS]


def _says_sampled(told: str) -> bool:
    return told[-1:] in _ODD_DIGITS


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

"""Follows an order through all processes, by OpenTelemetry: requests, jobs, messages and statements are spans.

An order lives for days, so its life is many traces: each event of an order has the `traceparent` of the work that made
it, as CloudEvents has it, and whatever goes on from an event is its child or is linked to it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, TraceFlags

from mes.errors import MesError
from mes.observability.redaction import redact_text

HEADER = "traceparent"
ORDER, VERSION = "mes.order.id", "mes.order.version"
"""Attributes of spans that are about one order."""

MOST_LINKS = 32
_TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
# of SQL, what a statement is about: the first table that it writes, or else reads
_WRITES = re.compile(r"(?is)\b(?:insert\s+into|update|delete\s+from|merge\s+into|copy|lock\s+table)\s+[a-z_]+\.\w+")
_READS = re.compile(r"(?is)\bfrom\s+[a-z_]+\.\w+")
_LONGEST_SQL = 2_000
_SERVER_ERROR = 500

_tracer: trace.Tracer = trace.NoOpTracer()
_records = False


def use(provider: TracerProvider) -> None:
    """Make all spans by this provider from now on; before, there are none."""
    global _tracer, _records
    _tracer, _records = provider.get_tracer("mes"), provider.sampler is not ALWAYS_OFF


def ids_only(resource: Resource) -> TracerProvider:
    """A provider that records nothing; its traces have ids all the same, for logs and events."""
    return TracerProvider(sampler=ALWAYS_OFF, resource=resource, shutdown_on_exit=False)


def records() -> bool:
    """Whether spans go anywhere, so that it is worth while to look up what led to them."""
    return _records


@contextmanager
def span(
    name: str,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    causes: Iterable[str | None] = (),
    attributes: Mapping[str, str | int] | None = None,
    began_ns: int | None = None,
) -> Iterator[Span]:
    """Do a piece of work within a span; an error that leaves it marks it as failed.

    Args:
        name: what is done, of few different values.
        kind: of the span, as OpenTelemetry has them.
        causes: the `traceparent` of what led to it. A single one becomes the parent of work that has none; several,
            and those of work within other work, are linked.
        attributes: more about it.
        began_ns: when it began, since the epoch, if that was before; for work that is worth a span only when it found
            something to do.
    """
    parent, links = _from(causes)
    with _tracer.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=dict(attributes or {}),
        links=links,
        start_time=began_ns,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except BaseException as error:
            if isinstance(error, Exception):
                note_error(current, error)
            raise


@contextmanager
def query(sql: str | bytes) -> Iterator[None]:
    """Send a statement within a span, if the work that it belongs to is recorded; its parameters are not told."""
    current = begin_query(sql)
    if current is None:
        yield
        return
    with trace.use_span(current, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except Exception as error:
            note_error(current, error)
            raise


def begin_query(sql: str | bytes) -> Span | None:
    """As `query`, for whoever must end the span by himself; None when nothing is recorded."""
    if not trace.get_current_span().is_recording():
        return None
    name, shown = _about(sql)
    attributes = {"db.system.name": "postgresql", "db.query.text": shown}
    return _tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def past(name: str, began_ns: int, ended_ns: int, *, failed: bool = False) -> None:
    """Tell a piece of the current work after it has ended, by times since the epoch."""
    span = _tracer.start_span(name, start_time=began_ns)
    if failed:
        span.set_status(StatusCode.ERROR)
    span.end(ended_ns)


def note_error(current: Span, error: BaseException) -> None:
    """Mark a span as failed, with the error's kind and its words without secrets."""
    if not current.is_recording() or (isinstance(error, MesError) and error.http_status < _SERVER_ERROR):
        return  # a refusal is an answer
    kind = type(error).__name__
    current.set_status(StatusCode.ERROR)
    current.set_attribute("error.type", kind)
    current.add_event("exception", {"exception.type": kind, "exception.message": redact_text(str(error))})


def traceparent(of: Span | None = None) -> str | None:
    """The W3C `traceparent` of a span, by default the current one; None without one."""
    context = (of or trace.get_current_span()).get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def follow(current: Span, causes: Iterable[str | None]) -> None:
    """Link a span to what led to it, when that is known only after it began."""
    if current.is_recording():
        for context in _contexts(causes):
            current.add_link(context)


def of_message(event: Mapping[str, object], headers: Mapping[str, str] | None = None) -> str | None:
    """The `traceparent` of a message: the CloudEvent's own extension, or else its carrier's header."""
    told = event.get(HEADER) or (headers or {}).get(HEADER)
    return told if isinstance(told, str) and _TRACEPARENT.fullmatch(told) else None


def headers(event: Mapping[str, object], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """What names an event's trace, beside it or in it: for receivers that look only at one of them."""
    told = of_message(event, given)
    return {HEADER: told} if told is not None else {}


def _from(causes: Iterable[str | None]) -> tuple[Context | None, Sequence[Link]]:
    contexts = _contexts(causes)
    if len(contexts) == 1 and not trace.get_current_span().get_span_context().is_valid:
        return trace.set_span_in_context(NonRecordingSpan(contexts[0])), ()
    return None, [Link(context) for context in contexts]


def _contexts(causes: Iterable[str | None]) -> list[SpanContext]:
    """Each cause once, the sampled ones first: those can be followed."""
    found = [context for cause in dict.fromkeys(causes) if cause is not None and (context := _context(cause))]
    return sorted(found, key=lambda context: not context.trace_flags.sampled)[:MOST_LINKS]


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

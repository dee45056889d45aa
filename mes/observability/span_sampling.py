"""Decides which spans are sent to the collector: so many traces a second, and all that failed or took long."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Lock

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode, TraceFlags, TraceState, get_current_span
from opentelemetry.util.types import Attributes

_MOST_WORK, _MOST_SPANS, _MOST_OF_ONE = 1_000, 5_000, 500
_NS = 1_000_000_000


class SomeOfEachSecond(Sampler):
    """Marks up to `per_s` new traces a second as sampled, and what they cause; records the others all the same.

    So at an ordinary load each trace is there, and a flood costs no more than recording it: `KeepWhatMatters` decides
    on the recorded ones when they end. What strangers say of their own traces by HTTP binds nobody.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s, self._left, self._seen_at = per_s, per_s, time.monotonic()
        self._lock = Lock()

    def should_sample(  # noqa: PLR0917 - the interface's, as are the names
        self,
        parent_context: Context | None,
        trace_id: int,  # noqa: ARG002
        name: str,  # noqa: ARG002
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Sampled is what has a sampled cause: a parent, or a link when there is none; and some of what has none."""
        parent = get_current_span(parent_context).get_span_context()
        if parent.is_valid and not (parent.is_remote and kind is SpanKind.SERVER):
            sampled = parent.trace_flags.sampled
        else:
            sampled = any(link.context.trace_flags.sampled for link in links or ()) or self._is_one_of_this_second()
        decision = Decision.RECORD_AND_SAMPLE if sampled else Decision.RECORD_ONLY
        return SamplingResult(decision, attributes, trace_state)

    def get_description(self) -> str:
        """Names it."""
        return f"SomeOfEachSecond({self._per_s:g})"

    def _is_one_of_this_second(self) -> bool:
        with self._lock:
            now = time.monotonic()
            self._left = min(max(self._per_s, 1.0), self._left + (now - self._seen_at) * self._per_s)
            self._seen_at = now
            if self._left < 1:
                return False
            self._left -= 1
            return True


@dataclass
class _Work:
    """What this process has recorded of work that is not sampled, until its first span here ends."""

    spans: list[ReadableSpan] = field(default_factory=list)
    failed: bool = False


class KeepWhatMatters(SpanProcessor):
    """Hands on what is sampled; of the rest, what failed or took long, with all that belongs to it in this process."""

    def __init__(self, kept: SpanProcessor, *, slow_s: float) -> None:
        self._kept, self._slow_ns = kept, slow_s * _NS
        self._work: OrderedDict[int, _Work] = OrderedDict()
        self._first: OrderedDict[int, int] = OrderedDict()
        """Of each span that has not ended, the first one here of the work that it belongs to."""
        self._lock = Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the interface's
        """Note whose work it is: its parent's, if that is under way in this process, whoever says so."""
        if span.context.trace_flags.sampled:
            return
        with self._lock:
            own, parent = span.context.span_id, span.parent.span_id if span.parent is not None else 0
            self._first[own] = self._first.get(parent, own)
            if self._first[own] == own:
                self._work[own] = _Work()
            if len(self._first) > _MOST_SPANS:  # spans that never end: nobody can wait for all of them
                self._first.popitem(last=False)
            if len(self._work) > _MOST_WORK:
                self._work.popitem(last=False)

    def on_end(self, span: ReadableSpan) -> None:
        """Decide when the work that the span is of has ended in this process."""
        context = span.context
        if context is None:
            return
        if context.trace_flags.sampled:
            self._kept.on_end(span)
            return
        for each in self._decided(context, span):
            self._kept.on_end(_sampled(each, context))

    def shutdown(self) -> None:
        """Send what is there."""
        self._kept.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is there now."""
        return self._kept.force_flush(timeout_millis)

    def _decided(self, context: SpanContext, span: ReadableSpan) -> Sequence[ReadableSpan]:
        """The spans that are to be sent now: those of work whose first span here has ended, if they matter."""
        with self._lock:
            first = self._first.pop(context.span_id, 0)
            work = self._work.get(first)
            if work is None:  # it is too long ago
                return ()
            work.failed |= span.status.status_code is StatusCode.ERROR
            if len(work.spans) < _MOST_OF_ONE or first == context.span_id:
                work.spans.append(span)
            if first != context.span_id:
                return ()
            del self._work[first]
        took = (span.end_time or 0) - (span.start_time or 0)
        return work.spans if work.failed or took >= self._slow_ns else ()


def _sampled(span: ReadableSpan, of: SpanContext) -> ReadableSpan:
    """The same, marked as sampled, without which no exporter takes it."""
    context = span.context or of
    return ReadableSpan(
        name=span.name,
        context=SpanContext(
            context.trace_id, context.span_id, context.is_remote, TraceFlags(TraceFlags.SAMPLED), context.trace_state
        ),
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )

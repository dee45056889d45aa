"""Sends log lines to a collector too, by OTLP: the very facts that are written, redacted and with their trace.

Lines of work that is not sampled stay in the files alone, unless they are warnings: in a flood, all of them would cost
more than the work.
"""

import json
import time

from opentelemetry._logs import SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.trace import set_span_in_context
from opentelemetry.util.types import AnyValue
from structlog.typing import EventDict, Processor, WrappedLogger

from mes.observability import traces

# what the exporter and its HTTP say of a collector must not be sent to it
_OWN = ("opentelemetry", "urllib3")
_SEVERITIES = {
    "debug": SeverityNumber.DEBUG,
    "info": SeverityNumber.INFO,
    "warning": SeverityNumber.WARN,
    "error": SeverityNumber.ERROR,
    "critical": SeverityNumber.FATAL,
}
_ORDINARY = frozenset({"debug", "info"})
# are fields of the record itself, of its resource, or of the trace that it belongs to
_NOT_ATTRIBUTES = frozenset({"event", "level", "timestamp", "process", "trace_id", "span_id"})


def sending(provider: LoggerProvider) -> Processor:
    """A structlog processor that passes everything on and sends it: `event` is the body, the rest are attributes."""
    logger = provider.get_logger("mes")

    def send(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        level = str(event.get("level", "info"))
        if _is_wanted(level) and not str(event.get("logger", "")).startswith(_OWN):
            logger.emit(
                timestamp=time.time_ns(),
                severity_text=level.upper(),
                severity_number=_SEVERITIES.get(level, SeverityNumber.UNSPECIFIED),
                body=str(event.get("event", "")),
                attributes=_attributes(event),
                context=set_span_in_context(traces.current()),
            )
        return event

    return send


def _is_wanted(level: str) -> bool:
    span = traces.current()
    return span.is_recording() or level not in _ORDINARY or traces.traceparent(span) is None


def _attributes(event: EventDict) -> dict[str, AnyValue]:
    told = {name: _value(value) for name, value in event.items() if name not in _NOT_ATTRIBUTES and value is not None}
    exceptions = event.get("exception")
    if isinstance(exceptions, list) and exceptions and isinstance(exceptions[0], dict):
        told |= {
            "exception.type": str(exceptions[0].get("exc_type")),
            "exception.message": str(exceptions[0].get("exc_value")),
            "exception.stacktrace": told.pop("exception"),
        }
    return told


def _value(value: object) -> AnyValue:
    if isinstance(value, str | bool | int | float):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)

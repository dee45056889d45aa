"""Sets up, at a process's start, how it logs and traces, and whether it sends that to a collector."""

import atexit
import os
import socket
import time
import uuid
from importlib.metadata import version
from threading import Thread

from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

from mes.config import Settings
from mes.observability import log_export, logs, traces

_TIMEOUT_S = 5.0  # of one call to the collector
# a call takes some ten milliseconds, whatever it brings
_DELAY_MS = 10_000.0

_sending: list[LoggerProvider | TracerProvider] = []


def start(process: str, settings: Settings) -> None:
    """Make this process log and trace, first thing in it; calling it again replaces the earlier settings.

    Logs go to stderr as JSON lines in any case. With `MES_OTLP_ENDPOINT`, logs and spans go to a collector, too, by
    OTLP over HTTP; further settings are OpenTelemetry's own (`OTEL_EXPORTER_OTLP_HEADERS`, ...). Without
    it, nothing is recorded, but work has trace ids all the same.

    Args:
        process: the name that this process has in `mes up`, such as `worker`.
        settings: as configured.
    """
    about, base = resource(process), settings.otlp_endpoint
    if base is None:
        logs.configure(process, settings.log_level)
        traces.send_nothing()
        return
    lines = _log_provider(base, about)
    logs.configure(process, settings.log_level, tap=log_export.sending(lines))
    _sending[:] = [lines, send_traces(base, about, settings)]
    atexit.register(stop)


def stop(within_s: float = 3.0) -> None:
    """Send what has not been sent yet, and no more; it takes so long at most, whatever the collector does."""
    threads = [Thread(target=provider.shutdown, daemon=True) for provider in _sending]
    _sending.clear()
    for thread in threads:
        thread.start()
    late = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, late - time.monotonic()))


def resource(process: str) -> Resource:
    """What logs and spans say of the process that they come from."""
    return Resource.create(
        {
            "service.namespace": "atelier-mes",
            "service.name": process,
            "service.version": version("atelier-mes"),
            "service.instance.id": f"{socket.gethostname()}/{os.getpid()}/{uuid.uuid4().hex[:8]}",
        }
    )


def send_traces(base: str, about: Resource, settings: Settings) -> TracerProvider:
    """Send spans to the collector at `base` from now on; shut what it gives down to send the last ones."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - only with one
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    exporter = OTLPSpanExporter(f"{base.rstrip('/')}/v1/traces", timeout=_TIMEOUT_S)
    batches = BatchSpanProcessor(exporter, schedule_delay_millis=_delay_ms("OTEL_BSP_SCHEDULE_DELAY"))
    return traces.send(batches, about, per_s=settings.traces_per_s, slow_s=settings.traces_slow_s)


def _log_provider(base: str, about: Resource) -> LoggerProvider:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor  # noqa: PLC0415

    provider = LoggerProvider(resource=about, shutdown_on_exit=False)
    exporter = OTLPLogExporter(f"{base.rstrip('/')}/v1/logs", timeout=_TIMEOUT_S)
    delay_ms = _delay_ms("OTEL_BLRP_SCHEDULE_DELAY")
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=delay_ms))
    return provider


def _delay_ms(variable: str) -> float | None:
    """How long OpenTelemetry gathers before it sends: as its own variable says, or else our default."""
    return None if variable in os.environ else _DELAY_MS

"""A collector for tests: takes logs and spans by OTLP over HTTP, and lets them be looked at."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_ERROR = 2  # of OTLP's status codes


@dataclass(frozen=True)
class Told:
    """A span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    links: tuple[tuple[str, str], ...]
    attributes: dict[str, Any]
    failed: bool


@dataclass(frozen=True)
class Line:
    """A line of a log."""

    service: str
    body: str
    severity: str
    trace_id: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What was sent."""

    url: str
    spans: list[Told] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    answers: int = 200

    def of(self, trace_id: str) -> list[Told]:
        """The spans of a trace."""
        return [span for span in list(self.spans) if span.trace_id == trace_id]

    def named(self, name: str) -> list[Told]:
        """All spans of a name."""
        return [span for span in list(self.spans) if span.name == name]

    def take(self, path: str, body: bytes) -> None:
        """Keep what a process sends."""
        self.raw.append(body)
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = _attributes(group.resource.attributes)["service.name"]
                self.spans += [_told(service, span) for scope in group.scope_spans for span in scope.spans]
        elif path == "/v1/logs":
            for kind in ExportLogsServiceRequest.FromString(body).resource_logs:
                service = _attributes(kind.resource.attributes)["service.name"]
                self.lines += [_line(service, record) for scope in kind.scope_logs for record in scope.log_records]


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if collector.answers == 200:
                collector.take(self.path, body)
            self.send_response(collector.answers)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()


def _told(service: str, span: Any) -> Told:
    links = tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links)
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    return Told(service, span.name, *ids, links, _attributes(span.attributes), span.status.code == _ERROR)


def _line(service: str, record: Any) -> Line:
    body, severity = record.body.string_value, record.severity_text
    return Line(service, body, severity, record.trace_id.hex(), _attributes(record.attributes))


def _attributes(told: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in told}

"""Serves a worker's `/healthz`, `/readyz` and `/metrics` from a thread of its own, beside the work."""

import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import structlog
import uvicorn
from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mes.observability import logs, metrics
from mes.observability.health import Report
from mes.runtime import ports

_STOP_S = 2.0
_BACKLOG = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class WorkerServer:
    """A running server; a context manager that stops it."""

    address: str
    server: uvicorn.Server
    thread: threading.Thread

    def close(self) -> None:
        """Stop serving. The process may end without it, too."""
        self.server.should_exit = True
        self.thread.join(timeout=_STOP_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()


def start(
    host: str,
    port: int,
    *,
    healthz: Callable[[], Report],
    readyz: Callable[[], Report],
    gauges: Sequence[Collector] = (),
) -> WorkerServer:
    """Serve on the port, on the next free one when it is taken (several workers on one machine), on any when it is 0.

    `gauges` are exported beside this process's own metrics: a worker gives its `DatabaseGauges`.

    Raises:
        NoFreePort: none of the next ones is free, or the machine has no such address.
    """
    listening = _listen(host, port)
    got = listening.getsockname()[1]
    if port not in (0, got):
        log.info("port is taken, using the next free one", wanted=port, port=got)
    server = uvicorn.Server(
        uvicorn.Config(_app(healthz, readyz, gauges), lifespan="off", loop="asyncio", **logs.uvicorn_options())
    )
    thread = threading.Thread(target=server.run, args=([listening],), name="http", daemon=True)
    thread.start()
    address = ports.url(host, got)
    log.info("answers for its health and metrics", address=address)
    return WorkerServer(address, server, thread)


def _app(healthz: Callable[[], Report], readyz: Callable[[], Report], gauges: Sequence[Collector]) -> Starlette:
    # Starlette runs these in threads, since they are no coroutines: a check may wait for the database
    def answer_healthz(_request: Request) -> Response:
        return _answer(healthz())

    def answer_readyz(_request: Request) -> Response:
        return _answer(readyz())

    def answer_metrics(request: Request) -> Response:
        content, content_type = metrics.exposition(request.headers.get("accept"), *gauges)
        return Response(content, headers={"content-type": content_type})

    return Starlette(
        routes=[Route("/healthz", answer_healthz), Route("/readyz", answer_readyz), Route("/metrics", answer_metrics)]
    )


def _answer(report: Report) -> Response:
    return Response(report.json(), report.http_status, media_type="application/json")


def _listen(host: str, wanted: int) -> socket.socket:
    """A socket that listens already, so that no other process takes the port between the choice and the start."""
    taken: set[int] = set()
    while True:
        port = ports.free(host, wanted, frozenset(taken))
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        server = socket.socket(family, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # another process was quicker
            server.bind(address)
            server.listen(_BACKLOG)
            return server
        server.close()
        taken.add(port)

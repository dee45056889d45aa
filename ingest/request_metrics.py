"""Counts, times and logs every HTTP request, and gives it an id that all lines logged on its way carry."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import NamedTuple
from uuid import UUID, uuid4

import structlog
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mes.observability import later, logs, metrics, traces

REQUEST_ID = "X-Request-Id"

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_REQUEST_ID_KEY, _TRACE_KEY = REQUEST_ID.lower().encode(), traces.HEADER.encode()
_GIVEN = frozenset({_REQUEST_ID_KEY, _TRACE_KEY})
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# machines ask for these every few seconds
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})
_SERVER_ERROR = 500

log = structlog.get_logger(__name__)


class RequestMetrics:
    """ASGI middleware; wrap it around the whole application, so that it sees the answer to an error as well.

    A request is a span, the child of the caller's `traceparent` if there is one; an answer of 500 and more has failed.

    A request's id is the caller's `X-Request-Id` if that is sane, else a new one; it is in `scope["state"]`, on every
    line logged meanwhile, and in the answer. One line is logged per request: method, route, status, duration, and, of
    what the application put into `request.state`, `caller` (as `actor`) and `order_id` where they are text. Neither
    bodies nor headers are logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request; anything but HTTP passes by."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = _given(scope["headers"])
        request_id = given.get(_REQUEST_ID_KEY, "")
        if not _SANE_ID.fullmatch(request_id):
            request_id = uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        answer = _Answer(send, request_id)
        began = time.perf_counter()
        with self._span(scope, given.get(_TRACE_KEY)) as span, logs.bound(request_id=request_id):
            metrics.request_begins(answer)
            try:
                await self._app(scope, receive, answer)
            except BaseException as error:  # cancelled, too
                _answered(scope, span, _SERVER_ERROR, time.perf_counter() - began).tell(span, error)
                raise
            else:
                _answered(scope, span, answer.status, time.perf_counter() - began).tell(span)
            finally:
                metrics.request_ends(answer)

    @staticmethod
    def _span(scope: Scope, cause: str | None) -> AbstractContextManager[Span]:
        if scope["path"] in _QUIET:
            return nullcontext(INVALID_SPAN)
        about = {"http.request.method": scope["method"], "url.scheme": scope["scheme"]}
        causes = (cause,) if cause else ()
        return traces.span(scope["method"], kind=SpanKind.SERVER, causes=causes, attributes=about, foreign=True)


class _Answer:
    """Passes an answer on, adds the request's id to it and remembers its status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send, self._request_id = send, request_id
        self.status = _SERVER_ERROR  # for an application that ends without an answer

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)[REQUEST_ID] = self._request_id
        await self._send(message)


def _given(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, str]:
    """What the caller says of the request: its id, its trace; looked up at once, since each request pays for it."""
    return {key: value.decode("latin-1") for key, value in headers if key in _GIVEN}


class _Answered(NamedTuple):
    """A request that was answered, to be told of in metrics, span and log.

    Paths and queries are left out, since they may name customers.
    """

    at_s: float
    traceparent: str | None
    status: int
    seconds: float
    # of the scope: were it kept itself, all that it holds would have to be fetched from memory again
    method: str
    included: object
    route: object
    request_id: str
    actor: str | None
    order_id: str | None

    def tell(self, span: Span, error: BaseException | None = None) -> None:
        """Within the span: what failed, is slow or traced at once, all others a moment later."""
        if self.status >= _SERVER_ERROR:
            span.set_status(StatusCode.ERROR)
        elif not traces.may_be_sent(span, self.seconds):
            later.do(_tell_all, self)
            return
        traces.describe(span, self._describe)
        metrics.observe_requests(self.method, self.template(), self.status, [self.seconds])
        self.log(error)

    def template(self) -> str:
        """The template of the route that took the request, such as `/v1/orders/{order_id}`."""
        # a router that is included with a prefix leaves only its own part in the route
        return _template(self.included) or _template(self.route) or metrics.UNMATCHED

    def kind(self) -> tuple[str, object, object, int, bool, bool]:
        """What it has in common with others: who is told in the same way of the same route."""
        return self.method, self.included, self.route, self.status, self.actor is None, self.order_id is None

    def log(self, error: BaseException | None = None) -> None:
        """As all lines are, of this moment."""
        route = self.template()
        about = _about(self.method, route, self.status)
        facts: dict[str, object] = {**logs.ids(self.traceparent), **dict(about), **self.named()}
        facts["duration_ms"] = _milliseconds(self.seconds)
        if error is not None:
            log.error("request failed", exc_info=error, **facts)
        elif route in _QUIET:
            log.debug("request", **facts)
        elif self.status >= _SERVER_ERROR:
            log.error("request", **facts)
        else:
            log.info("request", **facts)

    def named(self) -> dict[str, str]:
        """Its id, and who called and for which order, where the application or the path says so."""
        named = {"request_id": self.request_id, "actor": self.actor, "order_id": self.order_id}
        return {name: value for name, value in named.items() if value is not None}

    def _describe(self, span: Span) -> None:
        route, named = self.template(), self.named()
        facts: dict[str, str | int] = {"http.response.status_code": self.status}
        if route != metrics.UNMATCHED:
            span.update_name(f"{self.method} {route}")
            facts["http.route"] = route
        if "order_id" in named:
            facts[traces.ORDER] = named["order_id"]
        if self.status >= _SERVER_ERROR:
            facts["error.type"] = str(self.status)
        span.set_attributes(facts)


def _answered(scope: Scope, span: Span, status: int, seconds: float) -> _Answered:
    state = scope["state"]
    return _Answered(
        time.time(),
        traces.traceparent(span),
        status,
        seconds,
        scope["method"],
        scope["fastapi"].get("effective_route_context") if "fastapi" in scope else None,
        scope.get("route"),
        state["request_id"],
        state.get("caller"),
        str(order_id) if (order_id := state.get("order_id")) else _id_in(scope.get("path_params")),
    )


def _id_in(path: Mapping[str, object] | None) -> str | None:
    """An order's; whatever else stands in its place in the path is nobody's order, and may be anything."""
    found = path.get("order_id") if path else None
    return str(found) if isinstance(found, UUID) or (isinstance(found, str) and _UUID.fullmatch(found)) else None


def _tell_all(answered: Sequence[_Answered]) -> None:
    """Of requests that were answered a moment ago, and to which nothing happened."""
    speaker = logs.speaker(__name__, "info", "request")
    for _, following in groupby(answered, _Answered.kind):
        alike = list(following)
        first, seconds = alike[0], [each.seconds for each in alike]
        route = first.template()
        metrics.observe_requests(first.method, route, first.status, seconds)
        if speaker is None or route in _QUIET:
            for each in alike:
                each.log()
        else:
            speaker.say(_about(first.method, route, first.status), _lines(alike))


def _lines(alike: Sequence[_Answered]) -> logs.Lines:
    times, told, _, seconds, _, _, _, request_ids, actors, order_ids = zip(*alike, strict=True)
    named = {"request_id": request_ids, "actor": actors, "order_id": order_ids}
    given = {name: values for name, values in named.items() if values[0] is not None}
    return logs.Lines(times, told, given, {"duration_ms": [*map(_milliseconds, seconds)]})


def _milliseconds(seconds: float) -> float:
    """As lines have them."""
    return round(seconds * 1000, 1)


def _about(method: str, route: str, status: int) -> tuple[tuple[str, str | int], ...]:
    return ("method", method), ("route", route), ("status", status)


def _template(route: object) -> str | None:
    for name in ("path_format", "path"):
        if isinstance(template := getattr(route, name, None), str):
            return template
    return None

"""Signs and sends what is due, many calls at a time, so that a slow receiver delays only itself."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Event
from typing import TypeVar
from urllib.parse import urlsplit

import structlog
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy import Engine
from standardwebhooks import Webhook

from mes.clock import Clock, utc_now
from mes.events.webhooks import deliveries, endpoints
from mes.events.webhooks.calling import Calls
from mes.events.webhooks.deliveries import Call, Outcome
from mes.observability import metrics, traces

CONTENT_TYPE = "application/cloudevents+json"
CALLS_OF_ONE_ENDPOINT = 8
_CALLS = 256
_LOOK_S = 0.2
_SWEEP_S = 10.0
_DATABASE_THREADS = 2
_Given = TypeVar("_Given")

log = structlog.get_logger(__name__)


class Sender:
    """Sends until it is told to stop; any number of workers may."""

    def __init__(self, database: Engine, calls: Callable[[], Calls], *, clock: Clock = utc_now) -> None:
        self._database, self._make_calls, self._clock = database, calls, clock
        self._busy: Counter[object] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(_DATABASE_THREADS, "webhooks-database")

    def run(self, stopping: Event, beat: Callable[[], None]) -> None:
        """Send what is due; calls that are under way at the end are left, and made again by whoever comes next."""
        asyncio.run(self._run(stopping, beat))

    async def _run(self, stopping: Event, beat: Callable[[], None]) -> None:
        calls, swept_at = self._make_calls(), float("-inf")
        self._tasks.clear()  # of an earlier run, which failed
        self._busy.clear()
        try:
            while not stopping.is_set():
                beat()
                if time.monotonic() - swept_at > _SWEEP_S:
                    await self._in_database(self._sweep)
                    swept_at = time.monotonic()
                started = [self._start(calls, call) for call in await self._in_database(self._claim)]
                # receivers that answer at once are told at once of what is next; slow ones keep nobody waiting
                await (asyncio.wait(started, timeout=_LOOK_S) if started else asyncio.sleep(_LOOK_S))
        finally:
            under_way = list(self._tasks)
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await calls.close()

    def _start(self, calls: Calls, call: Call) -> "asyncio.Task[None]":
        self._busy[call.endpoint_id] += 1
        task = asyncio.create_task(self._send(calls, call))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._end(done, call))
        return task

    def _end(self, task: "asyncio.Task[None]", call: Call) -> None:
        """One call that fails for a reason of ours ends no other: its claim lapses, and it is made again."""
        self._tasks.discard(task)
        self._busy[call.endpoint_id] -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a webhook's call was not noted", delivery_id=call.delivery_id, exc_info=error)

    async def _in_database(self, work: Callable[..., _Given], *values: object) -> _Given:
        """In threads of its own: the event loop's are kept busy by names that nobody answers for."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    async def _send(self, calls: Calls, call: Call) -> None:
        about = {
            "http.request.method": "POST",
            "server.address": urlsplit(call.url).hostname or "",
            "mes.webhook.id": str(call.endpoint_id),
            traces.ORDER: str(call.event["subject"]),
        }
        with traces.span(
            "call webhook", kind=SpanKind.CLIENT, causes=[traces.of_message(call.event)], attributes=about
        ) as span:
            began = time.perf_counter()
            body = json.dumps(call.event, ensure_ascii=False, separators=(",", ":"))
            answer = await calls.post(call.url, headers(call, body) | _trace(span), body.encode())
            duration_ms = (time.perf_counter() - began) * 1000
            outcome = Outcome(answer.status, answer.error, duration_ms, answer.retry_after)
            _note(span, outcome)
            await self._in_database(copy_context().run, self._finish, call, outcome)

    def _claim(self) -> list[Call]:
        if len(self._tasks) >= _CALLS:
            return []
        busy = {endpoint: calls for endpoint, calls in self._busy.items() if calls}
        with self._database.begin() as conn:
            return list(deliveries.claim(conn, busy, most=CALLS_OF_ONE_ENDPOINT))  # type: ignore[arg-type]

    def _finish(self, call: Call, outcome: Outcome) -> None:
        with self._database.begin() as conn:
            deliveries.finish(conn, call, outcome)
        metrics.observe_webhook(accepted=outcome.accepted, seconds=outcome.duration_ms / 1000)
        log.info(
            "webhook called",
            webhook_id=str(call.endpoint_id),
            delivery_id=call.delivery_id,
            order_id=call.event["subject"],
            event_type=call.event["type"],
            status=outcome.status,
            error=outcome.error,
            attempts=call.attempts + 1,
            duration_ms=round(outcome.duration_ms, 1),
        )

    def _sweep(self) -> None:
        with self._database.begin() as conn:
            deliveries.sweep(conn)
            deliveries.purge(conn, self._clock())


def _trace(span: Span) -> dict[str, str]:
    """The receiver's own work goes on from this call."""
    told = traces.traceparent(span)
    return {traces.HEADER: told} if told is not None else {}


def _note(span: Span, outcome: Outcome) -> None:
    if outcome.status is not None:
        span.set_attribute("http.response.status_code", outcome.status)
    if not outcome.accepted:
        span.set_status(StatusCode.ERROR)
        span.set_attribute("error.type", str(outcome.status or "unreachable"))


def headers(call: Call, body: str) -> dict[str, str]:
    """As Standard Webhooks has them: id, time, and one signature for each secret in use.

    The time is the database's, of when the call was claimed: receivers refuse what is minutes off.
    """
    event_id, now = str(call.event["id"]), call.claimed_at
    signatures = [Webhook(secret).sign(event_id, now, body) for secret in endpoints.used_secrets(call.secrets, now)]
    return {
        "content-type": CONTENT_TYPE,
        "user-agent": "atelier-mes",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }

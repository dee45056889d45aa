"""Answers machines: whether the process lives, whether it can serve, and its metrics."""

import json

import anyio.to_thread
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import examples, openapi, problems, shapes
from mes.events import asyncapi
from mes.observability import health, metrics

router = APIRouter(tags=["machines"])
_ASYNCAPI = json.dumps(asyncapi.document())


@router.get(
    "/healthz",
    summary="Does the process live?",
    description="Answers as long as the process does, whatever else is away. Needs no key.",
    responses={200: openapi.json_answer(shapes.HealthReport, "It lives.", examples.HEALTHY)},
)
async def healthz() -> Response:
    """Async, so that it answers even while every thread is busy."""
    return _answer(health.healthz())


@router.get(
    "/readyz",
    summary="Can the process serve?",
    description="Looks at the database and the object store. Send no requests here while it answers 503. Needs no key.",
    responses={
        200: openapi.json_answer(shapes.HealthReport, "It can serve.", examples.HEALTHY),
        503: openapi.json_answer(shapes.HealthReport, "Something that it needs is away.", examples.UNREADY),
    },
)
async def readyz(request: Request) -> Response:
    """In a thread of its own: it may have to wait for the database, but not for the callers who do."""
    look: health.Readiness = request.app.state.readiness
    return _answer(await anyio.to_thread.run_sync(look, limiter=request.app.state.readiness_threads))


@router.get(
    "/metrics",
    summary="Metrics",
    description="For Prometheus, in its text format or OpenMetrics. Needs no key.",
    response_class=Response,
    responses={
        200: {
            "description": "Counters and histograms of this process.",
            "headers": {"X-Request-Id": openapi.REQUEST_ID_HEADER},
            "content": {
                media_type: {
                    "schema": {"type": "string"},
                    "examples": {"example": {"value": 'mes_build_info{version="0.1.0"} 1.0\n'}},
                }
                for media_type in ("text/plain", "application/openmetrics-text")
            },
        }
    },
)
def prometheus(request: Request) -> Response:
    """In a thread: there may be many series."""
    content, content_type = metrics.exposition(request.headers.get("accept"))
    return Response(content, headers={"content-type": content_type})


@router.get(
    "/asyncapi.json",
    summary="What is told by the bus",
    description="The bus, as AsyncAPI 3.0: its subjects, and the events in both directions. Needs no key.",
    response_class=Response,
    responses={
        200: {
            "description": "The document.",
            "headers": {"X-Request-Id": openapi.REQUEST_ID_HEADER},
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "examples": {"example": {"value": {"asyncapi": "3.0.0"}}},
                }
            },
        }
    },
)
async def bus_document() -> Response:
    """Async: it is there already."""
    return Response(_ASYNCAPI, media_type="application/json")


def _answer(report: health.Report) -> Response:
    wait = {} if report.ok else {"retry-after": str(problems.RETRY_AFTER_S)}
    return Response(report.json(), report.http_status, wait, media_type="application/json")

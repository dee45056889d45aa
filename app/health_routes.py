"""Answers machines beside the console's pages: whether it lives, whether it can serve, and its metrics."""

from functools import cache

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mes import config
from mes.observability import health, metrics


def routes() -> list[Route]:
    """`/healthz`, `/readyz` and `/metrics`, for `streamlit.starlette.App(routes=...)`."""
    # Starlette runs these in threads, since they are no coroutines: a check may wait for the database
    return [Route("/healthz", _healthz), Route("/readyz", _readyz), Route("/metrics", _metrics)]


def _healthz(_request: Request) -> Response:
    return _answer(health.healthz())


def _readyz(_request: Request) -> Response:
    return _answer(_readiness()())


def _metrics(request: Request) -> Response:
    content, content_type = metrics.exposition(request.headers.get("accept"))
    return Response(content, headers={"content-type": content_type})


@cache
def _readiness() -> health.Readiness:
    """The console needs the database and the order list."""
    return health.Readiness(config.load().database_url, read_models=True)


def _answer(report: health.Report) -> Response:
    return Response(report.json(), report.http_status, media_type="application/json")

"""Puts the API together: routes, errors, documentation, and what they need to answer."""

import os
import select
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import structlog
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp

from ingest.api import events, machines, models, openapi, order_batches, orders, problems, quotes, together, webhooks
from ingest.api.calls import Backend
from ingest.api.orders import Transition
from ingest.api.overload import Backlog, Crowd, RateLimits
from ingest.api.uploads import Bench
from ingest.api.webhook_shapes import NewWebhook
from ingest.request_metrics import RequestMetrics
from mes.clock import Clock, utc_now
from mes.config import Settings
from mes.db import engine as engines
from mes.errors import MesError
from mes.models import sandbox
from mes.models.store import ObjectStore
from mes.models.warm_process import SandboxUnavailable
from mes.observability import health
from mes.orders.new_order import NewOrder
from mes.pricing.costs import single_prices
from mes.pricing.quotes import rehearsal
from mes.pricing.quotes.caller_quotes import QuoteRequest

# a call is some milliseconds of waiting for the database: more threads would wait for each other
THREADS = 16 * (os.cpu_count() or 1)
POOL_WAIT_S = 1.0  # for a connection, while others have them all
MOST_UNDER_WAY = 16 * THREADS  # a second's work; uploads, too, are under way while they come in
WARM_CONNECTIONS = 4  # are there before the first call; the others come when they are needed
# a caller gives up after some seconds; what is still running then only keeps others from theirs
_LIMITS = {"statement_timeout": "10s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "30s"}

log = structlog.get_logger(__name__)


def create(settings: Settings, *, clock: Clock = utc_now) -> ASGIApp:
    """The API as an ASGI application.

    Raises:
        MesError: no database is configured, or the object store's location cannot be used.
    """
    if settings.database_url is None:
        raise MesError("The API needs MES_DATABASE_URL; `mes up` sets it for the API that it starts.")
    engine = _limited(
        engines.connect(settings.database_url, application="mes-api", pool_size=THREADS, ping=False, wait_s=POOL_WAIT_S)
    )
    backend = Backend(
        settings,
        engine,
        ObjectStore(settings.objects_location),
        clock,
        RateLimits(settings.requests_per_s),
        Backlog(engine, settings.backlog_max_events),
    )
    app = FastAPI(
        lifespan=_lifespan,
        redirect_slashes=False,
        openapi_url="/openapi.json",
        docs_url="/docs",
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # `RequestMetrics` does it, for half the time
    )
    routers = (
        *(orders.placing_router, models.router, quotes.router, order_batches.router, orders.router),
        *(events.router, webhooks.router, machines.router),
    )
    for router in routers:
        app.include_router(router)
    app.state.backend = backend
    app.state.readiness = health.Readiness(
        settings.database_url, others={"object store": health.object_store(settings.objects_location)}
    )
    problems.install(app)
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    openapi.install(app, routes, bodies=(QuoteRequest, NewOrder, Transition, NewWebhook))
    return RequestMetrics(Crowd(app, MOST_UNDER_WAY))


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    backend: Backend = app.state.backend
    app.state.bench = Bench(
        backend.settings.home / "uploads", backend.settings.model_max_bytes, backend.settings.upload_patience_s
    )
    app.state.bench.tidy()
    await run_in_threadpool(_warm_up, backend.engine)
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
    app.state.placing = together.gathering(backend, orders.PLACING)
    app.state.readiness_threads = anyio.CapacityLimiter(1)
    app.state.batches = anyio.Semaphore(order_batches.BODIES_AT_ONCE)
    yield
    backend.engine.dispose()


def _warm_up(engine: Engine) -> None:
    """Do before the first call what it would have to wait for; what fails now is tried again when it is needed."""
    single_prices.warm_up()
    for work in (_warm_sandbox, _warm_prices, _warm_connections):
        try:
            work(engine)
        except (SandboxUnavailable, SQLAlchemyError, ValueError) as error:
            log.warning("not all is warm", what=work.__name__, error=type(error).__name__)


def _warm_sandbox(_engine: Engine) -> None:
    sandbox.warm_up()


def _warm_prices(engine: Engine) -> None:
    with engine.connect() as conn:
        rehearsal.rehearse(conn)


def _warm_connections(engine: Engine) -> None:
    with ExitStack() as stack:
        for _ in range(WARM_CONNECTIONS):
            stack.enter_context(engine.connect())


def _limited(engine: Engine) -> Engine:
    """Let no statement of a call run, or wait, for ever, and no call get a connection that is closed."""

    @event.listens_for(engine, "connect")
    def limit(connection: Any, _record: object) -> None:  # noqa: ANN401  a driver's connection
        with connection.cursor() as cursor:
            for name, value in _LIMITS.items():
                cursor.execute(f"set {name} = '{value}'")
        connection.commit()  # or the pool's first rollback would undo them

    @event.listens_for(engine, "checkout")
    def notice(connection: Any, _record: object, _proxy: object) -> None:  # noqa: ANN401  a driver's connection
        """A connection that the server has closed has its end to be read: that is seen without asking the server."""
        idle = select.poll()
        idle.register(connection.fileno(), select.POLLIN)
        if idle.poll(0):
            raise InvalidatePoolError("the server has closed a connection")

    engine.hide_parameters = True  # a failed statement is logged; what callers say in it is not ours to log
    return engine

"""Starts the console's server: `streamlit run app/main.py`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.middleware import Middleware
from streamlit.starlette import App

from app import health_routes, sign_in_routes
from app.session_count import SessionCount
from app.session_gate import SessionGate
from mes import config
from mes.observability import telemetry


@asynccontextmanager
async def _logging(_app: App) -> AsyncIterator[None]:
    """Once the server has set up its own logs, which would replace ours."""
    telemetry.start("console", config.load())
    yield
    telemetry.stop()


# `streamlit run` finds it by its name and class
app = App(
    Path(__file__).with_name("console.py"),
    routes=[*health_routes.routes(), *sign_in_routes.routes()],
    middleware=[Middleware(SessionGate), Middleware(SessionCount)],
    lifespan=_logging,
)

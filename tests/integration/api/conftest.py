"""The API and its callers, on a database of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog

from mes.callers.model import Scope
from tests import quiet_logs
from tests.api_server import Api, on_database, serving, settings_on, with_model


@pytest.fixture(autouse=True)
def _short_tracebacks() -> Iterator[None]:
    """What is logged of a 500 would take structlog's default seconds to paint."""
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    yield
    quiet_logs.restore()


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API in this process, on a free port; a rate card is loaded."""
    settings = settings_on(database_url, tmp_path)
    with serving(settings) as url, on_database(database_url) as engine:
        running = Api(url, engine, settings, [])
        yield running
        for client in running.clients:
            client.close()


@pytest.fixture
def shop(api: Api) -> httpx.Client:
    """The shop, which has uploaded the documentation's model."""
    return with_model(api.client(api.key("web shop", Scope.SHOP)))


@pytest.fixture
def partner(api: Api) -> httpx.Client:
    """A partner, who has uploaded the documentation's model."""
    return with_model(api.client(api.key("brilliant-rings", Scope.PARTNER)))


@pytest.fixture
def stranger(api: Api) -> httpx.Client:
    """Another partner, who has uploaded nothing."""
    return api.client(api.key("other-rings", Scope.PARTNER))


@pytest.fixture
def crm(api: Api) -> httpx.Client:
    """The CRM."""
    return api.client(api.key("sales", Scope.CRM))


@pytest.fixture
def admin(api: Api) -> httpx.Client:
    """An administrator."""
    return api.client(api.key("root", Scope.ADMIN))

"""Starts the console on a database of the test's own and drives it with a real browser."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from sqlalchemy import text

from mes.clock import utc_now
from mes.db import engine as engines
from mes.people import passwords
from mes.runtime.location import libpq_url
from tests.e2e.screen import Screen

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OPERATOR, COLLEAGUE, MANAGER = "Vera", "Jonas", "Tomas"
PASSWORD = "correct horse battery staple"  # noqa: S105  of people who exist in tests only
COOKIE = "mes_session"
_TOKEN = "token-of-a-session-that-began-before-the-test"  # noqa: S105  as above
_START_LIMIT_S = 60.0
_SLOW_MS = 20_000  # CI machines have two busy cores


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as the system has it; skips the test, saying so, where there is none."""
    path = os.environ.get("MES_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no Chromium found; install it or set MES_TEST_CHROMIUM to its path to run this test")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A window of its own, in which Vera is signed in already."""
    with _window(browser) as context:
        context.add_cookies([{"name": COOKIE, "value": _TOKEN, "domain": "127.0.0.1", "path": "/"}])
        yield context.new_page()


@pytest.fixture
def guest(browser: Browser) -> Iterator[Page]:
    """A window of its own, in which nobody is signed in."""
    with _window(browser) as context:
        yield context.new_page()


@pytest.fixture
def console(marts_database_url: str, tmp_path: Path) -> Iterator[str]:
    """Address of a console on a database with read models."""
    with running_console(marts_database_url, tmp_path) as url:
        yield url


@pytest.fixture
def screen(page: Page, console: str) -> Screen:
    """The console in a browser."""
    return Screen(page, console)


@contextmanager
def running_console(database_url: str, home: Path, *, people: bool = True) -> Iterator[str]:
    """A console process on this database, which gets people who can sign in (with `PASSWORD`) if need be."""
    if people:
        _employ(database_url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {**os.environ, "MES_DATABASE_URL": libpq_url(database_url), "MES_HOME": str(home)}
    argv = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    with (home / "console.log").open("ab") as log:
        process = subprocess.Popen(
            argv, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _await_health(url, process, home / "console.log")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def sign_in(page: Page, url: str, user_name: str, password: str = PASSWORD) -> None:
    """Sign in as people do."""
    page.goto(f"{url}/sign-in")
    fill_in(page, user_name, password)
    page.get_by_role("button", name="Sign out").wait_for()


def fill_in(page: Page, user_name: str, password: str) -> None:
    """Fill in the form that is open, and send it."""
    page.get_by_label("Name").fill(user_name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@contextmanager
def _window(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1480, "height": 1100})
    context.set_default_timeout(_SLOW_MS)
    yield context
    context.close()


def _employ(database_url: str) -> None:
    connections = engines.connect(database_url)
    with connections.begin() as conn:
        for user_name, role in ((OPERATOR, "operator"), (COLLEAGUE, "operator"), (MANAGER, "manager")):
            conn.execute(
                text("""
                    insert into ops.users (user_name, role, password_hash) values (:user_name, :role, :hash)
                    on conflict do nothing
                """),
                {"user_name": user_name, "role": role, "hash": _password_hash()},
            )
        conn.execute(
            text("""
                insert into ops.user_sessions (token_hash, user_name, expires_at)
                values (:hash, :user_name, :expires_at) on conflict do nothing
            """),
            {
                "hash": hashlib.sha256(_TOKEN.encode()).hexdigest(),
                "user_name": OPERATOR,
                "expires_at": utc_now() + timedelta(hours=1),
            },
        )
    connections.dispose()


@cache
def _password_hash() -> str:
    """Made once, for it takes its time."""
    return passwords.hashed(PASSWORD)


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except OSError:  # not listening yet, or busy starting
            time.sleep(0.1)
    raise AssertionError(f"the console did not start:\n{log.read_text()}")

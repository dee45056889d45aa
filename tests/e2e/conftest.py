"""Starts the console on a database of the test's own and drives it with a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from mes.runtime.location import libpq_url
from tests.e2e.screen import Screen

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
OPERATOR = "Vera"
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
    """A window of its own."""
    context = browser.new_context(viewport={"width": 1480, "height": 1100})
    context.set_default_timeout(_SLOW_MS)
    yield context.new_page()
    context.close()


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
def running_console(database_url: str, home: Path) -> Iterator[str]:
    """A console process on this database."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    environment = {
        **os.environ,
        "MES_DATABASE_URL": libpq_url(database_url),
        "MES_HOME": str(home),
        "MES_OPERATOR": OPERATOR,
    }
    argv = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    with (home / "console.log").open("wb") as log:
        process = subprocess.Popen(argv, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            _await_health(url, process, home / "console.log")
            yield url
        finally:
            process.terminate()
            process.wait(timeout=20)


def _await_health(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"the console did not start:\n{log.read_text()}")

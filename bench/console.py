"""From opening the console's address to rows on screen, in a real browser, beside a bare Streamlit page with 25 rows.

Both are opened in turn, in a fresh tab of the same browser, on warm servers. Then the list's next page, its tabs and a
filter are timed from the click to other rows on screen, alone and with 20 people who have it open; and what a session
costs the console's process in memory.
"""

import argparse
import os
import secrets
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import psutil
from playwright.sync_api import Browser, BrowserContext, Locator, Page, sync_playwright

from bench import _histories, _programs, _report
from bench._histories import Dataset
from mes.clock import utc_now
from mes.people import sessions, users
from mes.people.model import Role
from mes.runtime import ports, programs

ORDERS, PEOPLE = 1_000_000, 20
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
_COOKIE = "mes_session"
_LIMIT_MS = 60_000
_SETTLED_S = 5.0
# the first column of the table's copy for screen readers, which is there once it is drawn
_COLUMN = (
    "Array.from(document.querySelectorAll('[data-testid=stDataFrame] tbody tr td:first-child'),"
    " cell => cell.innerText).join(' ').trim()"
)
_SHOWN = f"() => {_COLUMN} !== ''"
_OTHER = f"old => {{ const now = {_COLUMN}; return now !== '' && now !== old }}"
_BARE = """
import streamlit as st
rows = [{f"column {column}": f"{row} {column}" for column in range(10)} for row in range(25)]
st.dataframe(rows, hide_index=True, height="content", row_height=33)
"""


def main() -> int:
    """Print medians, and the ratio of the console's opening to the bare page's."""
    parser = argparse.ArgumentParser(prog="mes bench console", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS, help="size of the data set")
    parser.add_argument("--repeats", type=int, default=20, help="how often each page is opened")
    parser.add_argument("--people", type=int, default=PEOPLE, help="how many have the list open at once")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    with ExitStack() as stack:
        data = stack.enter_context(_histories.dataset(asked.orders))
        console, process = stack.enter_context(_console(data))
        bare = stack.enter_context(_bare_page())
        browser = stack.enter_context(_browser())
        figures = _opened(browser, data, console, bare, asked.repeats)
        figures |= _used(browser, data, console, asked.repeats)
        figures |= _together(browser, data, console, process, asked.people)
    _report.show(figures, as_json=asked.json)
    return 0


def _opened(browser: Browser, data: Dataset, console: str, bare: str, repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {"console": [], "bare": []}
    with _signed_in(browser, data) as person:
        for _ in range(repeats + 1):
            for name, url in (("bare", bare), ("console", console)):
                page = person.new_page()
                times[name].append(_milliseconds(page, partial(page.goto, url), _SHOWN))
                page.close()
    opened = {name: each[1:] for name, each in times.items()}  # the first one fills the browser's cache
    return {
        **_named("console", opened["console"]),
        **_named("bare", opened["bare"]),
        "ratio_bare": statistics.median(opened["console"]) / statistics.median(opened["bare"]),
    }


def _used(browser: Browser, data: Dataset, console: str, repeats: int) -> dict[str, float]:
    """From a click to other rows on screen."""
    with _signed_in(browser, data) as person:
        page = person.new_page()
        page.goto(console)
        page.wait_for_function(_SHOWN)
        tabs, held = page.get_by_test_id("stButtonGroup"), page.get_by_text("On hold (")
        turned = [_changed(page, _next(page).click) for _ in range(repeats)]
        chosen = [_changed(page, tabs.get_by_text(name).click) for name in ("In production", "Packing") * repeats]
        _changed(page, tabs.get_by_text("Open ").click)
        flagged = [_changed(page, held.click) for _ in range(repeats)]
    return {
        **_named("next_page", turned),
        **_named("status", chosen),
        **_named("on_hold", flagged),
    }


def _together(browser: Browser, data: Dataset, console: str, process: psutil.Process, people: int) -> dict[str, float]:
    """With many lists open, each of which asks for what is new every second."""
    before = process.memory_info().rss
    with ExitStack() as stack:
        pages = []
        for _ in range(people):
            person = stack.enter_context(_signed_in(browser, data))
            pages.append(person.new_page())
            pages[-1].goto(console)
            pages[-1].wait_for_function(_SHOWN, timeout=_LIMIT_MS)
        time.sleep(_SETTLED_S)
        busy_from, began = process.cpu_times(), time.monotonic()
        time.sleep(_SETTLED_S)
        busy_to, lasted = process.cpu_times(), time.monotonic() - began
        after = process.memory_info().rss
        turned = [_changed(page, _next(page).click) for page in pages * 2]
        opened = stack.enter_context(_signed_in(browser, data)).new_page()
        opening = _milliseconds(opened, partial(opened.goto, console), _SHOWN)
    busy = (busy_to.user + busy_to.system) - (busy_from.user + busy_from.system)
    return {
        "people": people,
        "memory_per_session_mb": (after - before) / people / 1e6,
        "console_rss_mb": after / 1e6,
        "console_busy_share": busy / lasted,
        **_named("people_next_page", turned),
        "people_open_ms": opening,
    }


def _named(name: str, times: Sequence[float]) -> dict[str, float]:
    return {f"{name}_p50_ms": statistics.median(times), f"{name}_worst_ms": max(times)}


def _milliseconds(page: Page, act: Callable[[], object], until: str, argument: str | None = None) -> float:
    began = time.perf_counter()
    act()
    page.wait_for_function(until, arg=argument, timeout=_LIMIT_MS)
    return (time.perf_counter() - began) * 1000


def _changed(page: Page, act: Callable[[], object]) -> float:
    before = page.evaluate(_COLUMN)
    return _milliseconds(page, act, _OTHER, before)


def _next(page: Page) -> Locator:
    return page.get_by_test_id("stMain").get_by_text("Next", exact=True)


@contextmanager
def _signed_in(browser: Browser, data: Dataset) -> Iterator[BrowserContext]:
    """A browser window of somebody of his own, a manager, since all of those see the same list."""
    name = f"bench-{secrets.token_hex(6)}"
    now = utc_now()
    with data.engine.begin() as conn:
        users.create(conn, name, Role.MANAGER, secrets.token_urlsafe(16))
        token = sessions.start(conn, name, now, timedelta(hours=8))
    context = browser.new_context(viewport={"width": 1480, "height": 1100})
    context.add_cookies([{"name": _COOKIE, "value": token, "domain": "127.0.0.1", "path": "/"}])
    try:
        yield context
    finally:
        context.close()


@contextmanager
def _browser() -> Iterator[Browser]:
    path = os.environ.get("MES_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("no Chromium found; install it or set MES_TEST_CHROMIUM to its path")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        yield running
        running.close()


@contextmanager
def _console(data: Dataset) -> Iterator[tuple[str, psutil.Process]]:
    port = ports.free("127.0.0.1", data.settings.console_port, frozenset())
    argv = programs.console("127.0.0.1", port)
    with _programs.running(argv, data.settings, data.found, port) as process:
        yield f"http://127.0.0.1:{port}", process


@contextmanager
def _bare_page() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(_BARE)
        port = ports.free("127.0.0.1", 8601, frozenset())
        argv = [str(script) if part == "app/main.py" else part for part in programs.console("127.0.0.1", port)]
        with _programs.running(argv, None, None, port, path="/_stcore/health"):
            yield f"http://127.0.0.1:{port}"


if __name__ == "__main__":
    os.environ.setdefault("MES_LOG_LEVEL", "WARNING")
    sys.exit(main())

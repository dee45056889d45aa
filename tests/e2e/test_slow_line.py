"""The console for somebody who clicks faster than its answers come."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, WebSocketRoute
from sqlalchemy import Engine

from mes.orders.life import Status
from tests.e2e.screen import Screen, eventually
from tests.e2e.test_orders import place

pytestmark = pytest.mark.slow

_SOON_MS, _LATE_MS = 1_000, 6_000


class Line:
    """Between the console and a page: it keeps answers back on demand."""

    def __init__(self, page: Page) -> None:
        self._late: list[Callable[[], None]] = []
        self._holds = False
        page.route_web_socket("**/_stcore/stream", self._connect)

    def _connect(self, browser: WebSocketRoute) -> None:
        console = browser.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            if self._holds:
                self._late.append(lambda: browser.send(message))
            else:
                browser.send(message)

        console.on_message(pass_on)

    def hold(self) -> None:
        """Keep back what the console answers from now on."""
        self._holds = True

    def release(self) -> None:
        """Hand over what was kept back."""
        self._holds = False
        while self._late:
            self._late.pop(0)()


def test_filters_that_were_cleared_do_not_come_back_with_the_next_click(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "OPEN-1")
        place(conn, "GONE-1", status=Status.SHIPPED)
    line = Line(screen.page)
    screen.open_list()
    eventually(screen.numbers, ["OPEN-1"])
    screen.search("no such thing")
    screen.sees("No order matches these filters.")
    line.hold()
    screen.press("Clear the filters")
    screen.page.wait_for_timeout(_SOON_MS)
    screen.choose_tab("Shipped")
    screen.page.wait_for_timeout(_LATE_MS)
    line.release()
    eventually(screen.numbers, ["GONE-1"])

"""What a person sees and does on the console's pages."""

import re
import time
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from playwright.sync_api import Locator, Page

_LIMIT_S = 20.0
_ROW_PX, _HEADER_PX = 33, 35  # of the list's table, which is drawn on a canvas

# at once, since the console may draw anew between two looks
_CELLS = """tables => tables.map(table => Array.from(table.querySelectorAll("tbody tr"),
    row => Array.from(row.querySelectorAll("td"), cell => cell.innerText)))"""

Value = TypeVar("Value")


class Screen:
    """The console in a browser."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    def open(self, path: str = "") -> None:
        """Go to a page."""
        self.page.goto(f"{self.url}/{path}")

    def open_list(self, tab: str = "Open") -> None:
        """Go to the order list, to one of its tabs."""
        self.open()
        self.choose_tab(tab)

    def open_order(self, order_id: UUID) -> None:
        """Go to an order's page by its link."""
        self.open(f"?order={order_id}")
        self.sees("Timeline")

    def sees(self, text: str) -> None:
        """Wait until a text is there."""
        self.page.get_by_text(text).first.wait_for()

    def button(self, name: str) -> Locator:
        """A button by its whole label, whatever its icon is called."""
        label = self.page.get_by_text(re.compile(f"^{re.escape(name)}\N{HORIZONTAL ELLIPSIS}?$"))
        return self.page.get_by_test_id("stMain").locator("button").filter(has=label).first

    def press(self, name: str) -> None:
        """Click a button."""
        self.button(name).click()

    def choose_tab(self, name: str) -> None:
        """Choose a status above the list."""
        self.page.get_by_test_id("stButtonGroup").get_by_text(name).click()

    def search(self, text: str) -> None:
        """Type into the search field."""
        self.page.get_by_placeholder("Search number, customer, material or note").fill(text)

    def rows(self, table: int = 0) -> list[list[str]]:
        """Texts of a table's cells (from the copy that it keeps for screen readers)."""
        found: list[list[list[str]]] = self.page.get_by_test_id("stDataFrame").evaluate_all(_CELLS)
        return found[table] if table < len(found) else []

    def numbers(self) -> list[str]:
        """Order numbers of the list, from top to bottom."""
        return [row[0] for row in self.rows() if row]

    def open_row(self, index: int) -> None:
        """Click a row of the list."""
        y = _HEADER_PX + _ROW_PX * index + _ROW_PX // 2
        self.page.get_by_test_id("stDataFrame").first.click(position={"x": 300, "y": y})
        self.sees("Timeline")


def eventually(read: Callable[[], Value], expected: Value) -> None:
    """Wait until what is read is as expected; fails with what it was last."""
    end = time.monotonic() + _LIMIT_S
    while (found := read()) != expected and time.monotonic() < end:
        time.sleep(0.1)
    assert found == expected, f"it is {found}, and should be {expected}"

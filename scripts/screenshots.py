"""Takes the pictures of the console that the documentation shows, from a running console, with a real browser."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
WIDTH, HEIGHT = 1480, 940
_DRAWN_MS = 1_200  # charts and tables fade in


def main() -> None:
    """Write one PNG for each page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("url", help="address of a running console, such as http://127.0.0.1:8501")
    options.add_argument("--user", default="Vera", help="an operator; the password is read from standard input")
    options.add_argument("--to", type=Path, default=IMAGES, help="folder that the pictures go to")
    options.add_argument("--chromium", default="/usr/bin/chromium", help="browser to use")
    given = options.parse_args()
    given.to.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=given.chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        _sign_in(page, given.url.rstrip("/"), given.user, sys.stdin.readline().strip())
        for name, show in SHOTS.items():
            show(page, given.url.rstrip("/"))
            page.wait_for_timeout(_DRAWN_MS)
            page.screenshot(path=given.to / f"{name}.png", full_page=False)
            print(given.to / f"{name}.png")
        browser.close()


def _sign_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("Name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Sign out").wait_for()


def _orders(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_test_id("stDataFrame").wait_for()


def _tab(page: Page, name: str) -> None:
    page.get_by_test_id("stButtonGroup").get_by_text(name).click()
    page.wait_for_timeout(_DRAWN_MS)


def _search(page: Page, url: str) -> None:
    _orders(page, url)
    _tab(page, "Open ")
    page.get_by_placeholder("Search number, customer, material or note").fill("gold585")
    page.get_by_text("Late only").click()


def _order(page: Page, url: str) -> None:
    _orders(page, url)
    page.get_by_role("button", name="Next job").click()
    page.get_by_text("Timeline").wait_for()


def _hold(page: Page, _url: str) -> None:
    page.get_by_role("button", name="Put on hold").click()
    page.get_by_label("Reason").fill("Wall thinner than 0.6 mm at the shank: ask the customer")


def _throughput(page: Page, url: str) -> None:
    page.goto(f"{url}/throughput")
    page.get_by_text("Download as CSV").wait_for()


def _quarantine(page: Page, url: str) -> None:
    page.goto(f"{url}/quarantine")
    page.get_by_text("Bad rows").wait_for()


SHOTS: dict[str, Callable[[Page, str], None]] = {
    "orders": _orders,
    "orders-search": _search,
    "order": _order,
    "order-hold": _hold,
    "throughput": _throughput,
    "quarantine": _quarantine,
}

if __name__ == "__main__":
    main()

"""Operators work through their queues side by side, each on orders of his own."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Connection, Engine

from mes.clock import utc_now
from mes.dispatch import claims, desk
from mes.lists import refresher
from mes.orders import repository
from mes.orders.life import Status
from tests.e2e.conftest import COLLEAGUE, MANAGER, OPERATOR, sign_in
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order

pytestmark = pytest.mark.slow


def place(
    conn: Connection, number: str, *, days: float = 10, to: str | None = None, status: Status | None = None
) -> UUID:
    """An order that the CRM approved, unless said otherwise, in the queue of `to`."""
    order_id = add_order(
        conn,
        number,
        status=status or Status.MANUFACTURING_APPROVED,
        placed_at=utc_now(),
        due_in=timedelta(days=days),
    )
    if to is not None:
        desk.assign(conn, MANAGER, order_id, to)
    refresher.refresh_now(conn, [order_id])
    return order_id


@contextmanager
def window_of(browser: Browser, console: str, user_name: str) -> Iterator[Screen]:
    """The same console in another window, in which somebody else is signed in."""
    context = browser.new_context(viewport={"width": 1480, "height": 1100})
    page = context.new_page()
    sign_in(page, console, user_name)
    yield Screen(page, console)
    context.close()


@pytest.fixture
def colleague(browser: Browser, console: str) -> Iterator[Screen]:
    """Jonas's window."""
    with window_of(browser, console, COLLEAGUE) as screen:
        yield screen


@pytest.fixture
def manager(browser: Browser, console: str) -> Iterator[Screen]:
    """Tomas's window."""
    with window_of(browser, console, MANAGER) as screen:
        yield screen


def whats_happened(screen: Screen) -> list[str]:
    """The timeline, the last event first."""
    return [row[2] for row in screen.rows()]


def test_two_operators_work_side_by_side(screen: Screen, colleague: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        mine = place(conn, "MINE", days=5, to=OPERATOR)
        place(conn, "MINE LATER", days=8, to=OPERATOR)
        place(conn, "POOL", days=2)
        place(conn, "HIS", days=9, to=COLLEAGUE)
    screen.open()
    screen.sees("My queue 2")
    screen.sees("Unassigned 1")
    eventually(screen.numbers, ["MINE", "MINE LATER"])
    colleague.open_order(mine)
    colleague.sees(f"In the queue of {OPERATOR}.")
    expect(colleague.button("Start production")).to_have_count(0)
    expect(colleague.button("Assign to")).to_have_count(0)

    screen.press("Next job")  # the list's top one, and its page
    screen.sees("Order MINE")
    screen.sees("This order is yours now.")
    screen.sees("You have claimed this order. Begin by")
    colleague.sees(f"{OPERATOR} has claimed this order. The claim ends at")  # by itself

    colleague.press("Take over")
    colleague.page.get_by_label("Reason").fill("Vera is ill")
    with marts_engine.begin() as conn:
        desk.write_note(conn, MANAGER, mine, "mind the clasp")
    colleague.press("Take it over")  # of an order that looks otherwise by now
    colleague.sees("Somebody else changed this order")
    colleague.press("Take over")
    colleague.page.get_by_label("Reason").fill("Vera is ill")
    colleague.press("Take it over")
    colleague.sees("You took the order over.")
    eventually(
        lambda: whats_happened(colleague)[:3], [f"Taken over from {OPERATOR}", "Note changed", f"Claimed by {OPERATOR}"]
    )
    screen.sees(f"{COLLEAGUE} has claimed this order")

    screen.open()
    screen.choose_tab("Open")
    eventually(lambda: [row[3] for row in screen.rows() if row[0] == "MINE"], [f"{COLLEAGUE}, claimed"])


def test_a_stale_page_is_told_whose_the_order_is(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "CONTESTED")
    screen.open_order(order_id)
    with marts_engine.begin() as conn:
        claims.claim(conn, COLLEAGUE, order_id)
    screen.press("Start production")
    screen.sees(f"{COLLEAGUE} works on this order, so nothing was done")
    expect(screen.button("Start production")).to_have_count(0)
    with marts_engine.connect() as conn:
        assert repository.get(conn, order_id).version == 2


def test_what_is_given_back_is_not_the_next_job_again(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "ODD", to=OPERATOR)
        place(conn, "PRICED", to=OPERATOR, status=Status.PRICE_CALCULATED)
    screen.open_order(order_id)
    screen.press("Claim")
    screen.sees("This order is yours now.")
    screen.press("Give back")
    screen.page.get_by_label("Why?").fill("needs the big flask")
    screen.press("Give it back")
    screen.sees("You gave the order back")
    eventually(
        lambda: [row[2:5:2] for row in screen.rows()][:1], [[f"Given back by {OPERATOR}", "needs the big flask"]]
    )
    screen.open()
    screen.press("Next job")
    screen.sees("There is no next job for you now. In your queue: 1 order waits for the CRM's approval.")


def test_a_manager_sees_all_that_is_open_and_assigns_it(manager: Screen, screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "LOOSE")
        place(conn, "BUSY", to=COLLEAGUE)
    manager.open()
    eventually(manager.numbers, ["LOOSE", "BUSY"])
    manager.open_order(order_id)
    manager.press("Assign to")
    manager.page.get_by_role("combobox", name="Operator").click()
    manager.sees(f"{COLLEAGUE}: 1 order, 20 h")
    manager.page.get_by_role("option", name=f"{OPERATOR}: 0 orders, 0 h").click()
    manager.press("Assign it")
    manager.sees(f"The order is in {OPERATOR}'s queue.")
    screen.open()
    eventually(screen.numbers, ["LOOSE"])

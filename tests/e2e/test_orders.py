"""Operators work from the console: the list, an order, its next step."""

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Connection, Engine, text

from mes.clock import utc_now
from mes.dispatch import desk
from mes.lists import refresher
from mes.orders import repository
from mes.orders.life import Status
from tests.e2e.conftest import COLLEAGUE, OPERATOR, running_console
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order

pytestmark = pytest.mark.slow


def place(
    conn: Connection, number: str, due_days: float = 10, status: Status = Status.MANUFACTURING_APPROVED, note: str = ""
) -> UUID:
    now = utc_now()
    order_id = add_order(conn, number, status=status, placed_at=now - timedelta(days=3))
    conn.execute(
        text("update ops.orders set due_at = :due, note = :note, overdue = :late where order_id = :order_id"),
        {"due": now + timedelta(days=due_days), "note": note or None, "late": due_days < 0, "order_id": order_id},
    )
    refresher.refresh_now(conn, [order_id])
    return order_id


def test_an_empty_workshop_says_how_to_load_orders(screen: Screen) -> None:
    screen.open()
    screen.sees("There are no orders yet.")
    screen.open("throughput")
    screen.sees("No order was placed yet")


def test_missing_read_models_are_explained(page: Page, database_url: str, tmp_path: Path) -> None:
    with running_console(database_url, tmp_path) as url:
        screen = Screen(page, url)
        screen.open()
        screen.sees("no tables or read models yet")


def test_the_least_slack_comes_first_and_changes_show_by_themselves(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "LATER", due_days=9)
        place(conn, "SOON", due_days=2)
    screen.open_list()
    eventually(screen.numbers, ["SOON", "LATER"])
    with marts_engine.begin() as conn:
        place(conn, "LATEST", due_days=20)
    eventually(screen.numbers, ["SOON", "LATER", "LATEST"])


def test_what_comes_ahead_is_told_and_moves_no_row_under_the_pointer(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "SOON", due_days=2)
    screen.open_list()
    eventually(screen.numbers, ["SOON"])
    with marts_engine.begin() as conn:
        place(conn, "SOONEST", due_days=1)
    expect(screen.button("1 newer")).to_be_visible()
    assert screen.numbers() == ["SOON"]
    screen.press("1 newer")
    eventually(screen.numbers, ["SOONEST", "SOON"])
    expect(screen.button("1 newer")).to_have_count(0)


def test_a_customers_orders_are_listed_from_any_of_them(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "MINE", due_days=2)
        place(conn, "OTHERS", due_days=3)
    screen.open_list()
    eventually(screen.numbers, ["MINE", "OTHERS"])
    screen.open_row(0)
    screen.press("All orders of this customer")
    eventually(screen.numbers, ["MINE"])
    screen.press("Show all customers")
    eventually(screen.numbers, ["MINE", "OTHERS"])


def test_pages_turn_both_ways(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        for day in range(60):
            place(conn, f"N-{day:02}", due_days=day + 1)
    numbers = [f"N-{day:02}" for day in range(60)]
    screen.open_list()
    eventually(screen.numbers, numbers[:25])
    expect(screen.button("Previous")).to_be_disabled()
    screen.press("Next")
    eventually(screen.numbers, numbers[25:50])
    screen.press("Next")
    eventually(screen.numbers, numbers[50:])
    expect(screen.button("Next")).to_be_disabled()
    screen.press("Previous")
    eventually(screen.numbers, numbers[25:50])
    screen.press("Previous")
    eventually(screen.numbers, numbers[:25])


def test_filters_by_status_lateness_and_text(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "APPROVED-1")
        place(conn, "LATE-1", due_days=-2)
        place(conn, "PACKING-1", status=Status.PACKAGING, note="100% gift_wrap")
        place(conn, "PACKING-2", status=Status.PACKAGING, note="1000 giftXwrap", due_days=12)
        place(conn, "GONE-1", status=Status.SHIPPED)
    screen.open_list()
    eventually(screen.numbers, ["LATE-1", "APPROVED-1", "PACKING-1", "PACKING-2"])  # packing needs less time
    screen.choose_tab("Packing")
    eventually(screen.numbers, ["PACKING-1", "PACKING-2"])
    screen.search("100% gift_")
    eventually(screen.numbers, ["PACKING-1"])
    screen.search("no such thing")
    screen.sees("No order matches these filters.")
    screen.press("Clear the filters")
    screen.choose_tab("Shipped")
    eventually(screen.numbers, ["GONE-1"])
    screen.choose_tab("Open")
    screen.page.get_by_text("Late only").click()
    eventually(screen.numbers, ["LATE-1"])


def test_an_operator_takes_the_next_step_and_sees_it_everywhere(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "MINE", due_days=1)
        place(conn, "OTHER", due_days=5)
    screen.open_list()
    eventually(screen.numbers, ["MINE", "OTHER"])
    screen.open_row(0)
    assert str(order_id) in screen.page.url
    screen.press("Start production")
    screen.sees("Done: in production.")
    screen.sees("You have claimed this order.")
    eventually(
        lambda: [row[2:4] for row in screen.rows()][:2],
        [["Production started", f"MES: {OPERATOR}"], [f"Claimed by {OPERATOR}", f"MES: {OPERATOR}"]],
    )
    screen.page.get_by_test_id("stPageLink").get_by_text("Orders").click()
    eventually(
        lambda: [row[2:4] for row in screen.rows()], [["In production", f"{OPERATOR}, claimed"], ["Approved", ""]]
    )
    with marts_engine.connect() as conn:
        assert repository.get(conn, order_id).status is Status.MANUFACTURING_STARTED


def test_somebody_else_was_faster(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "CONTESTED")
    screen.open_order(order_id)
    with marts_engine.begin() as conn:
        desk.write_note(conn, COLLEAGUE, order_id, "engrave it inside")
    screen.press("Start production")
    screen.sees("Somebody else changed this order")
    screen.sees("engrave it inside")
    with marts_engine.connect() as conn:
        assert repository.get(conn, order_id).version == 2


def test_a_price_is_nobodys_to_set(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "FRESH", status=Status.SUBMITTED)
    screen.open_order(order_id)
    screen.sees("Waits for its price")
    expect(screen.button("Price is set")).to_have_count(0)
    expect(screen.button("Claim")).to_have_count(0)


def test_a_hold_needs_a_reason_and_stops_the_order(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "DOUBTFUL")
    screen.open_order(order_id)
    screen.press("Put on hold")
    screen.press("Put it on hold")
    screen.sees("this step needs a reason")
    screen.page.get_by_label("Reason").fill("Wall *too* thin")
    screen.press("Put it on hold")
    screen.sees("On hold by Vera since")
    screen.sees("Wall *too* thin")
    expect(screen.button("Start production")).to_have_count(0)
    screen.press("Release")
    screen.sees("free to move again")
    expect(screen.button("Start production")).to_be_visible()


def test_shipping_asks_first(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = place(conn, "PACKED", status=Status.PACKAGING)
    screen.open_order(order_id)
    screen.press("Ship")
    screen.sees("this cannot be undone")
    with marts_engine.connect() as conn:
        assert repository.get(conn, order_id).status is Status.PACKAGING
    screen.press("Yes, it is shipped")
    screen.sees("Waits for the CRM to close it.")


def test_an_order_is_found_by_its_number_whatever_its_status(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        place(conn, "OLD-77", status=Status.CLOSED)
    screen.open()
    field = screen.page.get_by_placeholder("Open by order number")
    field.fill("OLD-78")
    field.press("Enter")
    screen.sees("No order has this number.")
    field.fill("OLD-77")
    field.press("Enter")
    screen.sees("Order OLD-77")


def test_a_link_to_no_order_says_so(screen: Screen) -> None:
    screen.open("?order=01a203f3-3d20-7bc8-b48e-5cf479971a8f")
    screen.sees("There is no such order.")
    screen.sees("look whether the link is whole")
    screen.open("?order=nonsense")
    screen.sees("This link names no order")

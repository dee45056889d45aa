"""An open list follows the workshop by itself, and rests while nothing happens."""

from datetime import timedelta

import pytest
from playwright.sync_api import WebSocket, expect
from sqlalchemy import Engine, text

from mes.clock import utc_now
from mes.lists import refresher
from mes.orders.life import Status
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order

pytestmark = pytest.mark.slow

_SETTLED_MS = 3_000


def place(engine: Engine, number: str, days: float = 10) -> None:
    now = utc_now()
    with engine.begin() as conn:
        order_id = add_order(conn, number, status=Status.MANUFACTURING_APPROVED, placed_at=now - timedelta(days=3))
        conn.execute(
            text("update ops.orders set due_at = :due where order_id = :order_id"),
            {"due": now + timedelta(days=days), "order_id": order_id},
        )
        refresher.refresh_now(conn, [order_id])


def test_a_list_at_rest_is_not_drawn_again(screen: Screen, marts_engine: Engine) -> None:
    for day in range(25):
        place(marts_engine, f"N-{day:02}", days=day + 1)
    received: list[int] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda payload: received.append(len(payload)))

    screen.page.on("websocket", listen)
    screen.open_list()
    eventually(lambda: len(screen.numbers()), 25)
    screen.page.wait_for_timeout(_SETTLED_MS)
    received.clear()
    place(marts_engine, "LAST", days=40)
    expect(screen.button("Next")).to_be_enabled()
    screen.page.wait_for_timeout(_SETTLED_MS)
    drawing = sum(received)
    received.clear()
    screen.page.wait_for_timeout(_SETTLED_MS)
    assert received, "it does not look whether anything has changed"
    assert sum(received) < drawing / 2


def test_why_there_is_no_next_job_stays_when_the_list_changes(screen: Screen, marts_engine: Engine) -> None:
    screen.open_list()
    screen.press("Next job")
    nothing = screen.page.get_by_text("There is no next job for you now.")
    nothing.wait_for()
    place(marts_engine, "NEW")
    eventually(screen.numbers, ["NEW"])
    expect(nothing).to_be_visible()


def test_trouble_shows_above_the_list_and_goes_by_itself(screen: Screen, marts_engine: Engine) -> None:
    place(marts_engine, "HERE")
    screen.open_list()
    eventually(screen.numbers, ["HERE"])
    trouble = screen.page.get_by_text("no tables or read models yet")
    with marts_engine.begin() as conn:
        conn.execute(text("alter table marts.order_list rename to away"))
    trouble.wait_for()
    assert screen.numbers() == ["HERE"]
    screen.choose_tab("All")
    eventually(screen.numbers, [])
    expect(trouble).to_have_count(1)
    with marts_engine.begin() as conn:
        conn.execute(text("alter table marts.away rename to order_list"))
    eventually(screen.numbers, ["HERE"])
    expect(trouble).to_have_count(0)


def test_nothing_is_left_of_the_rows_where_there_are_none(screen: Screen, marts_engine: Engine) -> None:
    place(marts_engine, "HERE")
    screen.open_list()
    tables = screen.page.get_by_test_id("stDataFrame")
    for _ in range(8):
        screen.choose_tab("Packing")
        screen.sees("No order has this status now.")
        expect(tables).to_have_count(0)
        screen.choose_tab("Open")
        eventually(screen.numbers, ["HERE"])
        expect(tables).to_have_count(1)
        expect(screen.page.get_by_text("No order has this status now.")).to_have_count(0)


def test_a_page_that_failed_as_a_whole_comes_back_by_itself(screen: Screen, marts_engine: Engine) -> None:
    screen.open()
    screen.sees("Orders")
    with marts_engine.begin() as conn:
        conn.execute(text("alter schema marts rename to away"))
    screen.open("throughput")
    trouble = screen.page.get_by_text("no tables or read models yet")
    trouble.wait_for()
    screen.sees("This page tries again by itself.")
    with marts_engine.begin() as conn:
        conn.execute(text("alter schema away rename to marts"))
    screen.sees("No order was placed yet")
    expect(trouble).to_have_count(0)

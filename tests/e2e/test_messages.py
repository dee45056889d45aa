"""People see which events could not be applied and which webhooks fail, and go on with them."""

import json

import pytest
from playwright.sync_api import Page
from sqlalchemy import Engine, text

from mes.events import applying, inbox, incoming
from mes.events.inbox import Rejected
from mes.events.webhooks import endpoints
from tests.callers import SHOP
from tests.e2e.conftest import MANAGER, sign_in
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order
from tests.senders import NOW, event

pytestmark = pytest.mark.slow


def test_when_nothing_is_wrong_the_page_says_so(screen: Screen) -> None:
    screen.open("messages")
    screen.sees("every event of shop and CRM could be applied")


def test_a_manager_leaves_a_parked_event_out_and_has_a_webhook_called_again(
    guest: Page, screen: Screen, marts_engine: Engine
) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn, "S-1")
        read = incoming.read("crm", json.dumps(event(1, "SHIPPED")).encode(), now=NOW)
        inbox.accept(conn, [read], "jetstream")
        applying.look(conn)
        inbox.reject(conn, Rejected("crm", "crm.v1.order.x", b"?", "It is not JSON in UTF-8."), "jetstream")
        made = endpoints.create(conn, SHOP, "https://shop.example/hooks", None)
        conn.execute(
            text("""
                insert into ops.webhook_deliveries
                    (endpoint_id, position, order_id, sequence, event_type, state, attempts, next_at, finished_at)
                values (:id, 1, :order_id, 1, 'mes.order.submitted.v1', 'failed', 10, now(), now())
            """),
            {"id": made.endpoint.endpoint_id, "order_id": order_id},
        )
    screen.open("messages")
    screen.sees("CRM about order S-1")
    assert screen.button("Leave it out").count() == 0  # that is for managers
    sign_in(guest, screen.url, MANAGER)
    manager_screen = Screen(guest, screen.url)
    manager_screen.open("messages")
    manager_screen.sees("CRM about order S-1")
    manager_screen.sees("The CRM never sets SHIPPED.")
    manager_screen.press("Leave it out")
    manager_screen.sees("those after it go on")
    manager_screen.sees("every event of shop and CRM could be applied")
    manager_screen.page.get_by_text("Webhooks (1)").click()
    manager_screen.sees("given up")
    manager_screen.press("Send again")
    manager_screen.sees("It is sent again")

    def state() -> str:
        with marts_engine.begin() as conn:
            return str(conn.execute(text("select state from ops.webhook_deliveries")).scalar_one())

    eventually(state, "waiting")
    manager_screen.page.get_by_text("Unreadable messages (1)").click()
    manager_screen.page.get_by_test_id("stDataFrame").first.wait_for()


def test_a_manager_looks_through_what_a_webhook_was_told_and_sends_one_again(
    guest: Page, screen: Screen, marts_engine: Engine
) -> None:
    with marts_engine.begin() as conn:
        made = endpoints.create(conn, SHOP, "https://shop.example/hooks", None)
        conn.execute(
            text("""
                insert into ops.webhook_deliveries
                    (endpoint_id, position, order_id, sequence, event_type, state, attempts, next_at, finished_at)
                select :id, n, gen_random_uuid(), n, 'mes.order.edited.v1',
                    case n when 60 then 'failed' else 'delivered' end, 1, now(), now()
                from generate_series(1, 60) as n
            """),
            {"id": made.endpoint.endpoint_id},
        )
        conn.execute(
            text("""
                insert into ops.webhook_attempts (delivery_id, status, duration_ms)
                select delivery_id, case state when 'failed' then 503 else 200 end, 12.5 from ops.webhook_deliveries
            """)
        )
    sign_in(guest, screen.url, MANAGER)
    manager_screen = Screen(guest, screen.url)
    manager_screen.open("messages")
    manager_screen.page.get_by_text("All webhook calls").click()

    def versions() -> list[str]:
        return [row[1] for row in manager_screen.rows() if row]

    eventually(lambda: versions()[:2], ["60", "59"])
    manager_screen.press("Older")
    eventually(lambda: versions()[:2], ["35", "34"])
    manager_screen.press("Older")
    eventually(lambda: versions()[-1:], ["1"])
    assert manager_screen.button("Older").is_disabled()
    manager_screen.press("Newest")
    eventually(lambda: versions()[:1], ["60"])
    manager_screen.page.get_by_test_id("stButtonGroup").get_by_text("Given up").click()
    eventually(versions, ["60"])
    manager_screen.page.get_by_test_id("stDataFrame").first.click(position={"x": 15, "y": 52})
    manager_screen.press("Send event 60 of this order again")
    manager_screen.sees("It is sent again")
    manager_screen.sees("Nothing in this state")

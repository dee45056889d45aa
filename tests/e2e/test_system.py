"""People see how the system is, in words, without Grafana."""

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text

from mes.lists import refresher
from mes.orders import placing
from tests.callers import SHOP, add_model, new_order
from tests.e2e.screen import Screen, eventually

pytestmark = pytest.mark.slow


def test_the_page_says_that_all_is_well_and_what_is_wrong_as_soon_as_it_is(
    screen: Screen, marts_engine: Engine
) -> None:
    screen.open("system")
    screen.sees("All is well.")
    screen.sees("No order is open.")
    with marts_engine.begin() as conn:
        add_model(conn)
        placing.place(conn, SHOP, new_order("S-1"))
        conn.execute(text("update ops.orders set status_since = now() - interval '3 hours'"))
        conn.execute(text("update ops.outbox set created_at = now() - interval '5 minutes'"))
        conn.execute(
            text("""
                insert into ops.inbox_orders (sender, source, external_id, parked_at, parked_reason)
                values ('crm', 'shop', 'S-1', now(), 'no such move')
            """)
        )
    screen.sees("Nobody has been told of changes for 5 min.")
    screen.sees("An order has been without a price for 3 h.")
    screen.sees("Orders wait for a person, 1 of them")


def test_open_pages_and_their_first_rows_are_measured(screen: Screen, marts_engine: Engine) -> None:
    before = _measured(screen.url)
    with marts_engine.begin() as conn:
        add_model(conn)
        placing.place(conn, SHOP, new_order("S-1"))
        refresher.refresh_batch(conn)
    screen.open_list()
    eventually(
        lambda: _measured(screen.url)["mes_console_first_rows_seconds_count"],
        1 + before["mes_console_first_rows_seconds_count"],
    )
    assert _measured(screen.url)["mes_console_sessions"] >= 1


def _measured(url: str) -> dict[str, float]:
    families = text_string_to_metric_families(httpx.get(f"{url}/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

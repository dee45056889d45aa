"""Data engineers see what the feeds brought that could not be used or trusted."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from mes.lists import refresher
from tests.e2e.screen import Screen, eventually
from tests.orders import add_order

pytestmark = pytest.mark.slow


def test_an_empty_quarantine_says_that_all_is_well(screen: Screen) -> None:
    screen.open("quarantine")
    screen.sees("every row of every feed could be used")


def test_bad_rows_and_contradictions_are_listed_with_what_to_do(screen: Screen, marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        conn.execute(
            text("""
                insert into ops.quarantine
                    (feed, file, line, stage, kind, reason, advice, content, content_hash, resolved_at)
                values ('shop_orders', 'shop/a.jsonl', 7, 'read', 'not_json', 'cut', 'export again', '{"a', 'x', null),
                    ('crm_orders', 'crm/b.jsonl', 9, 'read', 'bad_time', 'no time', 'mend it', '{}', 'y', null),
                    ('crm_orders', 'crm/b.jsonl', 8, 'read', 'bad_time', 'mended', 'none', '{}', 'z', now())
            """)
        )
        order_id = add_order(conn, "ODD-1", due_in=timedelta(days=3))
        refresher.refresh_now(conn, [order_id])
        conn.execute(
            text("""
                insert into ops.anomalies (order_id, kind, reason, advice, feed, file, line)
                values (:order_id, 'shipped_before_approved', 'shipped too early', 'ask', 'crm_orders', 'b.jsonl', 1)
            """),
            {"order_id": order_id},
        )
    screen.open("quarantine")
    screen.sees("Bad rows (2)")
    eventually(
        lambda: [row[:3] for row in screen.rows()],
        [
            ["Bad time", "crm_orders", "crm/b.jsonl"],
            ["Not json", "shop_orders", "shop/a.jsonl"],
        ],
    )
    with screen.page.expect_download() as download:
        screen.press("Download as CSV")
    lines = download.value.path().read_text().splitlines()
    assert len(lines) == 3
    assert "mend it" in lines[1]
    screen.page.get_by_text("Contradictions (1)").click()
    screen.page.get_by_test_id("stDataFrame").nth(1).click(position={"x": 300, "y": 52})
    screen.sees("Order ODD-1")
    screen.sees("shipped too early")

"""What the order list and its counts must be, worked out from nothing."""

from collections import Counter

from sqlalchemy import Engine, text

from mes.lists import counts, refresher

_DIFFERENCE = """
    (table marts.order_list except table marts.order_list_live)
    union all (table marts.order_list_live except table marts.order_list)
"""
_SEARCHED = "order_id, status, assigned_to, customer_id, late, held, latest_start_at, search_text"
_SEARCH_DIFFERENCE = f"""
    (select {_SEARCHED} from marts.order_list where is_open except select {_SEARCHED} from marts.open_search)
    union all
    (select {_SEARCHED} from marts.open_search except select {_SEARCHED} from marts.order_list where is_open)
"""


def drain(engine: Engine) -> int:
    """Refresh until no mark is left; gives how many orders were merged."""
    merged = 0
    while True:
        with engine.begin() as conn:
            done = refresher.refresh_batch(conn)
        merged += done.orders
        if not done.marks:
            return merged


def differences(engine: Engine) -> int:
    """Rows that the list and its definition do not share, or what open orders are searched in and the list."""
    with engine.begin() as conn:
        return sum(len(conn.execute(text(each)).all()) for each in (_DIFFERENCE, _SEARCH_DIFFERENCE))


def assert_counted(engine: Engine) -> None:
    """The counts are those of the list's rows, counted one by one."""
    with engine.begin() as conn:
        kept = counts.orders(conn, "Ada")
        rows = conn.execute(
            text("select status, late, held, is_open, assigned_to, remaining_h from marts.order_list")
        ).all()
        queue = counts.queues(conn, ["Ada", "Ben"])
    assert {status: number for status, number in kept.by_status.items() if number} == Counter(
        row.status for row in rows
    )
    assert kept.late == sum(row.late for row in rows)
    assert kept.held == sum(row.held for row in rows)
    assert kept.unassigned == sum(row.is_open and row.assigned_to is None for row in rows)
    mine = [row for row in rows if row.is_open and row.assigned_to == "Ada"]
    assert kept.mine == queue[0].orders == len(mine)
    assert queue[0].remaining_h == float(sum(row.remaining_h for row in mine))

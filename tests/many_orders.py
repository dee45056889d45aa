"""Fills a test's database with thousands of orders, straight in the tables, and lists them."""

from sqlalchemy import Connection, text

OPERATORS = 20
CUSTOMERS = 400
BIG_CUSTOMER = "C-0"

_CUSTOMERS = """
    insert into ops.customers (source, external_id, name, tier)
    select 'shop', 'C-' || n, 'Customer ' || md5(n::text), (array['retail', 'b2b', 'vip'])[1 + n % 3]
    from generate_series(0, :customers - 1) as n
    on conflict do nothing
"""
# every fifth order is the big customer's; statuses, queues, holds and lateness are mixed by primes
_ORDERS = """
    insert into ops.orders (
        source, external_id, customer_id, status, status_since, version, placed_at, due_at, overdue, assigned_to,
        hold_reason, held_since, note
    )
    select
        'shop', :prefix || lpad(n::text, 7, '0'),
        (
            select customer_id from ops.customers
            where source = 'shop' and external_id = 'C-' || case when n % 5 = 0 then 0 else n % :customers end
        ),
        case when :open then (enum_range(null::ops.order_status))[1 + n % 7]
            else (array['SHIPPED', 'CLOSED', 'CANCELLED']::ops.order_status[])[1 + n % 3] end,
        timestamptz '2026-01-01' + n * interval '7 minutes', 1,
        timestamptz '2025-12-01' + n * interval '7 minutes',
        timestamptz '2026-02-01' + n * interval '7 minutes', :open and n % 3 = 0,
        case when :open and n % 11 > 0 then 'op' || n % :operators end,
        case when :open and n % 13 = 0 then 'thin wall' end, case when :open and n % 13 = 0 then now() end,
        case when n % 7 = 0 then 'engrave ' || md5(n::text) end
    from generate_series(1, :orders) as n
"""


def add_orders(conn: Connection, *, finished: int = 0, opened: int = 0, prefix: str = "") -> None:
    """Add finished and open orders, list them as a refresher would, and tell the planner."""
    conn.execute(text(_CUSTOMERS), {"customers": CUSTOMERS})
    for orders, is_open in ((finished, False), (opened, True)):
        values = {"orders": orders, "open": is_open, "prefix": f"{prefix}{'O' if is_open else 'F'}"}
        conn.execute(text(_ORDERS), values | {"customers": CUSTOMERS, "operators": OPERATORS})
    conn.execute(
        text("""
            insert into marts.order_list select * from marts.order_list_live
            where order_id not in (select order_id from marts.order_list)
        """)
    )
    conn.execute(text("delete from ops.dirty_orders"))
    for table in ("ops.orders", "ops.customers", "marts.order_list"):
        conn.execute(text(f"analyze {table}"))

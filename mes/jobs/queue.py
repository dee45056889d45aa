"""Puts jobs into the queue in the caller's transaction: what was committed is done, what was rolled back never was."""

from uuid import UUID

from sqlalchemy import Connection, text

from mes.jobs.names import PRICE_ORDER, PRICING_QUEUE


def price_order(conn: Connection, order_id: UUID) -> None:
    """Have an order priced; a job more than is needed finds it priced and does nothing."""
    conn.execute(
        text("""
            select procrastinate_defer_jobs_v1(array[row(
                cast(:queue as text), cast(:task as text), 0, cast('order:' || :order_id as text), null,
                jsonb_build_object('order_id', cast(:order_id as text)), null
            )::procrastinate_job_to_defer_v1])
        """),
        {"queue": PRICING_QUEUE, "task": PRICE_ORDER, "order_id": str(order_id)},
    )

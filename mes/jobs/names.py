"""Names the queues and tasks: what is enqueued by SQL and what a worker knows must be the same words."""

from enum import IntEnum

PRICING_QUEUE = "pricing"
"""Orders to price: milliseconds each, several at a time."""

MEASURING_QUEUE = "measuring"
"""Models to measure and quotes that wait for one: seconds each and whole cores, so one at a time per worker."""

PRICE_ORDER = "price_order"
PRICE_ORDERS = "price_orders"
PRICE_QUOTE = "price_quote"
MEASURE_MODEL = "measure_model"


PRICED_TOGETHER = 10
"""Orders of one `PRICE_ORDERS`: a job for each costs the database as much as writing the order does."""


class Priority(IntEnum):
    """Who goes first in a queue; of equals, who came first."""

    WAITING = 10  # a customer looks at the page
    ORDER = 0
    BACKFILL = -10  # nobody waits


def model_lock(model_id: str) -> str:
    """The lock of all jobs that need this model measured: one does it, the others find it done."""
    return f"model:{model_id}"

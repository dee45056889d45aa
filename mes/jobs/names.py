"""Names the queues and tasks: what is enqueued by SQL and what a worker knows must be the same words."""

PRICING_QUEUE = "pricing"
PRICE_ORDER = "price_order"
PRICE_QUOTE = "price_quote"

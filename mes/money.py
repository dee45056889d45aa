"""Rounds money the same way everywhere: decimal, half up, to the cent, once per line."""

from decimal import ROUND_HALF_UP, Decimal

CURRENCY = "USD"
CENT = Decimal("0.01")


def to_cents(amount: Decimal) -> Decimal:
    """Round `amount` (USD) half up to the cent: what invoices do, and what people check by hand."""
    return amount.quantize(CENT, rounding=ROUND_HALF_UP)

"""Shapes the answers about quotes."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field

from ingest.api.model_shapes import Finding
from ingest.api.shape import Amount, Money, Number, Shape, Waiting
from mes.pricing.costs import levers
from mes.pricing.costs.cost_model import Line
from mes.pricing.options import Engraving, Stone
from mes.pricing.quotes import caller_quotes


class QuoteLine(Shape):
    """One line of a price, for all pieces: `amount` = `quantity` x `rate`, rounded half up to cents."""

    code: str
    label: str
    driver: str
    quantity: Number
    unit: str
    rate: Number
    amount: Amount

    @classmethod
    def of(cls, line: Line) -> Self:
        """As computed."""
        return cls(
            code=line.code,
            label=line.label,
            driver=line.driver,
            quantity=str(line.quantity),
            unit=line.unit,
            rate=str(line.rate),
            amount=f"{line.amount:.2f}",
        )


class Lever(Shape):
    """What would make it cheaper, each by itself: less metal, in grams, and less money, for all pieces.

    For more pieces (`quantity_break`), the change of the price is that of one piece.
    """

    code: str
    label: str
    mass_change_g: float
    price_change: Money

    @classmethod
    def of(cls, lever: levers.Lever, currency: str) -> Self:
        """As frozen."""
        change = Money.of(lever.price_change, currency)
        return cls(code=lever.code, label=lever.label, mass_change_g=lever.mass_change_g, price_change=change)


class QuotedRates(Shape):
    """The rate card that a price was computed from."""

    version: str
    name: str


class Quote(Shape):
    """A price, frozen: the sum of `breakdown` is `price`, and both stay as they are for ever."""

    quote_id: UUID
    status: Literal["priced"] = "priced"
    model_id: str
    material: str
    finish: str
    quantity: int
    longest_side_mm: float | None
    rush: bool
    tier: str
    stones: list[Stone]
    engraving: Engraving | None
    price: Annotated[Money, Field(description="For all pieces.")]
    unit_price: Annotated[Money, Field(description="`price` / `quantity`, rounded; for information.")]
    breakdown: list[QuoteLine]
    levers: Annotated[list[Lever] | None, Field(description="Null where none were looked for, as in old quotes.")]
    rate_card: QuotedRates
    kernel_version: int
    created_at: datetime
    valid_until: datetime
    findings: list[Finding]
    superseded_by: Annotated[UUID | None, Field(description="The quote that replaced this one.")]

    @classmethod
    def of(cls, quote: caller_quotes.Quote) -> Self:
        """As frozen."""
        return cls(
            quote_id=quote.quote_id,
            model_id=quote.model_id,
            material=quote.material,
            finish=quote.finish,
            quantity=quote.quantity,
            longest_side_mm=float(quote.longest_side_mm) if quote.longest_side_mm is not None else None,
            rush=quote.rush,
            tier=quote.tier,
            stones=[Stone.model_validate(stone) for stone in quote.stones],
            engraving=Engraving.model_validate(quote.engraving) if quote.engraving is not None else None,
            price=Money.of(quote.total, quote.currency),
            unit_price=Money.of(quote.unit_price, quote.currency),
            breakdown=[QuoteLine.of(line) for line in quote.lines],
            levers=[Lever.of(lever, quote.currency) for lever in quote.levers] if quote.levers is not None else None,
            rate_card=QuotedRates(version=quote.rate_card_id, name=quote.rate_card_name),
            kernel_version=quote.kernel_version,
            created_at=quote.created_at,
            valid_until=quote.valid_until,
            findings=[Finding.of(finding) for finding in quote.findings],
            superseded_by=quote.superseded_by,
        )


class PendingQuote(Shape):
    """A quote whose model is still being measured: ask for it again after `Retry-After` seconds."""

    quote_id: UUID
    status: Literal["pending"] = "pending"
    progress: Waiting

    @classmethod
    def of(cls, quote: caller_quotes.PendingQuote) -> Self:
        """As it stands."""
        return cls(quote_id=quote.quote_id, progress=Waiting.of(quote.progress))

"""Shapes every answer once: what these models say is what is sent, and what `/openapi.json` promises."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from mes.callers.idempotency import Answer
from mes.lists.caller_orders import CallerOrder, OrderedItem
from mes.models.uploads import UploadedModel
from mes.orders import model as order_model
from mes.orders.life import Status
from mes.pricing import caller_quotes, findings
from mes.pricing.cost_model import Line
from mes.pricing.options import Engraving, Stone

Amount = Annotated[str, Field(pattern=r"^-?\d+\.\d{2}$", examples=["129.40"])]
Number = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?(E[+-]?\d+)?$", examples=["3.1415"])]


class Shape(BaseModel):
    """A part of an answer; further members may come with time, so clients should ignore what they don't know."""

    model_config = ConfigDict(frozen=True)

    def answer(self, status: int = 200, **headers: str) -> Answer:
        """This as the answer to a request; `_` in a header's name stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status, {"content-type": "application/json", **named}, self.model_dump_json())


class Money(Shape):
    """An amount as decimal text, so that no reader turns it into a binary fraction."""

    amount: Amount
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$", examples=["USD"])]

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> Self:
        """To the cent."""
        return cls(amount=f"{amount:.2f}", currency=currency)


class Finding(Shape):
    """Something doubtful about a model; with an `error`, its price is a guess and an order waits for a person."""

    kind: str
    severity: findings.Severity
    message: str
    advice: str

    @classmethod
    def of(cls, finding: findings.Finding) -> Self:
        """As found."""
        return cls(kind=finding.kind, severity=finding.severity, message=finding.message, advice=finding.advice)


class Geometry(Shape):
    """What a model measures at its own size, in millimetres."""

    kernel_version: int
    triangles: int
    volume_mm3: float
    area_mm2: float
    extents_mm: Annotated[list[float], Field(min_length=3, max_length=3, description="Size in x, y and z.")]
    bodies: int
    closed: bool
    open_edges: int
    facing: Literal["outward", "inward", "mixed"]
    unit: Annotated[str | None, Field(description="The unit that the file states, if it states one.")]


class UploadAnswer(Shape):
    """A model that is stored and measured."""

    model_id: Annotated[str, Field(description="SHA-256 of the file's bytes.", pattern="^[0-9a-f]{64}$")]
    bytes: int
    format: Literal["stl", "obj", "ply", "3mf"]
    findings: list[Finding]

    @classmethod
    def of(cls, model: UploadedModel) -> Self:
        """As stored."""
        found = [Finding.of(finding) for finding in model.findings]
        return cls.model_validate(
            {"model_id": model.model_id, "bytes": model.bytes, "format": model.format, "findings": found}
        )


class Model(UploadAnswer):
    """A model with its measures."""

    geometry: Geometry

    @classmethod
    def of(cls, model: UploadedModel) -> Self:
        """As stored."""
        said = UploadAnswer.of(model).model_dump()
        measures = {"kernel_version": model.kernel_version, **model.geometry.as_dict()}
        return cls.model_validate(said | {"geometry": measures})


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


class Customer(Shape):
    """Who buys, by the caller's own number."""

    external_id: str
    name: str | None
    tier: str


class OrderItem(Shape):
    """One line of an order; `price` is for all pieces, null until it is known."""

    line: int
    model_id: str
    material: str
    finish: str
    quantity: int
    longest_side_mm: float | None
    stones: list[Stone]
    engraving: Engraving | None
    quote_id: UUID | None
    price: Money | None

    @classmethod
    def of(cls, item: OrderedItem, currency: str) -> Self:
        """As stored."""
        return cls(
            line=item.line,
            model_id=item.model_id,
            material=item.material,
            finish=item.finish,
            quantity=item.quantity,
            longest_side_mm=item.longest_side_mm,
            stones=[Stone.model_validate(stone) for stone in item.stones],
            engraving=Engraving.model_validate(item.engraving) if item.engraving is not None else None,
            quote_id=item.quote_id,
            price=Money.of(item.total, currency) if item.total is not None else None,
        )


class Order(Shape):
    """An order as it stands; `version` counts its events."""

    order_id: UUID
    source: str
    external_id: str
    status: Status
    status_since: datetime
    version: Annotated[int, Field(ge=1)]
    held: Annotated[bool, Field(description="Stopped until a person releases it; it may still be cancelled.")]
    hold_reason: str | None
    placed_at: datetime
    due_at: datetime | None
    rush: bool
    customer: Customer
    items: list[OrderItem]
    total: Annotated[Money | None, Field(description="Sum of the items' prices; null while one is missing.")]
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, order: CallerOrder) -> Self:
        """As stored."""
        return cls(
            order_id=order.order_id,
            source=order.source,
            external_id=order.external_id,
            status=order.status,
            status_since=order.status_since,
            version=order.version,
            held=order.held_since is not None,
            hold_reason=order.hold_reason,
            placed_at=order.placed_at,
            due_at=order.due_at,
            rush=order.rush,
            customer=Customer(external_id=order.customer_external_id, name=order.customer_name, tier=order.tier),
            items=[OrderItem.of(item, order.currency) for item in order.items],
            total=Money.of(order.total, order.currency) if order.total is not None else None,
            created_at=order.created_at,
            updated_at=order.changed_at,
        )


class OrderPage(Shape):
    """Orders by their last change, oldest first."""

    orders: list[Order]
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor` for what follows; null at the end.")]


class Event(Shape):
    """A fact about an order; `sequence` is the order's version after it."""

    sequence: Annotated[int, Field(ge=1)]
    type: Annotated[str, Field(description="The status moved to, or `held`, `released`, `edited`, `repriced`, ...")]
    occurred_at: datetime
    recorded_at: datetime
    system: Annotated[str, Field(description="`shop`, `crm`, `mes`, or `admin` in place of any.")]
    actor: str
    reason: str | None
    data: dict[str, Any] | None
    live: Annotated[bool, Field(description="False for history, which was not told to other systems.")]
    inferred: Annotated[bool, Field(description="No source reported it; an order's life demands it.")]
    late: Annotated[bool, Field(description="Arrived after the order had moved on.")]

    @classmethod
    def of(cls, event: order_model.Event) -> Self:
        """As recorded."""
        return cls.model_validate(event, from_attributes=True)


class EventList(Shape):
    """An order's history, in sequence and without gaps."""

    events: list[Event]


class Fault(Shape):
    """One thing that is wrong with a request, and where."""

    pointer: Annotated[str | None, Field(description="JSON pointer (RFC 6901) into the body.")] = None
    parameter: Annotated[str | None, Field(description="Name of the query's parameter.")] = None
    detail: str


class Problem(Shape):
    """What went wrong (RFC 9457); `code` is for programs and never changes its meaning, `detail` is for people."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    code: Annotated[str, Field(pattern="^[a-z0-9_]+$")]
    instance: Annotated[str, Field(description="Id of the request; tell it to us when you need help.")]
    errors: list[Fault] = []


class Check(Shape):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


class HealthReport(Shape):
    """What was looked at, and whether all of it is well."""

    ok: bool
    checks: list[Check]

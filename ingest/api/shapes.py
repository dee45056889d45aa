"""Shapes the answers about orders, their history, and what is wrong."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import ConfigDict, Field

from ingest.api.shape import Money, Shape
from mes.callers.model import Caller
from mes.lists.caller_orders import CallerOrder, OrderedItem
from mes.orders import model as order_model
from mes.orders.life import Status
from mes.orders.new_order import NewItem, NewOrder
from mes.orders.placing import Added
from mes.pricing.options import Engraving, Stone


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
    def just_placed(cls, item: NewItem) -> Self:
        """As it was ordered; it has no price yet."""
        return cls(
            line=item.line,
            model_id=item.model_id,
            material=item.material,
            finish=item.finish,
            quantity=item.quantity,
            longest_side_mm=item.longest_side_mm,
            stones=list(item.stones),
            engraving=item.engraving,
            quote_id=item.quote_id,
            price=None,
        )

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
    def just_placed(cls, caller: Caller, new: NewOrder, order_id: UUID, added: Added) -> Self:
        """As `of` would show it, without a look: what was said is what was written."""
        return cls(
            order_id=order_id,
            source=caller.name,
            external_id=new.external_id,
            status=Status.SUBMITTED,
            status_since=added.status_since,
            version=1,
            held=False,
            hold_reason=None,
            placed_at=added.placed_at,
            due_at=new.due_at,
            rush=new.rush,
            customer=Customer(external_id=new.customer.external_id, name=added.customer_name, tier=added.tier),
            items=[OrderItem.just_placed(item) for item in sorted(new.items, key=lambda item: item.line)],
            total=None,
            created_at=added.created_at,
            updated_at=added.changed_at,
        )

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
    errors: Annotated[list[Fault], Field(default_factory=list)]


class Check(Shape):
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


class HealthReport(Shape):
    """What was looked at, and whether all of it is well."""

    ok: bool
    checks: list[Check]

"""Shapes events as they are told to other systems: CloudEvents 1.0."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field

from ingest.api.shape import Shape
from mes.orders.life import Status


class ToldOrder(Shape):
    """Which order it is about: by our id, and by its source and number there."""

    order_id: UUID
    source: str
    external_id: str


class EventData(Shape):
    """How the order stands after the event; what is not known is left out."""

    model_config = ConfigDict(frozen=True, extra="allow")

    order: ToldOrder
    status: Status
    version: Annotated[int, Field(ge=1)]
    held: bool
    system: Annotated[str, Field(description="Who did it: `shop`, `crm`, `mes`, or `admin` in place of any.")]
    actor: str
    reason: str | None = None
    details: dict[str, Any] | None = None


class CloudEvent(Shape):
    """An event; `subject` is the order's id, `sequence` its version after the event."""

    specversion: Literal["1.0"]
    id: Annotated[str, Field(description="Unique: whoever has seen it may leave out what comes with it again.")]
    type: Annotated[str, Field(pattern=r"^mes\.order\.[a-z_]+\.v1$", examples=["mes.order.shipped.v1"])]
    source: Literal["/mes"]
    subject: UUID
    time: datetime
    datacontenttype: Literal["application/json"]
    sequence: Annotated[str, Field(pattern=r"^[1-9]\d*$")]
    traceparent: Annotated[
        str | None, Field(description="W3C Trace Context of the work that made it, for your own traces to go on from.")
    ] = None
    data: EventData


class FeedPage(Shape):
    """Events in the order in which they became known."""

    events: list[CloudEvent]
    next_after: Annotated[str, Field(description="Give it as `after` for what follows; keep it to ask again later.")]

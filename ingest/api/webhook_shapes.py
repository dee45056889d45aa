"""Shapes what is asked and answered about webhooks."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from ingest.api.shape import Shape
from mes.events.webhooks.addresses import LONGEST_URL
from mes.events.webhooks.delivery_log import Delivery
from mes.events.webhooks.endpoints import Endpoint
from mes.pricing.options import Part

EventType = Annotated[str, StringConstraints(pattern=r"^mes\.order\.[a-z_]+\.v1$", max_length=100)]


class NewWebhook(Part):
    """An address to call; without `event_types`, of all events."""

    model_config = ConfigDict(title="NewWebhook")

    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL)]
    event_types: Annotated[tuple[EventType, ...], Field(min_length=1, max_length=50)] | None = None


class Webhook(Shape):
    """An address that is called; a disabled one is not."""

    webhook_id: UUID
    url: str
    event_types: list[str] | None
    created_at: datetime
    disabled_at: datetime | None
    disabled_reason: str | None

    @classmethod
    def of(cls, endpoint: Endpoint) -> Self:
        """As kept."""
        return cls(
            webhook_id=endpoint.endpoint_id,
            url=endpoint.url,
            event_types=list(endpoint.event_types) if endpoint.event_types is not None else None,
            created_at=endpoint.created_at,
            disabled_at=endpoint.disabled_at,
            disabled_reason=endpoint.disabled_reason,
        )


class CreatedWebhook(Webhook):
    """A new webhook with its secret, which is shown this once."""

    secret: Annotated[str, Field(pattern="^whsec_", description="Verify calls with it, as Standard Webhooks has it.")]


class WebhookList(Shape):
    """Your webhooks, oldest first."""

    webhooks: list[Webhook]


class WebhookSecret(Shape):
    """A new secret, which is shown this once; until `old_used_until`, calls are signed with the old one, too."""

    secret: Annotated[str, Field(pattern="^whsec_")]
    old_used_until: datetime


class WebhookDelivery(Shape):
    """An event that a webhook is told of; `last_*` are of the last attempt."""

    delivery_id: int
    order_id: UUID
    sequence: Annotated[int, Field(ge=1)]
    event_type: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: Annotated[int, Field(ge=0)]
    next_at: Annotated[
        datetime | None,
        Field(description="When it is tried; null while an earlier event of the order is not delivered."),
    ]
    created_at: datetime
    finished_at: datetime | None
    last_at: datetime | None
    last_status: int | None
    last_error: str | None
    last_duration_ms: float | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """As kept."""
        return cls.model_validate(delivery, from_attributes=True)


class DeliveryPage(Shape):
    """Deliveries, the newest first."""

    deliveries: list[WebhookDelivery]
    next_cursor: Annotated[str | None, Field(description="Give it as `cursor` for what follows; null at the end.")]

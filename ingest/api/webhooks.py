"""Lets callers be told of events by calls to an address of theirs: `/v1/webhooks`."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import examples, openapi, problems, webhook_shapes
from ingest.api.bodies import Body, parse, parse_query, receive_json
from ingest.api.calls import Called, as_id
from ingest.api.errors import BadCursor, InvalidRequest
from ingest.api.webhook_shapes import NewWebhook
from mes.callers.idempotency import Answer
from mes.callers.model import Caller
from mes.events.webhooks import delivery_log, endpoints
from mes.events.webhooks.addresses import BadWebhookUrl
from mes.events.webhooks.deliveries import NoSuchDelivery
from mes.events.webhooks.endpoints import NoSuchWebhook, TooManyWebhooks

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])

WebhookId = Annotated[
    str,
    Path(
        description="From `POST /v1/webhooks` or the list.",
        openapi_examples={"example": {"value": examples.WEBHOOK_ID}},
        json_schema_extra={"format": "uuid"},
    ),
]
DeliveryId = Annotated[
    str, Path(description="From the list of deliveries.", openapi_examples={"example": {"value": "417"}})
]
JsonBody = Annotated[Body, Depends(receive_json)]
_LAST_ID = 2**63 - 1


class DeliveryQuery(BaseModel):
    """Which deliveries."""

    model_config = ConfigDict(extra="forbid")

    state: Annotated[
        Literal["waiting", "delivered", "failed"] | None, Field(description="Only deliveries in this state.")
    ] = None
    cursor: Annotated[
        str | None, Field(max_length=20, description="`next_cursor` of the page before, of the same webhook.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=200, description="Deliveries per page.")] = 50


@router.post(
    "",
    operation_id="createWebhook",
    status_code=201,
    summary="Be told of events",
    description="From now on, every event of the orders that you may see is sent to `url` by a POST with a CloudEvent "
    "as its body, signed as Standard Webhooks has it: verify it with the secret of this answer, which is shown once. "
    "Answer with any 2xx within 15 s. Else the event is sent again after 5 s, 5 min, 30 min, 2, 5, 10, 14, 20 and "
    "24 h; an order's events come one after another, so later ones wait for it. 410 disables the webhook. The same "
    "event may come twice: know it by its `webhook-id`.",
    responses={
        201: openapi.json_answer(
            webhook_shapes.CreatedWebhook,
            "You will be told.",
            examples.CREATED_WEBHOOK,
            Location=openapi.LOCATION,
            Idempotency_Replayed=openapi.REPLAYED,
        ),
        **openapi.refusals(
            *openapi.ANYBODY, *openapi.JSON_BODY, *openapi.KEYED, BadWebhookUrl, TooManyWebhooks, keyed=True
        ),
    },
    openapi_extra={
        "parameters": [openapi.KEY_PARAMETER],
        **openapi.json_body(NewWebhook, all_events=examples.NEW_WEBHOOK, some_events=examples.NARROW_WEBHOOK),
    },
)
def create_webhook(call: Called, body: JsonBody) -> Response:
    """In the request's one transaction, with its answer."""

    def work(conn: Connection, caller: Caller, content: bytes) -> Answer:
        wanted = parse(NewWebhook, content)
        loopback = call.backend.settings.webhook_loopback
        made = endpoints.create(conn, caller, wanted.url, wanted.event_types, loopback=loopback)
        shown = webhook_shapes.Webhook.of(made.endpoint).model_dump()
        created = webhook_shapes.CreatedWebhook(**shown, secret=made.secret)
        return created.answer(201, location=f"/v1/webhooks/{made.endpoint.endpoint_id}")

    return call.once(body, work)


@router.get(
    "",
    operation_id="listWebhooks",
    summary="List your webhooks",
    description="All of them, without their secrets.",
    responses={
        200: openapi.json_answer(webhook_shapes.WebhookList, "Your webhooks.", examples.WEBHOOK_LIST),
        **openapi.refusals(*openapi.ANYBODY),
    },
)
def list_webhooks(call: Called) -> Response:
    """There are twenty at most."""
    with call.transaction() as (conn, caller):
        found = endpoints.every(conn, caller)
    shown = [webhook_shapes.Webhook.of(endpoint) for endpoint in found]
    return problems.respond(webhook_shapes.WebhookList(webhooks=shown).answer())


@router.get(
    "/{webhook_id}",
    operation_id="getWebhook",
    summary="Look at a webhook",
    description="Whether it is enabled, and why not.",
    responses={
        200: openapi.json_answer(webhook_shapes.Webhook, "The webhook.", examples.WEBHOOK),
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook),
    },
)
def get_webhook(call: Called, webhook_id: WebhookId) -> Response:
    """Another's webhook is as good as none."""
    with call.transaction() as (conn, caller):
        endpoint = endpoints.get(conn, caller, as_id(webhook_id, NoSuchWebhook))
    return problems.respond(webhook_shapes.Webhook.of(endpoint).answer())


@router.delete(
    "/{webhook_id}",
    operation_id="deleteWebhook",
    status_code=204,
    summary="End a webhook",
    description="It is not called any more, and what waits for it is forgotten.",
    responses={
        204: {"description": "Ended.", "headers": {"X-Request-Id": openapi.REQUEST_ID_HEADER}},
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook),
    },
)
def delete_webhook(call: Called, webhook_id: WebhookId) -> Response:
    """Calls that are under way may still arrive."""
    with call.transaction() as (conn, caller):
        endpoints.delete(conn, caller, as_id(webhook_id, NoSuchWebhook))
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/secret",
    operation_id="changeWebhookSecret",
    status_code=201,
    summary="Change a webhook's secret",
    description="Makes a new secret. For a day, calls carry a signature by the old one as well.",
    responses={
        201: openapi.json_answer(webhook_shapes.WebhookSecret, "The new secret.", examples.WEBHOOK_SECRET),
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook),
    },
)
def change_secret(call: Called, webhook_id: WebhookId) -> Response:
    """Changed twice within a day, the first of the three is used no more."""
    clock = call.backend.clock
    with call.transaction() as (conn, caller):
        secret = endpoints.change_secret(conn, caller, as_id(webhook_id, NoSuchWebhook), clock=clock)
    made = webhook_shapes.WebhookSecret(secret=secret, old_used_until=clock() + endpoints.OLD_SECRET_USED)
    return problems.respond(made.answer(201))


@router.post(
    "/{webhook_id}/enable",
    operation_id="enableWebhook",
    summary="Enable a webhook again",
    description="What waited for it is sent now; what happened while it was disabled is in `GET /v1/events`.",
    responses={
        200: openapi.json_answer(webhook_shapes.Webhook, "Enabled.", examples.WEBHOOK),
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook),
    },
)
def enable_webhook(call: Called, webhook_id: WebhookId) -> Response:
    """An enabled one stays so."""
    with call.transaction() as (conn, caller):
        endpoint = endpoints.enable(conn, caller, as_id(webhook_id, NoSuchWebhook))
    return problems.respond(webhook_shapes.Webhook.of(endpoint).answer())


@router.get(
    "/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    summary="Look at what was sent",
    description="Every event that the webhook was to be told of in the last 30 days, the newest first, with what came "
    "of the last attempt.",
    responses={
        200: openapi.json_answer(webhook_shapes.DeliveryPage, "A page of deliveries.", examples.DELIVERY_PAGE),
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook, BadCursor, InvalidRequest),
    },
    openapi_extra=openapi.query_parameters(DeliveryQuery, state="failed", limit=50),
)
def list_deliveries(request: Request, call: Called, webhook_id: WebhookId) -> Response:
    """Paged by the events' order."""
    with call.transaction() as (conn, caller):
        endpoint_id = as_id(webhook_id, NoSuchWebhook)
        given = request.query_params
        query = parse_query(DeliveryQuery, {name: given.getlist(name)[-1] for name in given})
        before = _number(query.cursor, BadCursor) if query.cursor is not None else None
        found = delivery_log.page(conn, caller, endpoint_id, state=query.state, before=before, limit=query.limit + 1)
    shown = found[: query.limit]
    page = webhook_shapes.DeliveryPage(
        deliveries=[webhook_shapes.WebhookDelivery.of(each) for each in shown],
        next_cursor=str(shown[-1].delivery_id) if len(found) > query.limit else None,
    )
    return problems.respond(page.answer())


@router.post(
    "/{webhook_id}/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver",
    status_code=202,
    summary="Send an event again",
    description="At once, whatever became of it; with the same `webhook-id`.",
    responses={
        202: openapi.json_answer(webhook_shapes.WebhookDelivery, "It will be sent.", examples.DELIVERY),
        **openapi.refusals(*openapi.ANYBODY, NoSuchWebhook, NoSuchDelivery),
    },
)
def redeliver(call: Called, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    """By whichever worker is first."""
    with call.transaction() as (conn, caller):
        endpoint_id = as_id(webhook_id, NoSuchWebhook)
        endpoints.get(conn, caller, endpoint_id)
        again = delivery_log.redeliver(conn, caller, endpoint_id, _number(delivery_id, NoSuchDelivery))
    return problems.respond(webhook_shapes.WebhookDelivery.of(again).answer(202))


def _number(given: str, fault: type[BadCursor] | type[NoSuchDelivery]) -> int:
    if not (given.isascii() and given.isdecimal() and int(given) <= _LAST_ID):
        raise fault
    return int(given)

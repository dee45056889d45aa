"""Places orders, shows and moves them: `/v1/orders`."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Security
from pydantic import ConfigDict, Field
from sqlalchemy import Connection, text
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import examples, openapi, order_queries, problems, shapes
from ingest.api.bodies import Body, parse, receive_json
from ingest.api.calls import Called, as_id, bearer, called
from ingest.api.direct_route import DirectRoute
from ingest.api.errors import BadCursor, InvalidRequest
from ingest.api.gathering import Gathering
from ingest.api.together import Asked, Outcome, Together
from mes.callers.idempotency import Answer
from mes.callers.model import Caller, NotAuthenticated
from mes.errors import MesError
from mes.lists import caller_orders
from mes.models.errors import NoSuchModel
from mes.models.pending import ModelPending
from mes.observability import metrics
from mes.orders import placing_many, repository, service
from mes.orders.life import Status
from mes.orders.model import IllegalTransition, NoSuchOrder, OrderHeld, ReasonMissing, VersionConflict
from mes.orders.new_order import NewOrder
from mes.orders.placing import ExternalIdTaken, Placed, PlacedInFuture, QuotePending, UnusableQuote
from mes.pricing.options import Part

router = APIRouter(prefix="/v1/orders", tags=["orders"])
placing_router = APIRouter(prefix="/v1/orders", tags=["orders"], route_class=DirectRoute)
"""Placing one order; it is looked through first, since nothing is asked as often."""

OrderId = Annotated[
    str,
    Path(
        description="From `POST /v1/orders` or a list.",
        openapi_examples={"example": {"value": examples.ORDER_ID}},
        json_schema_extra={"format": "uuid"},
    ),
]
JsonBody = Annotated[Body, Depends(receive_json)]


class Transition(Part):
    """A move that is asked for; with `expected_version` it is made only if nobody changed the order meanwhile."""

    model_config = ConfigDict(title="Transition")

    to: Status
    expected_version: Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)] | None = None
    reason: Annotated[str, Field(max_length=1000)] | None = None


@placing_router.post(
    "",
    operation_id="placeOrder",
    dependencies=[Security(bearer)],
    status_code=201,
    summary="Place an order",
    description="Creates an order, SUBMITTED at version 1, to be priced at once. `external_id` is your number of it, "
    "unique among yours for ever: the same content again answers 200 with the order that is there, other content 409. "
    "All of the order is taken or nothing is. An item that names a valid quote for the same thing costs what it says.",
    responses={
        201: openapi.json_answer(
            shapes.Order,
            "Placed.",
            examples.ORDER,
            Location=openapi.LOCATION,
            Idempotency_Replayed=openapi.REPLAYED,
        ),
        200: openapi.json_answer(
            shapes.Order,
            "You have placed this order before; this is how it stands.",
            examples.PRICED_ORDER,
            Location=openapi.LOCATION,
            Idempotency_Replayed=openapi.REPLAYED,
        ),
        **openapi.refusals(
            *openapi.ANYBODY,
            *openapi.JSON_BODY,
            *openapi.KEYED,
            ExternalIdTaken,
            NoSuchModel,
            ModelPending,
            UnusableQuote,
            QuotePending,
            PlacedInFuture,
            keyed=True,
        ),
    },
    openapi_extra={
        "parameters": [openapi.KEY_PARAMETER],
        **openapi.json_body(NewOrder, everything=examples.NEW_ORDER, least=examples.SMALL_ORDER),
    },
)
async def place_order(request: Request) -> Response:
    """With all that are placed at this moment, in one transaction with their answers."""
    call = await called(request, await bearer(request))
    body = await receive_json(request)
    if call.key is None:
        raise NotAuthenticated
    gathered: Gathering[Asked, Response | MesError] = request.app.state.placing
    answer = await gathered(Asked(call, body))
    if isinstance(answer, MesError):
        raise answer
    return answer


def _place_all(conn: Connection, caller: Caller, asked: Sequence[Asked]) -> Sequence[Outcome]:
    """Place the orders that a caller sent at the same time; for `together`."""
    read = [_read(each.body.read()) for each in asked]
    orders = {place: order for place, order in enumerate(read) if isinstance(order, NewOrder)}
    # by number, as everybody else does it: who takes locks in one order waits for nobody who waits for him
    places = sorted(orders, key=lambda place: orders[place].external_id)
    results = placing_many.place_many(
        conn,
        caller,
        [orders[place] for place in places],
        causes=[asked[place].cause for place in places],
        clock=asked[0].call.backend.clock,
    )
    outcomes: dict[int, Outcome] = {place: order for place, order in enumerate(read) if isinstance(order, MesError)}
    for place, result in zip(places, results, strict=True):
        if isinstance(result, Placed):
            order_id = asked[place].call.request.state.order_id = str(result.order_id)
            outcomes[place] = _placed(conn, caller, orders[place], result, location=f"/v1/orders/{order_id}")
        else:
            outcomes[place] = result
    return [outcomes[place] for place in range(len(asked))]


def _count_placed(caller: Caller, outcomes: Sequence[Outcome]) -> None:
    new = sum(isinstance(each, Answer) and each.status == HTTPStatus.CREATED for each in outcomes)
    metrics.observe_placed(caller.name, new)


PLACING = Together(_place_all, _count_placed)
"""For `together.gathering`."""


def _placed(conn: Connection, caller: Caller, new: NewOrder, placed: Placed, *, location: str) -> Answer:
    if placed.added is not None:
        order = shapes.Order.just_placed(caller, new, placed.order_id, placed.added)
    else:
        order = shapes.Order.of(caller_orders.get(conn, caller, placed.order_id))
    return order.answer(201 if placed.created else 200, location=location)


def _read(content: bytes) -> NewOrder | MesError:
    try:
        return parse(NewOrder, content)
    except MesError as refused:
        return refused


@router.get(
    "",
    operation_id="listOrders",
    summary="List orders",
    description="The orders that you may see, by their last change, oldest first: an order that changes while you read "
    "comes again at the end. Follow `next_cursor` with the same filters until it is null; then ask again with "
    "`updated_since` set to the last `updated_at` that you saw. With `updated_since`, a change is listed as soon as no "
    "earlier one can come after it, so none is missed.",
    responses={
        200: openapi.json_answer(shapes.OrderPage, "A page of orders.", examples.ORDER_PAGE),
        **openapi.refusals(*openapi.ANYBODY, BadCursor, InvalidRequest),
    },
    openapi_extra=openapi.query_parameters(
        order_queries.OrderQuery,
        status=["SUBMITTED", "PRICE_CALCULATED"],
        updated_since="2026-11-22T08:15:00Z",
        external_id="B-10482",
        limit=50,
    ),
)
def list_orders(request: Request, call: Called) -> Response:
    """The query is read once we know who asks."""
    with call.transaction() as (conn, caller):
        query = order_queries.read(request.query_params)
        after = order_queries.read_cursor(query.cursor, query.filter, caller)
        page = caller_orders.page(conn, caller, query.filter, after=after, limit=query.limit)
    cursor = order_queries.write_cursor(page.after, query.filter, caller) if page.after is not None else None
    orders = [shapes.Order.of(order) for order in page.orders]
    return problems.respond(shapes.OrderPage(orders=orders, next_cursor=cursor).answer())


@router.get(
    "/{order_id}",
    operation_id="getOrder",
    summary="Look at an order",
    description="The order as it stands, with its items and, once it is priced, its total.",
    responses={
        200: openapi.json_answer(shapes.Order, "The order.", examples.PRICED_ORDER),
        **openapi.refusals(*openapi.ANYBODY, NoSuchOrder),
    },
)
def get_order(call: Called, order_id: OrderId) -> Response:
    """Another's order is as good as none."""
    with call.transaction() as (conn, caller):
        order = caller_orders.get(conn, caller, as_id(order_id, NoSuchOrder))
    return problems.respond(shapes.Order.of(order).answer())


@router.post(
    "/{order_id}/transitions",
    operation_id="moveOrder",
    summary="Move an order",
    description="Shops and partners may submit and cancel their orders, the CRM approves, closes and cancels, an "
    "administrator may make any legal move and must say why. A held order can only be cancelled. Give "
    "`expected_version` to move only what you have seen.",
    responses={
        200: openapi.json_answer(shapes.Order, "Moved.", examples.CANCELLED_ORDER),
        **openapi.refusals(
            *openapi.ANYBODY, *openapi.JSON_BODY, NoSuchOrder, IllegalTransition, VersionConflict, ReasonMissing
        ),
    },
    openapi_extra=openapi.json_body(Transition, careful=examples.TRANSITION, least=examples.SMALL_TRANSITION),
)
def move_order(call: Called, order_id: OrderId, body: JsonBody) -> Response:
    """Looking whose order it is and moving it are one transaction."""
    with call.transaction() as (conn, caller):
        wanted = parse(Transition, body.read())
        conn.execute(_SHORT_WAIT)
        moved = _move(call, conn, caller, as_id(order_id, NoSuchOrder), wanted)
    return problems.respond(moved)


@router.get(
    "/{order_id}/events",
    operation_id="listEvents",
    summary="Look at an order's history",
    description="All that has happened to the order, in sequence: event n made version n.",
    responses={
        200: openapi.json_answer(shapes.EventList, "The history.", examples.EVENTS),
        **openapi.refusals(*openapi.ANYBODY, NoSuchOrder),
    },
)
def list_events(call: Called, order_id: OrderId) -> Response:
    """Of orders that the caller may see."""
    with call.transaction() as (conn, caller):
        wanted = as_id(order_id, NoSuchOrder)
        caller_orders.require_visible(conn, caller, wanted)
        events = repository.events(conn, wanted)
    return problems.respond(shapes.EventList(events=[shapes.Event.of(event) for event in events]).answer())


# an import may hold an order for minutes: rather than a thread for each who waits, an answer that says so
_SHORT_WAIT = text("set local lock_timeout = '1s'")


def _move(call: Called, conn: Connection, caller: Caller, order_id: UUID, wanted: Transition) -> Answer:
    caller_orders.require_visible(conn, caller, order_id)
    try:
        service.transition(
            conn,
            order_id,
            wanted.to,
            caller.actor,
            reason=wanted.reason,
            expected_version=wanted.expected_version,
            clock=call.backend.clock,
        )
    except (IllegalTransition, OrderHeld, VersionConflict) as refused:
        order = repository.get(conn, order_id)  # locked by now, so this is what the refusal was about
        refused.facts |= {"status": order.status, "version": order.version}
        raise
    return shapes.Order.of(caller_orders.get(conn, caller, order_id)).answer()

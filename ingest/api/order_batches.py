"""Takes orders by the thousand: `POST /v1/orders:batch`, a line of JSON for each, answered by a line for each."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

import anyio
import structlog
from fastapi import APIRouter, Depends
from psycopg.errors import DeadlockDetected
from pydantic import Field
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ingest.api import errors, examples, openapi, problems
from ingest.api.bodies import Body, parse, receive
from ingest.api.calls import Call, Called
from ingest.api.errors import BodyTooLarge, UnsupportedMediaType
from ingest.api.overload import Overloaded
from ingest.api.shape import Shape
from ingest.api.shapes import Problem
from mes.callers.model import Caller
from mes.errors import MesError
from mes.observability import metrics, traces
from mes.orders import placing_many
from mes.orders.life import Status
from mes.orders.new_order import NewOrder
from mes.orders.placing import Placed

MEDIA_TYPE = "application/x-ndjson"
MAX_BYTES = 64 * 1024 * 1024
MAX_LINES = 10_000
# a transaction of some fifty milliseconds; with a third part under way neither we nor the database ever wait
_AT_ONCE, _PARTS_AT_ONCE = 250, 3
BODIES_AT_ONCE = 4  # each may take 64 MB while it comes in
_ATTEMPTS = 5  # when two parts write the same customers, one of them may have to begin again
_LINE_MAX_BYTES = 2 * 1024 * 1024

router = APIRouter(prefix="/v1/orders:batch", tags=["orders"])
log = structlog.get_logger(__name__)


class TooManyLines(MesError):
    """A batch has at most 10,000 lines: send the others in a further one."""

    code, http_status = "too_many_lines", 413


class TakenLine(Shape):
    """An order that was taken, or was there already with the same content."""

    line: Annotated[int, Field(ge=1)]
    status: Annotated[Literal[200, 201], Field(description="201: taken now; 200: it was there already.")]
    order_id: UUID
    external_id: str
    order_status: Annotated[Status | None, Field(description="Null of one that was there: ask for it.")]


class RefusedLine(Shape):
    """A line that was refused, with its problem as a call for it alone would have answered."""

    line: Annotated[int, Field(ge=1)]
    status: Annotated[int, Field(ge=400, le=599)]
    problem: Problem


@dataclass(frozen=True)
class Batch:
    """What a caller sent."""

    caller: Caller
    body: Body


async def receive_batch(request: Request, call: Called) -> Batch:
    """Receive the body, once we know who calls, and a few at a time; for `Depends`."""
    caller = await run_in_threadpool(call.require_key)
    receiving: anyio.Semaphore = request.app.state.batches
    try:
        receiving.acquire_nowait()
    except anyio.WouldBlock:
        raise Overloaded from None
    try:
        return Batch(caller, await receive(request, (MEDIA_TYPE, "application/jsonl"), MAX_BYTES))
    finally:
        receiving.release()


@router.post(
    "",
    operation_id="placeOrders",
    summary="Place many orders",
    description="One order per line, as `POST /v1/orders` takes it; up to 10,000 lines and 64 MB. The answer has a "
    "line for each, in order, as soon as it is decided: each order is taken or refused by itself. It needs no "
    "`Idempotency-Key`: after a broken connection send all of it again; an order that was taken answers 200.",
    responses={
        200: {
            "description": "A line for each line.",
            "headers": {"X-Request-Id": openapi.REQUEST_ID_HEADER},
            "content": {
                MEDIA_TYPE: {
                    "schema": {"type": "string"},
                    "examples": {"example": {"value": examples.BATCH_ANSWER}},
                }
            },
        },
        **openapi.refusals(*openapi.ANYBODY, BodyTooLarge, TooManyLines, UnsupportedMediaType),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                MEDIA_TYPE: {"schema": {"type": "string"}, "examples": {"two": {"value": examples.BATCH}}},
            },
        }
    },
)
def place_orders(call: Called, batch: Annotated[Batch, Depends(receive_batch)]) -> Response:
    """Each part of it in a transaction of its own."""
    call.backend.backlog.check()
    lines = batch.body.read().splitlines()
    if len(lines) > MAX_LINES:
        raise TooManyLines(lines=len(lines))
    return StreamingResponse(_answers(call, batch.caller, lines), media_type=MEDIA_TYPE)


def _answers(call: Call, caller: Caller, lines: Sequence[bytes]) -> Iterator[bytes]:
    """Some parts at a time: while the database works on one, another is read."""
    begins, cause = range(0, len(lines), _AT_ONCE), traces.traceparent()

    def answer_part(begin: int) -> str:
        with traces.span("answer a part of a batch", causes=[cause]):
            return "".join(_answer(call, caller, begin, lines[begin : begin + _AT_ONCE]))

    with ThreadPoolExecutor(_PARTS_AT_ONCE) as parts:
        for answer in parts.map(answer_part, begins):
            yield answer.encode()


def _answer(call: Call, caller: Caller, begin: int, lines: Sequence[bytes]) -> list[str]:
    instance = problems.instance_of(call.request)
    read = [_read(line) for line in lines]
    orders = [order for order in read if isinstance(order, NewOrder)]
    placed = iter(_place(call, caller, orders))
    answers = []
    for nth, order in enumerate(read, begin + 1):
        result = next(placed) if isinstance(order, NewOrder) else order
        if isinstance(result, Placed) and isinstance(order, NewOrder):
            answers.append(_taken(nth, order, result))
        elif isinstance(result, MesError):
            refused = problems.render(result, instance)
            answers.append(
                json.dumps({"line": nth, "status": refused.status, "problem": json.loads(refused.body)}) + "\n"
            )
    return answers


def _taken(nth: int, order: NewOrder, placed: Placed) -> str:
    line = TakenLine(
        line=nth,
        status=201 if placed.created else 200,
        order_id=placed.order_id,
        external_id=order.external_id,
        order_status=Status.SUBMITTED if placed.created else None,
    )
    return line.model_dump_json() + "\n"


def _place(call: Call, caller: Caller, orders: Sequence[NewOrder]) -> Sequence[placing_many.Result]:
    """By a transaction of their own: what was answered before stays, whatever comes."""
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            with call.backend.engine.begin() as conn:
                results = placing_many.place_many(conn, caller, orders, clock=call.backend.clock)
        except SQLAlchemyError as error:
            deadlocked = isinstance(error, DBAPIError) and isinstance(error.orig, DeadlockDetected)
            if not deadlocked or attempt == _ATTEMPTS:
                log.warning("a part of a batch was not taken", orders=len(orders), error=type(error).__name__)
                break
        else:
            metrics.observe_placed(caller.name, sum(isinstance(each, Placed) and each.created for each in results))
            return results
    return [errors.DatabaseUnavailable()] * len(orders)


def _read(line: bytes) -> NewOrder | MesError:
    if len(line) > _LINE_MAX_BYTES:
        return BodyTooLarge(most=_LINE_MAX_BYTES)
    try:
        return parse(NewOrder, line)
    except MesError as refused:
        return refused

"""Prices on request: `POST /v1/quotes` and `GET /v1/quotes/{quote_id}`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path
from sqlalchemy import Connection
from starlette.responses import Response

from ingest.api import examples, openapi, problems, quote_shapes
from ingest.api.bodies import Body, parse, receive_json
from ingest.api.calls import RETRY_AFTER_S, Called, as_id
from ingest.api.errors import QuoteFailed
from mes.callers.idempotency import Answer
from mes.callers.model import Caller
from mes.models import errors
from mes.models.errors import NoSuchModel
from mes.pricing.costs.cost_model import CannotPrice
from mes.pricing.quotes import caller_quotes
from mes.pricing.quotes.caller_quotes import NoRateCard, NoSuchQuote, PendingQuote, Quote, QuoteRequest

_REFUSED_MODELS = tuple(errors.BY_CODE.values())

router = APIRouter(prefix="/v1/quotes", tags=["quotes"])


@router.post(
    "",
    operation_id="requestQuote",
    summary="Ask for a price",
    description="Prices a model that you have uploaded, in a material and a finish. The price is frozen and valid "
    "until `valid_until`; an order whose item names it costs what it says. Answers 202 while the model is being "
    "measured, or when it must be measured anew: then ask at `Location`.",
    responses={
        200: openapi.json_answer(
            quote_shapes.Quote,
            "The price.",
            examples.QUOTE,
            Location=openapi.LOCATION,
            Idempotency_Replayed=openapi.REPLAYED,
        ),
        202: openapi.json_answer(
            quote_shapes.PendingQuote,
            "It will take longer.",
            examples.PENDING,
            Location=openapi.LOCATION,
            Retry_After=openapi.RETRY_AFTER,
            Idempotency_Replayed=openapi.REPLAYED,
        ),
        **openapi.refusals(
            *openapi.ANYBODY,
            *openapi.JSON_BODY,
            *openapi.KEYED,
            NoSuchModel,
            CannotPrice,
            NoRateCard,
            *_REFUSED_MODELS,
            keyed=True,
        ),
    },
    openapi_extra={
        "parameters": [openapi.KEY_PARAMETER],
        **openapi.json_body(QuoteRequest, everything=examples.QUOTE_REQUEST, least=examples.SMALL_QUOTE_REQUEST),
    },
)
def request_quote(call: Called, body: Annotated[Body, Depends(receive_json)]) -> Response:
    """In the request's one transaction, with its answer."""

    def work(conn: Connection, caller: Caller, content: bytes) -> Answer:
        asked = parse(QuoteRequest, content)
        return _answer(caller_quotes.request(conn, caller, asked, clock=call.backend.clock), asked_for=True)

    return call.once(body, work)


@router.get(
    "/{quote_id}",
    operation_id="getQuote",
    summary="Look at a price",
    description="The same quote, unchanged, for ever. While it is pending, the answer is 202; when no price came of "
    "it, 422 with the reason's code.",
    responses={
        200: openapi.json_answer(quote_shapes.Quote, "The price.", examples.QUOTE),
        202: openapi.json_answer(
            quote_shapes.PendingQuote,
            "Not priced yet.",
            examples.PENDING,
            Location=openapi.LOCATION,
            Retry_After=openapi.RETRY_AFTER,
        ),
        **openapi.refusals(*openapi.ANYBODY, NoSuchQuote, QuoteFailed),
    },
)
def get_quote(
    call: Called,
    quote_id: Annotated[
        str,
        Path(
            description="From the request for it.",
            openapi_examples={"example": {"value": examples.QUOTE_ID}},
            json_schema_extra={"format": "uuid"},
        ),
    ],
) -> Response:
    """Another's quote is as good as none."""
    with call.transaction() as (conn, caller):
        return problems.respond(_answer(caller_quotes.get(conn, caller, as_id(quote_id, NoSuchQuote))))


def _answer(quote: Quote | PendingQuote, *, asked_for: bool = False) -> Answer:
    location = f"/v1/quotes/{quote.quote_id}"
    if isinstance(quote, Quote):
        headers = {"location": location} if asked_for else {}
        return quote_shapes.Quote.of(quote).answer(200, **headers)
    if quote.failure is not None:
        raise QuoteFailed(quote.failure["detail"], quote_id=quote.quote_id, cause=quote.failure["code"])
    return quote_shapes.PendingQuote.of(quote).answer(202, location=location, retry_after=str(RETRY_AFTER_S))

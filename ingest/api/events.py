"""Hands out the feed of events: `/v1/events`."""

import base64
import json
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from ingest.api import event_shapes, examples, openapi, problems
from ingest.api.bodies import parse_query
from ingest.api.calls import Called
from ingest.api.errors import BadCursor, InvalidRequest
from mes.callers.model import Caller
from mes.events import feed

router = APIRouter(prefix="/v1/events", tags=["events"])

_LONGEST_CURSOR = 200
_LAST_POSITION = 2**63 - 1


class FeedQuery(BaseModel):
    """From where on, and how many."""

    model_config = ConfigDict(extra="forbid")

    after: Annotated[
        str | None,
        Field(max_length=_LONGEST_CURSOR, description="`next_after` of the page before; from the beginning without."),
    ] = None
    limit: Annotated[int, Field(ge=1, le=500, description="Events per page.")] = 100


@router.get(
    "",
    operation_id="readFeed",
    summary="Read the feed of events",
    description="All events of the orders that you may see, as CloudEvents 1.0, each once and an order's in sequence. "
    "Ask again and again with `after` set to the last `next_after`; none is skipped. A page that is not full has all "
    "there is at that moment. Whoever can take calls should rather have them by webhook.",
    responses={
        200: openapi.json_answer(event_shapes.FeedPage, "A page of events.", examples.FEED_PAGE),
        **openapi.refusals(*openapi.ANYBODY, BadCursor, InvalidRequest),
    },
    openapi_extra=openapi.query_parameters(FeedQuery, limit=100),
)
def read_feed(request: Request, call: Called) -> Response:
    """The query is read once we know who asks."""
    with call.transaction() as (conn, caller):
        given = request.query_params
        query = parse_query(FeedQuery, {name: given.getlist(name)[-1] for name in given})
        page = feed.page(conn, caller, after=_position(query.after, caller), limit=query.limit)
    answer = event_shapes.FeedPage.model_validate({"events": page.events, "next_after": _cursor(page.position, caller)})
    return problems.respond(answer.answer())


def _cursor(position: int, caller: Caller) -> str:
    """The position, as text without meaning for the caller; positions of all are no business of those who see some."""
    return base64.urlsafe_b64encode(json.dumps([_view(caller), position]).encode()).decode().rstrip("=")


def _position(cursor: str | None, caller: Caller) -> int:
    if cursor is None:
        return 0
    try:
        view, position = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise BadCursor from None
    if view != _view(caller) or not isinstance(position, int) or not 0 <= position <= _LAST_POSITION:
        raise BadCursor
    return position


def _view(caller: Caller) -> str | None:
    return None if caller.sees_all else caller.name

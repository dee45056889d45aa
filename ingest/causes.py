"""Finds what led to orders' last events, for spans to go on from; its failure is nobody's."""

from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from mes.events import outbox
from mes.observability import traces

log = structlog.get_logger(__name__)


def of_orders(database: Engine, order_ids: Sequence[UUID]) -> Sequence[str | None]:
    """The `traceparent` of each; none of a batch that is so large that its orders cannot be told apart in a trace."""
    if len(order_ids) > traces.MOST_LINKS or not traces.records():
        return ()
    try:
        with database.begin() as conn:
            return outbox.causes(conn, order_ids)
    except SQLAlchemyError as error:
        log.debug("what led to orders was not found", error=type(error).__name__)
        return ()

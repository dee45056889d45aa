"""Quotes that callers ask for: priced at once from what is known of the model, frozen, and theirs alone."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Connection, text

from mes.callers.model import Caller
from mes.clock import Clock, utc_now
from mes.db import direct
from mes.errors import MesError
from mes.jobs import queue
from mes.jobs.queue import Progress
from mes.models import pending
from mes.models.errors import NoSuchModel
from mes.orders.new_order import ModelId
from mes.pricing import geometry_store
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.geometry_store import StoredGeometry
from mes.pricing.options import ItemOptions, PieceOptions, Tier
from mes.pricing.quotes import frozen_quotes
from mes.pricing.quotes.frozen_quotes import Quote, Wish
from mes.pricing.rates import rate_store

__all__ = ["NoRateCard", "NoSuchQuote", "PendingQuote", "Quote", "QuoteRequest"]


class QuoteRequest(PieceOptions):
    """What a price is asked for; `tier` is the caller's usual one unless it is given."""

    model_id: ModelId
    rush: Annotated[bool, Field(strict=True)] = False
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class PendingQuote:
    """A price that takes longer, as its model is being measured. `failure` says why none came of it."""

    quote_id: UUID
    progress: Progress
    failure: dict[str, str] | None = None


class NoSuchQuote(MesError):
    """You have no quote with this id."""

    code: ClassVar[str] = "no_such_quote"
    http_status: ClassVar[int] = 404


class NoRateCard(MesError):
    """No rate card is valid now, so nothing can be priced; whoever runs the workshop must load one."""

    code: ClassVar[str] = "no_rate_card"
    http_status: ClassVar[int] = 503


# whose model it is, what is known of it, today's rates and an id: all that a quote begins with, in one step
_ASKED = text(f"""
    select
        uuidv7() as quote_id, geometry.kernel_version, cast(geometry.measures as text) as measures,
        ({rate_store.VALID_AT}) as rate_card_id,
        exists (select from ops.model_uploads where caller = :caller and model_id = :model_id) as uploaded
    from (values (1)) as always
    left join lateral (
        select kernel_version, measures from ops.geometries
        where model_id = :model_id order by kernel_version desc limit 1
    ) as geometry on true
""")
_LATER = text("""
    insert into ops.quote_requests (quote_id, caller, request, created_at)
    values (:quote_id, :caller, cast(:request as jsonb), :now)
""")
_PENDING = "select quote_id, caller, request, failure, created_at from ops.quote_requests where quote_id = :quote_id"


def request(conn: Connection, caller: Caller, asked: QuoteRequest, *, clock: Clock = utc_now) -> Quote | PendingQuote:
    """Price what is asked, in the caller's transaction; by a job, when the model must be measured first.

    Raises:
        NoSuchModel: the caller never uploaded this model.
        UnreadableModel: he did, and it turned out that it cannot be used.
        CannotPrice: the model or the options have no price; says which and why.
        NoRateCard: no rates are valid now.
    """
    now = clock()
    row = direct.fetch(conn, _ASKED, {"caller": caller.name, "model_id": asked.model_id, "at": now})
    if not row.uploaded and pending.get(conn, caller, asked.model_id) is None:
        raise NoSuchModel(model_id=asked.model_id)
    wish = Wish(caller.name, asked.model_id, _options(asked, caller))
    if not row.uploaded or row.kernel_version != KERNEL_VERSION:
        return _later(conn, row.quote_id, wish, now)
    stored = geometry_store.read(row.kernel_version, row.measures) if row.measures else None
    known, card_id = stored or _stored(conn, asked.model_id), _require(row.rate_card_id)
    return frozen_quotes.freeze(conn, wish, known, quote_id=row.quote_id, card_id=card_id, now=now)


def get(conn: Connection, caller: Caller, quote_id: UUID) -> Quote | PendingQuote:
    """A quote of the caller's or of his orders (or any, for one who sees all): the same for ever once it has its price.

    Raises:
        NoSuchQuote: there is none, or it is another's.
    """
    found = frozen_quotes.read(conn, caller, quote_id) or _pending(conn, caller, quote_id)
    if found is None:
        raise NoSuchQuote(quote_id=quote_id)
    return found


def complete(conn: Connection, quote_id: UUID, *, clock: Clock = utc_now) -> None:
    """Price a pending quote whose model has been measured by now, in the caller's transaction; done once.

    Raises:
        NoSuchModel: it has not been measured.
        CannotPrice, NoRateCard: as for `request`.
    """
    row = conn.execute(text(f"{_PENDING} and failure is null for update"), {"quote_id": quote_id}).one_or_none()
    if row is None:
        return
    wish = Wish(row.caller, row.request["model_id"], ItemOptions.model_validate(row.request["options"]))
    now = clock()
    known, card_id = _stored(conn, wish.model_id), _require(rate_store.id_valid_at(conn, now))
    frozen_quotes.freeze(conn, wish, known, quote_id=quote_id, card_id=card_id, now=now)
    conn.execute(text("delete from ops.quote_requests where quote_id = :quote_id"), {"quote_id": quote_id})


def fail(conn: Connection, quote_id: UUID, error: MesError) -> None:
    """Keep why a pending quote gets no price, for whoever asks for it."""
    conn.execute(
        text("update ops.quote_requests set failure = cast(:failure as jsonb) where quote_id = :quote_id"),
        {"quote_id": quote_id, "failure": json.dumps({"code": error.code, "detail": error.message})},
    )


def require_usable(conn: Connection, quote_id: UUID) -> str | None:
    """The model that a pending quote waits for; None when it is pending no more.

    Raises:
        UnreadableModel: the model was refused since.
    """
    row = conn.execute(text(f"{_PENDING} and failure is null"), {"quote_id": quote_id}).one_or_none()
    if row is None:
        return None
    model_id: str = row.request["model_id"]
    pending.require_not_refused(conn, row.caller, model_id)
    return model_id


def _options(asked: QuoteRequest, caller: Caller) -> ItemOptions:
    said = asked.model_dump(exclude={"model_id", "tier"})
    return ItemOptions.model_validate(said | {"tier": asked.tier or caller.usual_tier})


def _require(card_id: str | None) -> str:
    if card_id is None:
        raise NoRateCard
    return card_id


def _stored(conn: Connection, model_id: str) -> StoredGeometry:
    stored = geometry_store.newest(conn, model_id)
    if stored is None:
        raise NoSuchModel(model_id=model_id)
    return stored


def _later(conn: Connection, quote_id: UUID, wish: Wish, now: datetime) -> PendingQuote:
    request = {"model_id": wish.model_id, "options": wish.options.model_dump(mode="json")}
    conn.execute(_LATER, {"quote_id": quote_id, "caller": wish.caller, "request": json.dumps(request), "now": now})
    queue.price_quote(conn, quote_id, wish.model_id)
    return PendingQuote(quote_id, _progress(conn, quote_id, wish.model_id, now))


def _pending(conn: Connection, caller: Caller, quote_id: UUID) -> PendingQuote | None:
    row = conn.execute(
        text(f"{_PENDING} and (caller = :caller or :sees_all)"),
        {"quote_id": quote_id, "caller": caller.name, "sees_all": caller.sees_all},
    ).one_or_none()
    if row is None:
        return None
    return PendingQuote(
        row.quote_id, _progress(conn, row.quote_id, row.request["model_id"], row.created_at), row.failure
    )


def _progress(conn: Connection, quote_id: UUID, model_id: str, since: datetime) -> Progress:
    return queue.progress(conn, {"quote_id": str(quote_id)}, model_id, since)

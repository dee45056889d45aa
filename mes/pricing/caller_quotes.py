"""Quotes that callers ask for: priced at once from what is known of the model, frozen, and theirs alone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Connection, text

from mes.callers.model import Caller
from mes.clock import Clock, utc_now
from mes.errors import MesError
from mes.jobs.names import PRICE_QUOTE, PRICING_QUEUE
from mes.models.errors import NoSuchModel
from mes.orders.new_order import ModelId
from mes.pricing import geometry_store, rate_store
from mes.pricing.cost_model import Line, Price, price_one
from mes.pricing.findings import Finding, of_geometry
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.geometry_store import StoredGeometry
from mes.pricing.options import ItemOptions, PieceOptions, Tier

_CENT = Decimal("0.01")


class QuoteRequest(PieceOptions):
    """What a price is asked for; `tier` is the caller's usual one unless it is given."""

    model_id: ModelId
    rush: Annotated[bool, Field(strict=True)] = False
    tier: Tier | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """A frozen price: `total` for all pieces, its lines, and what it was computed from."""

    quote_id: UUID
    model_id: str
    material: str
    finish: str
    quantity: int
    longest_side_mm: Decimal | None
    rush: bool
    tier: str
    stones: Sequence[dict[str, Any]]
    engraving: dict[str, Any] | None
    total: Decimal
    unit_price: Decimal
    currency: str
    lines: Sequence[Line]
    rate_card_id: str
    rate_card_name: str
    kernel_version: int
    created_at: datetime
    valid_until: datetime
    superseded_by: UUID | None
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True)
class PendingQuote:
    """A price that takes longer: its model is being measured anew. `failure` says why none came of it."""

    quote_id: UUID
    failure: dict[str, str] | None = None


class NoSuchQuote(MesError):
    """You have no quote with this id."""

    code: ClassVar[str] = "no_such_quote"
    http_status: ClassVar[int] = 404


class NoRateCard(MesError):
    """No rate card is valid now, so nothing can be priced; whoever runs the workshop must load one."""

    code: ClassVar[str] = "no_rate_card"
    http_status: ClassVar[int] = 503


def request(conn: Connection, caller: Caller, asked: QuoteRequest, *, clock: Clock = utc_now) -> Quote | PendingQuote:
    """Price what is asked, in the caller's transaction; by a job, when the model must be measured again first.

    Raises:
        NoSuchModel: the caller never uploaded this model.
        CannotPrice: the model or the options have no price; says which and why.
        NoRateCard: no rates are valid now.
    """
    if not _uploaded(conn, caller, asked.model_id):
        raise NoSuchModel(model_id=asked.model_id)
    stored = geometry_store.newest(conn, asked.model_id)
    if stored is None or stored.kernel_version != KERNEL_VERSION:
        return _later(conn, caller, asked)
    wish = _Wish(caller.name, asked.model_id, _options(asked, caller))
    return get(conn, caller, _freeze(conn, wish, stored, clock()))


def get(conn: Connection, caller: Caller, quote_id: UUID) -> Quote | PendingQuote:
    """A quote of the caller's or of his orders (or any, for one who sees all): the same for ever once it has its price.

    Raises:
        NoSuchQuote: there is none, or it is another's.
    """
    found = _quote(conn, caller, quote_id) or _pending(conn, caller, quote_id)
    if found is None:
        raise NoSuchQuote(quote_id=quote_id)
    return found


def complete(conn: Connection, quote_id: UUID, *, clock: Clock = utc_now) -> None:
    """Price a pending quote whose model has been measured by now, in the caller's transaction; done once.

    Raises:
        CannotPrice, NoRateCard: as for `request`.
    """
    row = conn.execute(
        text("""
            select caller, request from ops.quote_requests
            where quote_id = :quote_id and failure is null for update
        """),
        {"quote_id": quote_id},
    ).one_or_none()
    if row is None:
        return
    wish = _Wish(row.caller, row.request["model_id"], ItemOptions.model_validate(row.request["options"]))
    stored = geometry_store.newest(conn, wish.model_id)
    if stored is None:
        raise NoSuchModel(model_id=wish.model_id)
    _freeze(conn, wish, stored, clock(), quote_id=quote_id)
    conn.execute(text("delete from ops.quote_requests where quote_id = :quote_id"), {"quote_id": quote_id})


def fail(conn: Connection, quote_id: UUID, error: MesError) -> None:
    """Keep why a pending quote gets no price, for whoever asks for it."""
    conn.execute(
        text("update ops.quote_requests set failure = cast(:failure as jsonb) where quote_id = :quote_id"),
        {"quote_id": quote_id, "failure": json.dumps({"code": error.code, "detail": error.message})},
    )


def model_of(conn: Connection, quote_id: UUID) -> str | None:
    """The model that a pending quote waits for; None when it is pending no more."""
    found = conn.execute(
        text("""
            select request ->> 'model_id' as model_id from ops.quote_requests
            where quote_id = :quote_id and failure is null
        """),
        {"quote_id": quote_id},
    ).one_or_none()
    return found.model_id if found is not None else None


def _uploaded(conn: Connection, caller: Caller, model_id: str) -> bool:
    found = conn.execute(
        text("select from ops.model_uploads where caller = :caller and model_id = :model_id"),
        {"caller": caller.name, "model_id": model_id},
    )
    return found.first() is not None


def _options(asked: QuoteRequest, caller: Caller) -> ItemOptions:
    said = asked.model_dump(exclude={"model_id", "tier"})
    return ItemOptions.model_validate(said | {"tier": asked.tier or caller.usual_tier})


def _later(conn: Connection, caller: Caller, asked: QuoteRequest) -> PendingQuote:
    request = {"model_id": asked.model_id, "options": _options(asked, caller).model_dump(mode="json")}
    row = conn.execute(
        text("""
            with asked as (
                insert into ops.quote_requests (quote_id, caller, request)
                values (uuidv7(), :caller, cast(:request as jsonb))
                returning quote_id
            )
            select quote_id, procrastinate_defer_jobs_v1(array[row(
                cast(:queue as text), cast(:task as text), 0, 'quote:' || quote_id, null,
                jsonb_build_object('quote_id', quote_id), null
            )::procrastinate_job_to_defer_v1]) from asked
        """),
        {"caller": caller.name, "request": json.dumps(request), "queue": PRICING_QUEUE, "task": PRICE_QUOTE},
    ).one()
    return PendingQuote(row.quote_id)


# the same wish by newer rates or a newer kernel; by the same ones it costs the same, and replaces nothing
_REPLACE = text("""
    update ops.quotes set superseded_by = :quote_id
    where caller = :caller and model_id = :model_id and quote_id <> :quote_id and superseded_by is null
        and (rate_card_id, kernel_version) is distinct from (:rate_card_id, :kernel_version)
        and (material, finish, quantity, rush, tier) = (:material, :finish, :quantity, :rush, :tier)
        and longest_side_mm is not distinct from cast(:longest_side_mm as numeric(12, 4))
        and stones is not distinct from cast(:stones as jsonb)
        and engraving is not distinct from cast(:engraving as jsonb)
""")


@dataclass(frozen=True, slots=True)
class _Wish:
    """Whose wish for a price of what."""

    caller: str
    model_id: str
    options: ItemOptions


def _freeze(
    conn: Connection, wish: _Wish, stored: StoredGeometry, now: datetime, *, quote_id: UUID | None = None
) -> UUID:
    card_id = rate_store.id_valid_at(conn, now)
    if card_id is None:
        raise NoRateCard
    card = rate_store.kept(conn, card_id)
    values = _values(wish, price_one(stored.geometry, wish.options, card)) | {
        "quote_id": quote_id,
        "kernel_version": stored.kernel_version,
        "rate_card_id": card_id,
        "created_at": now,
        "valid_until": now + timedelta(days=card.terms.quote_valid_days),
    }
    frozen: UUID = conn.execute(
        text("""
            insert into ops.quotes (
                quote_id, caller, model_id, kernel_version, rate_card_id, material, finish, quantity, longest_side_mm,
                rush, tier, stones, engraving, total, currency, breakdown, valid_until, created_at
            ) values (
                coalesce(cast(:quote_id as uuid), uuidv7()), :caller, :model_id, :kernel_version, :rate_card_id,
                :material, :finish, :quantity, :longest_side_mm, :rush, :tier, cast(:stones as jsonb),
                cast(:engraving as jsonb), :total, :currency, cast(:breakdown as jsonb), :valid_until, :created_at
            ) returning quote_id
        """),
        values,
    ).scalar_one()
    conn.execute(_REPLACE, values | {"quote_id": frozen})
    return frozen


def _values(wish: _Wish, price: Price) -> dict[str, object]:
    said = wish.options.model_dump(mode="json")
    return {
        "caller": wish.caller,
        "model_id": wish.model_id,
        **{name: said[name] for name in ("material", "finish", "quantity", "longest_side_mm", "rush", "tier")},
        "stones": json.dumps(said["stones"]) if said["stones"] else None,
        "engraving": json.dumps(said["engraving"]) if said["engraving"] else None,
        "total": price.total,
        "currency": price.currency,
        "breakdown": json.dumps([asdict(line) for line in price.lines], default=str),
    }


def _quote(conn: Connection, caller: Caller, quote_id: UUID) -> Quote | None:
    row = conn.execute(
        text("""
            select quotes.*, rate_cards.name as rate_card_name from ops.quotes join ops.rate_cards using (rate_card_id)
            where quote_id = :quote_id and (quotes.caller = :caller or :sees_all or exists (
                select from ops.orders as own where own.order_id = quotes.order_id and own.source = :caller
            ))
        """),
        {"quote_id": quote_id, "caller": caller.name, "sees_all": caller.sees_all},
    ).one_or_none()
    if row is None:
        return None
    lines = [_line(line) for line in row.breakdown]
    stored = geometry_store.of_version(conn, row.model_id, row.kernel_version)
    return Quote(
        quote_id=row.quote_id,
        model_id=row.model_id,
        material=row.material,
        finish=row.finish,
        quantity=row.quantity,
        longest_side_mm=row.longest_side_mm,
        rush=row.rush,
        tier=row.tier,
        stones=row.stones or (),
        engraving=row.engraving,
        total=row.total,
        unit_price=(row.total / row.quantity).quantize(_CENT, ROUND_HALF_UP),
        currency=row.currency,
        lines=lines,
        rate_card_id=row.rate_card_id,
        rate_card_name=row.rate_card_name,
        kernel_version=row.kernel_version,
        created_at=row.created_at,
        valid_until=row.valid_until,
        superseded_by=row.superseded_by,
        findings=of_geometry(stored.geometry) if stored is not None else (),
    )


def _pending(conn: Connection, caller: Caller, quote_id: UUID) -> PendingQuote | None:
    row = conn.execute(
        text("""
            select quote_id, failure from ops.quote_requests
            where quote_id = :quote_id and (caller = :caller or :sees_all)
        """),
        {"quote_id": quote_id, "caller": caller.name, "sees_all": caller.sees_all},
    ).one_or_none()
    return PendingQuote(row.quote_id, row.failure) if row is not None else None


def _line(line: dict[str, str]) -> Line:
    numbers = {name: Decimal(line[name]) for name in ("quantity", "rate", "amount")}
    return Line(**(line | numbers))  # type: ignore[arg-type]

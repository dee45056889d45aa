"""Freezes the prices that callers ask for, and reads them back: the same for ever, whatever rates and kernels do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, text

from mes.callers.model import Caller
from mes.db import direct
from mes.pricing import geometry_store
from mes.pricing.costs.cost_model import Line
from mes.pricing.costs.levers import Lever, price_with_levers
from mes.pricing.findings import Finding, of_piece
from mes.pricing.geometry_store import StoredGeometry
from mes.pricing.options import ItemOptions
from mes.pricing.rates import rate_store

_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose wish for a price of what."""

    caller: str
    model_id: str
    options: ItemOptions


@dataclass(frozen=True, slots=True)
class Quote:
    """A frozen price: `total` for all pieces, its lines, and what it was computed from.

    `levers` is None where none were looked for.
    """

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
    levers: Sequence[Lever] | None
    rate_card_id: str
    rate_card_name: str
    kernel_version: int
    created_at: datetime
    valid_until: datetime
    superseded_by: UUID | None
    findings: Sequence[Finding]


# It replaces the same wish by other rates or another kernel; by the same ones it costs the same, and replaces nothing.
# Of those there may be thousands, which the two ranges of `ix_quotes_current_wishes` leave out.
_SAME_WISH = """
    select quote_id from ops.quotes
    where superseded_by is null and caller = :caller and model_id = :model_id
        and (material, finish, quantity) = (:material, :finish, :quantity) and (rush, tier) = (:rush, :tier)
        and longest_side_mm is not distinct from cast(:longest_side_mm as numeric(12, 4))
        and stones is not distinct from cast(:stones as jsonb)
        and engraving is not distinct from cast(:engraving as jsonb)
"""
_FREEZE = text(f"""
    with other as (
        {_SAME_WISH} and (rate_card_id, kernel_version) < (:rate_card_id, :kernel_version)
        union all
        {_SAME_WISH} and (rate_card_id, kernel_version) > (:rate_card_id, :kernel_version)
    ), replaced as (
        update ops.quotes set superseded_by = :quote_id
        where quote_id = any(array(select quote_id from other)) and superseded_by is null and quote_id <> :quote_id
    )
    insert into ops.quotes (
        quote_id, caller, model_id, kernel_version, rate_card_id, material, finish, quantity, longest_side_mm, rush,
        tier, stones, engraving, total, currency, breakdown, levers, valid_until, created_at
    ) values (
        :quote_id, :caller, :model_id, :kernel_version, :rate_card_id, :material, :finish, :quantity, :longest_side_mm,
        :rush, :tier, cast(:stones as jsonb), cast(:engraving as jsonb), :total, :currency, cast(:breakdown as jsonb),
        cast(:levers as jsonb), :valid_until, :created_at
    )
""")
_READ = text("""
    select quotes.*, rate_cards.name as rate_card_name from ops.quotes join ops.rate_cards using (rate_card_id)
    where quote_id = :quote_id and (quotes.caller = :caller or :sees_all or exists (
        select from ops.orders as own where own.order_id = quotes.order_id and own.source = :caller
    ))
""")


def freeze(
    conn: Connection, wish: Wish, stored: StoredGeometry, *, quote_id: UUID, card_id: str, now: datetime
) -> Quote:
    """Price a wish and keep it, in the caller's transaction; gives what `read` will.

    Args:
        conn: the transaction.
        wish: what is to be priced.
        stored: its model's measures.
        quote_id: of the quote that it becomes.
        card_id: the rates, which must be active.
        now: when the quote begins to be valid.

    Raises:
        CannotPrice: the model or the options have no price; says which and why.
    """
    card = rate_store.kept(conn, card_id)
    price, levers = price_with_levers(stored.geometry, wish.options, card)
    said = wish.options.model_dump(mode="json")
    terms = {name: said[name] for name in ("material", "finish", "quantity", "rush", "tier")}
    longest = said["longest_side_mm"]
    quote = Quote(
        quote_id=quote_id,
        model_id=wish.model_id,
        **terms,
        longest_side_mm=Decimal(str(longest)) if longest is not None else None,
        stones=said["stones"] or (),
        engraving=said["engraving"],
        total=price.total,
        unit_price=_each(price.total, said["quantity"]),
        currency=price.currency,
        lines=price.lines,
        levers=levers,
        rate_card_id=card_id,
        rate_card_name=card.name,
        kernel_version=stored.kernel_version,
        created_at=now,
        valid_until=now + timedelta(days=card.terms.quote_valid_days),
        superseded_by=None,
        findings=of_piece(stored.geometry, wish.options.material, longest),
    )
    direct.execute(conn, _FREEZE, _values(quote, wish.caller))
    return quote


def read(conn: Connection, caller: Caller, quote_id: UUID) -> Quote | None:
    """A quote that the caller may see; None when there is none."""
    values = {"quote_id": quote_id, "caller": caller.name, "sees_all": caller.sees_all}
    row = conn.execute(_READ, values).one_or_none()
    if row is None:
        return None
    stored = geometry_store.of_version(conn, row.model_id, row.kernel_version)
    longest = float(row.longest_side_mm) if row.longest_side_mm is not None else None
    columns = ("material", "finish", "quantity", "longest_side_mm", "rush", "tier", "engraving", "total", "currency")
    names = ("rate_card_id", "rate_card_name", "kernel_version", "created_at", "valid_until", "superseded_by")
    return Quote(
        quote_id=row.quote_id,
        model_id=row.model_id,
        **{name: getattr(row, name) for name in (*columns, *names)},
        stones=row.stones or (),
        unit_price=_each(row.total, row.quantity),
        lines=tuple(_line(line) for line in row.breakdown),
        levers=tuple(_lever(lever) for lever in row.levers) if row.levers is not None else None,
        findings=of_piece(stored.geometry, row.material, longest) if stored is not None else (),
    )


def _values(quote: Quote, caller: str) -> dict[str, object]:
    plain = {name: getattr(quote, name) for name in Quote.__slots__ if name not in _SHAPED}
    levers = [_as_kept(lever, quote.currency) for lever in quote.levers] if quote.levers is not None else None
    return plain | {
        "caller": caller,
        "stones": json.dumps(quote.stones) if quote.stones else None,
        "engraving": json.dumps(quote.engraving) if quote.engraving else None,
        "breakdown": json.dumps([_as_text(line) for line in quote.lines]),
        "levers": json.dumps(levers) if levers is not None else None,
    }


_SHAPED = frozenset(
    {"stones", "engraving", "lines", "levers", "findings", "unit_price", "rate_card_name", "superseded_by"}
)


def _plain(part: Line | Lever) -> dict[str, Any]:
    """Its fields; ten times as fast as `dataclasses.asdict`, which copies every value."""
    return {name: getattr(part, name) for name in part.__slots__}


def _as_text(line: Line) -> dict[str, str]:
    return {name: str(getattr(line, name)) for name in line.__slots__}


def _each(total: Decimal, quantity: int) -> Decimal:
    return (total / quantity).quantize(_CENT, ROUND_HALF_UP)


def _line(line: dict[str, str]) -> Line:
    numbers = {name: Decimal(line[name]) for name in ("quantity", "rate", "amount")}
    return Line(**(line | numbers))  # type: ignore[arg-type]


def _as_kept(lever: Lever, currency: str) -> dict[str, Any]:
    return _plain(lever) | {"price_change": {"amount": str(lever.price_change), "currency": currency}}


def _lever(kept: dict[str, Any]) -> Lever:
    return Lever(**kept | {"price_change": Decimal(kept["price_change"]["amount"])})

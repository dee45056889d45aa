"""Computes a frozen quote again from what it names, to prove that its price still comes out to the cent."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import Connection, Row, text

from mes.errors import MesError
from mes.pricing import geometry_store, options
from mes.pricing.costs.cost_model import CannotPrice, Line, Price
from mes.pricing.costs.single_prices import price_one
from mes.pricing.geometry import Geometry
from mes.pricing.options import BadOptions
from mes.pricing.rates import rate_store

_NUMBERS = ("quantity", "rate", "amount")
_OPTIONS = ("material", "finish", "quantity", "rush", "tier", "engraving")


class NoSuchQuote(MesError):
    """No quote has this id; look it up with GET /v1/quotes or in ops.quotes."""

    code: ClassVar[str] = "no_such_quote"
    http_status: ClassVar[int] = 404


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure that comes out otherwise: `line` is the code of its line, or what else of the quote it belongs to.

    `frozen` is what the quote says, `now` what comes out; None where there is no such line.
    """

    line: str
    figure: str
    frozen: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class Recomputed:
    """A quote beside what it names comes to today; the same to the cent where there are no `differences`."""

    quote_id: UUID
    model_id: str
    kernel_version: int
    rate_card_id: str
    total: Decimal
    now: Decimal | None
    lines: int
    differences: tuple[Difference, ...]

    @property
    def same(self) -> bool:
        """Whether every figure comes out as it was frozen."""
        return not self.differences


@dataclass(frozen=True, slots=True)
class Named:
    """What a quote was computed from: the model and the version of the kernel that measured it."""

    model_id: str
    kernel_version: int


def named(conn: Connection, quote_id: UUID) -> Named:
    """Which model a quote is for.

    Raises:
        NoSuchQuote: there is none.
    """
    row = _row(conn, quote_id)
    return Named(row.model_id, row.kernel_version)


def recompute(conn: Connection, quote_id: UUID, measured: Geometry | None = None) -> Recomputed:
    """Compute a quote again: of a caller or of an order, superseded or not.

    Codes, units, quantities, rates and amounts are compared line by line, and the total; words may have been put
    better since.

    Args:
        conn: to the database; nothing is written.
        quote_id: the quote.
        measured: the model as measured again; without it, the stored measures of the quote's kernel version are used.

    Raises:
        NoSuchQuote: there is none.
    """
    row = _row(conn, quote_id)
    try:
        price = _price(conn, row, measured)
    except (_Missing, BadOptions, CannotPrice) as error:
        return _recomputed(row, None, [Difference("quote", "price", str(row.total), f"none: {error.message}")])
    return _recomputed(row, price.total, [*_of_lines(row.breakdown, price.lines), *_of_totals(row, price)])


class _Missing(MesError):
    """What the quote was computed from is there no more."""

    code = "inputs_missing"


def _row(conn: Connection, quote_id: UUID) -> Row[Any]:
    row = conn.execute(
        text("select * from ops.quotes where quote_id = :quote_id"), {"quote_id": quote_id}
    ).one_or_none()
    if row is None:
        raise NoSuchQuote(quote_id=quote_id)
    return row


def _price(conn: Connection, row: Row[Any], measured: Geometry | None) -> Price:
    card = rate_store.by_id(conn, [row.rate_card_id])[row.rate_card_id]  # a foreign key keeps it
    if card.version != row.rate_card_id:
        raise _Missing(f"rate card {row.rate_card_id} was changed: its rates are those of {card.version}")
    if measured is None:
        stored = geometry_store.of_version(conn, row.model_id, row.kernel_version)
        if stored is None:
            raise _Missing(f"kernel {row.kernel_version} never measured model {row.model_id}")
        measured = stored.geometry
    return price_one(measured, _options(row), card)


def _options(row: Row[Any]) -> options.ItemOptions:
    said = {name: getattr(row, name) for name in _OPTIONS}
    size = row.longest_side_mm
    return options.parse(said | {"stones": row.stones, "longest_side_mm": float(size) if size is not None else None})


def _recomputed(row: Row[Any], now: Decimal | None, differences: list[Difference]) -> Recomputed:
    return Recomputed(
        quote_id=row.quote_id,
        model_id=row.model_id,
        kernel_version=row.kernel_version,
        rate_card_id=row.rate_card_id,
        total=row.total,
        now=now,
        lines=len(row.breakdown),
        differences=tuple(differences),
    )


def _of_lines(frozen: Iterable[Mapping[str, Any]], now: Iterable[Line]) -> Iterator[Difference]:
    """Differences of lines, each found by its code and its place among those of the same code."""
    before = _by_code((str(line["code"]), {name: str(line[name]) for name in ("unit", *_NUMBERS)}) for line in frozen)
    after = _by_code((line.code, {name: str(getattr(line, name)) for name in ("unit", *_NUMBERS)}) for line in now)
    for code in dict.fromkeys([*before, *after]):
        if code not in after:
            yield Difference(code, "amount", before[code]["amount"], None)
        elif code not in before:
            yield Difference(code, "amount", None, after[code]["amount"])
        else:
            yield from _of_figures(code, before[code], after[code])


def _by_code(lines: Iterable[tuple[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """Lines by code; the second of a code is `stones 2`."""
    seen: defaultdict[str, int] = defaultdict(int)
    found = {}
    for code, figures in lines:
        seen[code] += 1
        found[code if seen[code] == 1 else f"{code} {seen[code]}"] = figures
    return found


def _of_figures(code: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Difference]:
    for figure, was in before.items():
        if not _equal(was, after[figure]):
            yield Difference(code, figure, was, after[figure])


def _of_totals(row: Row[Any], price: Price) -> Iterator[Difference]:
    yield from _of_figures(
        "total",
        {"amount": str(row.total), "currency": row.currency},
        {"amount": str(price.total), "currency": price.currency},
    )


def _equal(one: str, other: str) -> bool:
    """Equal as numbers (12.5 and 12.50), else as words."""
    try:
        return Decimal(one) == Decimal(other)
    except InvalidOperation:
        return one == other

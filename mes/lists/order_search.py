"""Finds orders by words among the finished ones, of which there are millions: by their number and their customer.

An index over all that open orders say is small, and stays so. Over finished ones it would grow for ever, and a word
that many of them have would cost as many reads as there are; so words are looked up where an index ends the search.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Connection, text

from mes.db import query

# more customers or numbers than these are not looked at: people add a word rather than turn hundreds of pages
MOST_CUSTOMERS, MOST_NUMBERS = 20, 200
SHORTEST = 3  # an index of trigrams knows shorter pieces only where a word begins


@dataclass(frozen=True)
class Matches:
    """Customers who have all words, and orders whose number begins with one of them and whose customer has the rest."""

    customers: Sequence[UUID]
    orders: Sequence[UUID]
    too_many: bool


def pattern(word: str) -> str:
    """What finds a word anywhere, or, if it is short, where a word begins; wildcards stand for themselves."""
    return f"%{_escaped(word)}%" if len(word) >= SHORTEST else f"% {_escaped(word)}%"


def find(conn: Connection, words: Sequence[str], customer_id: UUID | None = None) -> Matches:
    """Who and what matches the words; only `customer_id`'s, if given."""
    query.plan_each(conn)
    customers = _customers(conn, words, customer_id)
    orders: list[UUID] = []
    too_many = len(customers) > MOST_CUSTOMERS
    for word in words:
        numbered, more = _numbered(conn, word, [other for other in words if other != word], customer_id)
        orders += numbered
        too_many = too_many or more
    return Matches(customers[:MOST_CUSTOMERS], list(dict.fromkeys(orders)), too_many)


def _customers(conn: Connection, words: Sequence[str], customer_id: UUID | None) -> list[UUID]:
    if any(len(word) < SHORTEST for word in words):
        return []
    rows = conn.execute(
        text("""
            select customer_id from ops.customers
            where words like all(cast(:patterns as text[]))
                and (cast(:customer_id as uuid) is null or customer_id = :customer_id)
            limit :limit
        """),
        {"patterns": [pattern(word) for word in words], "customer_id": customer_id, "limit": MOST_CUSTOMERS + 1},
    )
    return list(rows.scalars())


def _numbered(
    conn: Connection, word: str, others: Sequence[str], customer_id: UUID | None
) -> tuple[Sequence[UUID], bool]:
    """Orders whose number begins with `word` and whose customer has the other words; and whether there may be more."""
    rows = conn.execute(
        text("""
            select order_id, numbered.words like all(cast(:patterns as text[]))
                and (cast(:customer_id as uuid) is null or customer_id = :customer_id) as matches
            from (
                select order_id, customer_id, lower(concat_ws(' ', '', customer_external_id, customer_name)) as words
                from marts.order_list where lower(external_id) like :number limit :limit
            ) as numbered
        """),
        {
            "number": f"{_escaped(word)}%",
            "patterns": [pattern(other) for other in others],
            "customer_id": customer_id,
            "limit": MOST_NUMBERS,
        },
    ).all()
    return [row.order_id for row in rows if row.matches], len(rows) == MOST_NUMBERS


def _escaped(word: str) -> str:
    for special in ("\\", "%", "_"):
        word = word.replace(special, "\\" + special)
    return word.lower()

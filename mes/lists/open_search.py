"""Finds open orders by words, in the order of the list: a page costs about the same for frequent and for rare words.

Frequent words are met among the first rows of the list; to look them up in the index of trigrams would fetch and sort a
good part of all open orders. Rare ones would be sought through the whole list, and the index has them at once. Which
is which is not guessed from statistics: the first rows are looked at, and few rows can be left when they say no.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, text

from mes.lists.order_search import pattern

# rows; where they make no full page, one order of a hundred or fewer has the words, and the index is the shorter way
LOOKED_AT = 3_000


@dataclass(frozen=True)
class Part:
    """A part of the open orders: its conditions and the order it comes in, as SQL, and the values of both."""

    conditions: str
    order: str
    values: dict[str, object]


def rows(conn: Connection, part: Part, words: Sequence[str], columns: str, limit: int) -> Sequence[RowMapping]:
    """The first rows of the part whose text has all words."""
    having = " and ".join(f"search_text like :word_{number}" for number in range(len(words)))
    values = part.values | {f"word_{number}": pattern(word) for number, word in enumerate(words)} | {"limit": limit}
    first = f"select * from marts.order_list where {part.conditions} order by {part.order} limit {LOOKED_AT}"
    near = f"select {columns} from ({first}) as near where {having} order by {part.order} limit :limit"
    found = conn.execute(text(near), values).mappings().all()
    if len(found) == limit or not _goes_on(conn, part):
        return found
    # by itself, so that no index but that of trigrams fits it
    matching = f"select * from marts.order_list where is_open and {having}"
    statement = f"""
        with matching as materialized ({matching})
        select {columns} from matching where {part.conditions} order by {part.order} limit :limit
    """
    return conn.execute(text(statement), values).mappings().all()


def _goes_on(conn: Connection, part: Part) -> bool:
    """Whether there are more rows than were looked at."""
    beyond = f"select from marts.order_list where {part.conditions} order by {part.order} offset {LOOKED_AT} limit 1"
    return bool(conn.execute(text(f"select exists ({beyond})"), part.values).scalar_one())

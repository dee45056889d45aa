"""Finds open orders by words, in the order of the list: a page costs about the same for frequent and for rare words.

Frequent words are met among the first rows of the list; to look them up in the index of trigrams would fetch and sort a
good part of all open orders. Rare ones would be sought through the whole list, and the index has them at once. Which
is which is not guessed from statistics, it is seen: the first rows are looked at, and how many of them have the words
says how far the list would have to be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from mes.db import direct
from mes.lists.order_search import SHORTEST, pattern

# rows that are looked at first, in 0.4 ms: a page of a word that every twentieth order has
LOOKED_AT = 600
# with as many among those, the list is read on. A row read in order takes 0.4 us (1.3 us where its page was changed
# since the last vacuum), one that the index finds takes 2.5 us, and it must find all
MANY = 2
# matches do not lie evenly: where these rows make no page, the rest lie far behind, and the index finds them
FURTHER = 5_000
# of a long word, its end is looked up: numbers begin alike, and each trigram that all orders have is read whole
_TAIL = 6
# the index holds the beginnings of texts, and few go on
_LONG = 500
_SAID = f"""
    (
        strpos(search_start, :word_{{number}}) > 0
        or octet_length(search_start) >= {_LONG} and exists (
            select from marts.order_list as long
            where long.order_id = near.order_id and strpos(long.search_text, :word_{{number}}) > 0
        )
    )
"""


@dataclass(frozen=True)
class Part:
    """A part of the open orders: its conditions and the order it comes in, as SQL, and the values of both."""

    conditions: str
    order: str
    values: dict[str, object]


def rows(conn: Connection, part: Part, words: Sequence[str], columns: str, limit: int) -> Sequence[tuple[Any, ...]]:
    """The first rows of the part whose text has all words."""
    search = _Search(conn, part, words, columns, limit)
    looked_at, found = LOOKED_AT, search.among_first(LOOKED_AT)
    if MANY <= len(found) < limit:
        looked_at, found = FURTHER, search.among_first(FURTHER)
    if len(found) == limit or not _goes_on(conn, part, looked_at):
        return found
    return search.by_index()


@dataclass(frozen=True)
class _Search:
    """One search, in its several ways."""

    conn: Connection
    part: Part
    words: Sequence[str]
    columns: str
    limit: int

    def among_first(self, looked_at: int) -> Sequence[tuple[Any, ...]]:
        """What the first rows of the part have: read in the index alone, but for long texts."""
        near = (
            f"select order_id, latest_start_at, search_start from marts.order_list where {self.part.conditions} "
            f"order by {self.part.order} limit {looked_at}"
        )
        said = " and ".join(_SAID.format(number=number) for number in range(len(self.words)))
        return self._read(f"select order_id from ({near}) as near where {said}")

    def by_index(self) -> Sequence[tuple[Any, ...]]:
        """What all of the part has; looked up by itself, so that no index but that of trigrams fits."""
        ends = [f"search_text like :end_{number}" for number in range(len(self.words))]
        whole = [f"strpos(search_text, :word_{n}) > 0" for n, word in enumerate(self.words) if len(word) > _TAIL]
        matching = f"select *, true as is_open from marts.open_search where {' and '.join([*ends, *whole])} offset 0"
        return self._read(f"select order_id from ({matching}) as matching where {self.part.conditions}")

    def _read(self, orders: str) -> Sequence[tuple[Any, ...]]:
        first = f"order by {self.part.order} limit {self.limit}"
        statement = f"select {self.columns} from marts.order_list where order_id in ({orders} {first}) {first}"
        return direct.rows(self.conn, statement, self._values())

    def _values(self) -> dict[str, object]:
        said = [word.lower() if len(word) >= SHORTEST else f" {word.lower()}" for word in self.words]
        return {
            **self.part.values,
            **{f"word_{number}": each for number, each in enumerate(said)},
            **{f"end_{number}": pattern(word[-_TAIL:]) for number, word in enumerate(self.words)},
        }


def _goes_on(conn: Connection, part: Part, looked_at: int) -> bool:
    """Whether there are more rows than were looked at."""
    beyond = f"select from marts.order_list where {part.conditions} order by {part.order} offset {looked_at} limit 1"
    ((more,),) = direct.rows(conn, f"select exists ({beyond})", part.values)
    return bool(more)

"""Finds open orders by words, in the order of the list: a page costs about the same for frequent and for rare words.

Frequent words are met among the first rows of the list; to look them up in the index of trigrams would fetch and sort a
good part of all open orders. Rare ones would be sought through the whole list, and the index has them at once. Which
is which is not guessed from statistics, it is seen: the first rows are looked at, and how many of them have the words
says how far the list would have to be read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from mes.db import direct
from mes.lists.order_search import SHORTEST, pattern

# rows that are looked at first, and in what further steps. A row read in order takes 0.5 us (1.3 us where its page was
# changed since the last vacuum); one that the index of trigrams finds takes 2.5 us, and it must find all
STEPS = (600, 1_800, 3_600)
# the list is read on while so many of the rows that were looked at have the words: of the first, which are few, more
# than one; then as many as promise a page within the last step
MANY = (2, 12)
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
    """A part of the open orders: its conditions, the order it comes in and that turned round, as SQL; and their values.

    `beyond` is what follows the row of the values `seen_at` and `seen_id`.
    """

    conditions: str
    order: str
    reverse: str
    beyond: str
    values: dict[str, object]


def rows(conn: Connection, part: Part, words: Sequence[str], columns: str, limit: int) -> Sequence[tuple[Any, ...]]:
    """The first rows of the part whose text has all words."""
    search = _Search(conn, part, words, columns, limit)
    found: list[tuple[Any, ...]] = []
    last: _Last | None = None
    for step, many in zip(STEPS, (*MANY, None), strict=True):
        looked_at, last, more = search.next_in_order(step, last, limit - len(found))
        found += more
        if len(found) == limit or looked_at < step:
            return found
        if many is None or len(found) < many:
            break
    return search.by_index()


_Last = tuple[datetime, UUID]
"""Where the last row that was looked at stands."""


@dataclass(frozen=True)
class _Search:
    """One search, in its two ways."""

    conn: Connection
    part: Part
    words: Sequence[str]
    columns: str
    limit: int

    def next_in_order(
        self, step: int, last: _Last | None, wanted: int
    ) -> tuple[int, _Last | None, Sequence[tuple[Any, ...]]]:
        """Look at the next rows until `wanted` match, in the index alone but for long texts.

        Gives how many were looked at, the last of them, and what matches; when that is all that is wanted, the first
        two are not known.
        """
        beyond = f" and {self.part.beyond}" if last is not None else ""
        said = " and ".join(_SAID.format(number=number) for number in range(len(self.words)))
        # what is read of `near` is what is asked for: all of it only when too few match
        statement = f"""
            with near as materialized (
                select order_id, latest_start_at, search_start from marts.order_list
                where {self.part.conditions}{beyond} order by {self.part.order} limit {step}
            ), matching as materialized (
                select order_id from near where {said} order by {self.part.order} limit {wanted}
            ), looked_at as materialized (
                select case when count(*) < {wanted} then (select count(*) from near) end as rows from matching
            )
            select looked_at.rows, last.latest_start_at, last.order_id, found.*
            from looked_at
            left join lateral (
                select latest_start_at, order_id from near where looked_at.rows > 0
                order by {self.part.reverse} limit 1
            ) as last on true
            left join (
                select row_number() over (order by {self.part.order}), {self.columns} from marts.order_list
                where order_id in (select order_id from matching)
            ) as found on true
            order by 4
        """
        values = self._values() | ({"seen_at": last[0], "seen_id": last[1]} if last is not None else {})
        got = direct.rows(self.conn, statement, values)
        looked_at, at, order_id = got[0][:3]
        return looked_at or 0, (at, order_id), [row[4:] for row in got if row[3] is not None]

    def by_index(self) -> Sequence[tuple[Any, ...]]:
        """What all of the part has; looked up by itself, so that no index but that of trigrams fits."""
        ends = [f"search_text like :end_{number}" for number in range(len(self.words))]
        whole = [f"strpos(search_text, :word_{n}) > 0" for n, word in enumerate(self.words) if len(word) > _TAIL]
        matching = f"select *, true as is_open from marts.open_search where {' and '.join([*ends, *whole])} offset 0"
        first = f"order by {self.part.order} limit {self.limit}"
        orders = f"select order_id from ({matching}) as matching where {self.part.conditions} {first}"
        statement = f"select {self.columns} from marts.order_list where order_id in ({orders}) {first}"
        return direct.rows(self.conn, statement, self._values())

    def _values(self) -> dict[str, object]:
        said = [word.lower() if len(word) >= SHORTEST else f" {word.lower()}" for word in self.words]
        return {
            **self.part.values,
            **{f"word_{number}": each for number, each in enumerate(said)},
            **{f"end_{number}": pattern(word[-_TAIL:]) for number, word in enumerate(self.words)},
        }

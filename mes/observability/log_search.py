"""Finds what the processes said: about an order, at a level, in a time, with some words."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from mes.errors import MesError
from mes.observability import log_files
from mes.observability.log_files import Ends, Prefilter, Record, Wanted

if TYPE_CHECKING:
    from sqlalchemy import Connection

LEVELS = ("debug", "info", "warning", "error", "critical")

_ALIASES = {"warn": "warning", "fatal": "critical", "notset": "debug"}
_AGO = re.compile(r"(\d+)\s*([smhd])")
# what JSON may escape: quotes, backslashes, slashes, controls and all that is not ASCII
_ESCAPED = re.compile(r"[^ !#-.0-\[\]-~]")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class BadTime(MesError):
    """A time is written as 30m, 2h, 1d (ago), or as 2026-11-22T10:00 (UTC unless it names a zone)."""

    code = "bad_time"


class BadLevel(MesError):
    """There is no such level."""

    code = "bad_level"


@dataclass(frozen=True)
class Search:
    """What to look for; every condition that is set must hold.

    Attributes:
        order: an order's id or number; records are found that carry it (`order_id`, `order_ids`) or name it.
        order_ids: ids of the orders that bear this number, see `with_ids`.
        processes: any of these; a file's name counts as well as the name that its record gives.
        level: the least level.
        text: words that must all be in the record, whatever their case.
    """

    order: str | None = None
    order_ids: tuple[UUID, ...] = ()
    processes: frozenset[str] = frozenset()
    level: str = "debug"
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise BadLevel(f"There is no level {self.level}; there are: {', '.join(LEVELS)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """What records call the order: its number and its ids, in lower case."""
        if not self.order:
            return ()
        given = str(UUID(self.order)) if is_id(self.order) else self.order.lower()
        return (given, *(str(order_id) for order_id in self.order_ids))


def newest_first(folder: Path, search: Search, ends: Ends | None = None) -> Iterator[Record]:
    """The records of all processes that the search finds, the newest first; they are read as they are taken.

    `ends` are those of a `log_files.Tail`, whose records are left out.
    """
    matching = Matcher(search)
    wanted = Wanted(search.since, search.until, matching.prefilter, ends)
    return (record for record in log_files.newest_first(folder, wanted) if matching.matches(record))


class Matcher:
    """Decides whether a record is what a search looks for."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._words = search.text.lower().split()
        self._least = LEVELS.index(search.level)
        self._order = _token(search.names)

    def prefilter(self, file: str) -> Prefilter:
        """For the log of one process, whether bytes may hold a match: quick, and true wherever there is one."""
        wanted = self._search
        groups = [_alternatives(wanted.names), *(_alternatives((word,)) for word in self._words)]
        if self._least > LEVELS.index("info"):
            groups.append(_alternatives(_quoted(*LEVELS[self._least :], *_ALIASES)))
        if wanted.processes and file not in wanted.processes:
            groups.append(_alternatives(_quoted(*wanted.processes)))
        patterns = [group for group in groups if group is not None]

        def may_match(some: bytes) -> bool:
            lower = some.lower() if patterns else some
            return all(any(word in lower for word in group) for group in patterns)

        return may_match

    def matches(self, record: Record) -> bool:
        """Whether all conditions hold."""
        wanted = self._search
        return (
            (wanted.since is None or record.at >= wanted.since)
            and (wanted.until is None or record.at <= wanted.until)
            and (not wanted.processes or bool(wanted.processes & {record.process, record.file}))
            and LEVELS.index(level_of(record.facts)) >= self._least
            and (self._order is None or any(self._order.search(value) for value in _texts(record.facts)))
            and self._has_words(record)
        )

    def _has_words(self, record: Record) -> bool:
        if not self._words:
            return True
        everything = " ".join((record.line, *_texts(record.facts))).lower()  # as it is written, and as it is read
        return all(word in everything for word in self._words)


def with_ids(conn: "Connection", search: Search) -> Search:
    """The search with the ids of the orders that have the number that is looked for; as it is when none has it."""
    from sqlalchemy import text  # noqa: PLC0415  half a second that every other search does without

    if search.order is None or is_id(search.order):
        return search
    # the unique index on (source, external_id) is skipped through, there being few sources
    rows = conn.execute(
        text("select order_id from ops.orders where external_id = :number limit 20"), {"number": search.order}
    )
    return replace(search, order_ids=tuple(rows.scalars()))


def is_id(order: str) -> bool:
    """Whether this is an order's id, not its number."""
    try:
        UUID(order)
    except ValueError:
        return False
    return True


def level_of(facts: Mapping[str, Any]) -> str:
    """A record's level, as one of `LEVELS`; info where it says none that we know."""
    stated = str(facts.get("level", "info")).lower()
    known = _ALIASES.get(stated, stated)
    return known if known in LEVELS else "info"


def parse_time(written: str, now: datetime) -> datetime:
    """A moment from `45s`, `30m`, `2h`, `1d` (so long before `now`) or ISO 8601 (UTC unless it names a zone).

    Raises:
        BadTime: it is neither.
    """
    if ago := _AGO.fullmatch(written.strip().lower()):
        try:
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        except OverflowError:
            raise BadTime(f"{written!r} reaches back too far.") from None
    try:
        at = datetime.fromisoformat(written.strip())
    except ValueError:
        raise BadTime(f"{written!r} is no time: write 30m, 2h, 1d, or 2026-11-22T10:00.") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _token(names: tuple[str, ...]) -> re.Pattern[str] | None:
    """Finds any of the names as a whole, so that S-1 is not found in S-10."""
    if not names:
        return None
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, names))})(?![\w-])", re.IGNORECASE)


def _alternatives(words: Iterable[str]) -> tuple[bytes, ...] | None:
    """The words in lower case as bytes; None for none, and where JSON may write one of them in another way."""
    plain = tuple(word.lower() for word in words)
    if not plain or any(_ESCAPED.search(word.strip('"')) for word in plain):
        return None
    return tuple(word.encode() for word in plain)


def _quoted(*words: str) -> tuple[str, ...]:
    """Words as they stand in JSON, by which `error` is not found in `no errors`."""
    return tuple(f'"{word}"' for word in words)


def _texts(value: object) -> Iterator[str]:
    """All texts within a record, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)

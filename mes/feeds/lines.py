"""Splits a feed's file, whatever its format, into one JSON text per row, and sets aside, line by line, what is none."""

import csv
import io
import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from mes.feeds.catalogue import Feed
from mes.feeds.files import FeedFile, UnreadableFeed

if TYPE_CHECKING:
    from polars._typing import PolarsDataType

# a row of a feed is some hundred bytes; a line of a megabyte is a broken writer, and would be kept in quarantine
LONGEST_LINE = 1_000_000
Fault = tuple[int, str, str, str]
"""Line, content, kind and reason."""

_ROWS = {"line": pl.Int64, "raw": pl.String}
# `{` and more: a `{` alone is a document over many lines, one followed by a NUL is UTF-16
_ROW_START = re.compile(rb"\{\s*[^\s\0]")
_POLARS_ERRORS = (pl.exceptions.PolarsError, pl.exceptions.PanicException)

# the default of 131,072 characters is less than a row may have, and an error ends the row, not the file
csv.field_size_limit(LONGEST_LINE)


@dataclass(frozen=True)
class Lines:
    """`rows` (`line`, `raw`: one JSON text each), and what is no row."""

    rows: pl.DataFrame
    faults: list[Fault]


def split(feed: Feed, file: FeedFile) -> Lines:
    """The lines of one file.

    Raises:
        UnreadableFeed: the file as a whole is not what its name says.
    """
    if file.suffix == ".parquet":
        return _parquet_lines(feed, file)
    if file.suffix == ".csv":
        return _csv_lines(feed, file)
    return _json_lines(file)


def strict_json(text: str) -> object:
    """JSON as RFC 8259 has it, and every key once (readers differ in which of two they take).

    Raises:
        ValueError: it is none; the message says why.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def halved(
    frame: pl.DataFrame, step: Callable[[pl.DataFrame], pl.DataFrame]
) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """Do `step` with all rows at once; where that fails, halve until the failing rows stand alone.

    Polars refuses a column for one bad cell. Halving costs log2(n) steps per bad row, 3 us a row measured; parsing
    each line by itself in Python costs 5 us for every good one. Gives the results, and the rows that fail.
    """
    done: list[pl.DataFrame] = []
    failing: list[pl.DataFrame] = []
    waiting = [] if frame.is_empty() else [frame]
    while waiting:
        part = waiting.pop()
        try:
            done.append(step(part))
        except _POLARS_ERRORS:
            if part.height == 1:
                failing.append(part)
            else:
                middle = part.height // 2
                waiting += [part[:middle], part[middle:]]
    return done, failing


def _json_lines(file: FeedFile) -> Lines:
    rows: list[tuple[int, str]] = []
    faults: list[Fault] = []
    seen = like_a_row = 0
    for number, line in enumerate(file.content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        seen += 1
        like_a_row += bool(_ROW_START.match(stripped))
        try:
            rows.append((number, stripped.decode()))
        except UnicodeDecodeError:
            faults.append((number, stripped.decode(errors="replace"), "not_text", "the line is not UTF-8"))
    if seen and not like_a_row:
        raise UnreadableFeed(
            f"{file.path} holds no row at all: none of its lines begins as a JSON object does. Is it a {file.suffix} "
            f"file, with one object a line? Export it again; nothing of it was loaded."
        )
    return Lines(_frame(rows), faults)


class _TextLines:
    """The lines of a text, for a reader that may have to go back to one."""

    def __init__(self, text: str) -> None:
        self._lines = io.StringIO(text, newline="").readlines()
        self.position = 0
        self.count = len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.position >= self.count:
            raise StopIteration
        self.position += 1
        return self._lines[self.position - 1]

    def back_to(self, number: int) -> str:
        """Go on after line `number`, for a quote that nothing closes took in the rows below it; gives that line."""
        self.position = number
        return self._lines[number - 1].strip()


def _csv_lines(feed: Feed, file: FeedFile) -> Lines:
    # a byte that is not UTF-8 becomes a lone surrogate, and so the fault of its row
    text = file.content.decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        return Lines(_frame([]), [])
    lines = _TextLines(text)
    reader = csv.reader(lines)
    header = _header(feed, file, reader)
    nested = _nested(feed)
    rows: list[tuple[int, str]] = []
    faults: list[Fault] = []
    while (number := lines.position + 1) <= lines.count:
        try:
            cells = next(reader, [])
            if cells:
                rows.append((number, _csv_row(header, cells, nested)))
        except csv.Error as error:
            faults.append((number, _shown(lines.back_to(number)), "too_long", f"the row is no CSV: {error}"))
        except _WrongCells as error:
            faults.append((number, _shown(lines.back_to(number)), "wrong_cells", str(error)))
        except UnicodeEncodeError:
            faults.append((number, _shown(",".join(cells)), "not_text", "the row is not UTF-8"))
        except ValueError as error:
            faults.append((number, _shown(lines.back_to(number)), "not_json", str(error)))
    return Lines(_frame(rows), faults)


class _WrongCells(Exception):
    """A CSV row has another number of cells than the header."""


def _csv_row(header: list[str], cells: list[str], nested: Collection[str]) -> str:
    if len(cells) != len(header):
        raise _WrongCells(f"the row has {len(cells)} cells, the header {len(header)}")
    "".join(cells).encode()
    return _as_json(header, cells, nested)


def _header(feed: Feed, file: FeedFile, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = next(reader)
    except csv.Error as error:
        raise UnreadableFeed(
            f"{file.path} cannot be read as a .csv file: {error}. Export it again; nothing of it was loaded."
        ) from error
    _require_columns(feed, file, {name.split(".")[0] for name in header}, header)
    return header


def _require_columns(feed: Feed, file: FeedFile, given: Collection[str], named: Collection[str]) -> None:
    missing = feed.required_columns - set(given)
    if missing:
        there = "".join(sign if sign.isprintable() else "\ufffd" for sign in ", ".join(named)[:300])
        raise UnreadableFeed(
            f"{file.path} lacks the columns {', '.join(sorted(missing))}; it has {there or 'none'}. "
            f"Export it again with them; nothing of it was loaded."
        )


def _as_json(header: list[str], cells: list[str], nested: Collection[str]) -> str:
    """A CSV row as the JSON line that it stands for; nested columns are JSON cells or dotted names (`order.source`).

    Raises:
        ValueError: a nested column's cell is no JSON.
    """
    row: dict[str, object] = {}
    for name, cell in zip(header, cells, strict=True):
        outer, _, inner = name.partition(".")
        if inner:
            parts = row.setdefault(outer, {})
            if isinstance(parts, dict):
                parts[inner] = cell or None
        else:
            row[name] = _parsed(name, cell) if name in nested else cell or None
    return _line(row)


def _parsed(name: str, cell: object) -> object:
    if not isinstance(cell, str) or cell[:1] not in {"{", "["}:
        return cell or None
    try:
        return strict_json(cell)
    except ValueError as error:
        raise ValueError(f"the cell `{name}` is no JSON: {error}") from error


def _line(row: dict[str, object]) -> str:
    """As it reads best; with escapes where the text holds what UTF-8 cannot."""
    try:
        line = json.dumps(row, ensure_ascii=False)
        return line if _is_text(line) else json.dumps(row)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _parquet_lines(feed: Feed, file: FeedFile) -> Lines:
    known = [field.name for field in feed.schema.fields]
    try:
        there = pl.read_parquet_schema(io.BytesIO(file.content))
        _require_columns(feed, file, there, there)
        wanted = [name for name in known if name in there]
        frame = pl.read_parquet(io.BytesIO(file.content), columns=wanted)
    except (*_POLARS_ERRORS, OSError) as error:
        raise UnreadableFeed(
            f"{file.path} cannot be read as a .parquet file: {(str(error).splitlines() or ['it is damaged'])[0]}. "
            f"Export it again; nothing of it was loaded."
        ) from error
    done, failing = halved(frame.with_row_index("line", offset=1), _as_plain)
    faults = [_parquet_fault(row) for row in failing]
    if not done:
        return Lines(_frame([]), faults)
    plain = pl.concat(done).sort("line")
    nested = [name for name in _nested(feed) if plain.schema.get(name) == pl.String]
    rows: list[tuple[int, str]] = []
    for number, line in zip(plain["line"], plain.drop("line").write_ndjson().split("\n"), strict=False):
        try:
            rows.append((number, _with_parsed(line, nested) if nested else line))
        except ValueError as error:
            faults.append((number, line, "not_json", str(error)))
    return Lines(_frame(rows), faults)


def _with_parsed(line: str, nested: Collection[str]) -> str:
    row = json.loads(line)
    return _line({name: _parsed(name, value) if name in nested else value for name, value in row.items()})


def _as_plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(_plain(name, dtype) for name, dtype in frame.schema.items())


def _plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as JSON can hold it: times as ISO 8601 in UTC, days as their midnight, bytes as the text they are."""
    column = pl.col(name)
    if isinstance(dtype, pl.Date):
        return column.dt.strftime("%Y-%m-%dT00:00:00Z")
    if isinstance(dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if dtype.time_zone else column.dt.replace_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.fZ")
    return column.cast(_plain_type(dtype))


def _plain_type(dtype: "PolarsDataType") -> "PolarsDataType":
    """Polars writes no bytes as JSON, and NaN as null: both go as text."""
    if isinstance(dtype, pl.Binary | pl.Float32 | pl.Float64):
        return pl.String()
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _plain_type(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_plain_type(dtype.inner))
    return dtype


def _parquet_fault(row: pl.DataFrame) -> Fault:
    columns = {name: halved(row.select(name), _as_plain)[0] for name in row.columns}
    unreadable = [f"`{name}`" for name, read in columns.items() if not read]
    readable = pl.concat([read[0] for read in columns.values() if read], how="horizontal")
    reason = f"{', '.join(unreadable)} holds bytes that are not UTF-8, or a time that cannot be"
    return row["line"][0], readable.drop("line").write_ndjson().strip(), "wrong_type", reason


def _nested(feed: Feed) -> frozenset[str]:
    return frozenset(field.name for field in feed.schema.fields if field.dtype != pl.String)


def _frame(rows: list[tuple[int, str]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=_ROWS, orient="row")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(text: str) -> str:
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice)} stands twice")
    return row


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")

"""Turns a feed's file into rows of text, and sets aside, line by line, what is no row."""

import json

import polars as pl

from mes.feeds.catalogue import Feed
from mes.feeds.files import FeedFile
from mes.feeds.lines import LONGEST_LINE, Fault, halved, split, strict_json

FAULT_COLUMNS = {"line": pl.Int64, "raw": pl.String, "kind": pl.String, "reason": pl.String, "advice": pl.String}
_ADVICE = "Ask the sender to repair and export this row again; it is loaded with the next file."


class RowSet:
    """The rows of one file: `good` holds `line`, `raw` and the feed's columns as text; `bad` holds FAULT_COLUMNS."""

    def __init__(self, good: pl.DataFrame, bad: pl.DataFrame) -> None:
        self.good = good
        self.bad = bad


def read(feed: Feed, file: FeedFile) -> RowSet:
    """Read one file's rows.

    Raises:
        UnreadableFeed: the file as a whole is not what its name says.
    """
    lines = split(feed, file)
    text, untold = _without_bad_text(lines.rows)
    decoded, undecodable = _decode(text, feed.schema)
    good, doubtful = _without_repeated_keys(decoded, feed.schema)
    faults = [*lines.faults, *untold, *undecodable, *doubtful]
    bad = pl.DataFrame([(*fault, _ADVICE) for fault in faults], schema=FAULT_COLUMNS, orient="row")
    return RowSet(good, bad.sort("line"))


def _without_bad_text(lines: pl.DataFrame) -> tuple[pl.DataFrame, list[Fault]]:
    """Set aside lines that are too long, or whose escapes stand for half a character."""
    faults: list[Fault] = [
        (line, raw, "too_long", f"the line has {size:,} bytes")
        for line, raw, size in lines.with_columns(size=pl.col("raw").str.len_bytes())
        .filter(pl.col("size") > LONGEST_LINE)
        .iter_rows()
    ]
    suspects = lines.filter(pl.col("raw").str.contains(r"\\u[dD][89a-fA-F]"))
    faults += [
        (line, raw, "not_text", "an escape such as \\ud800 stands for half a character")
        for line, raw in suspects.iter_rows()
        if len(raw.encode()) <= LONGEST_LINE and _holds_half_characters(raw)
    ]
    return lines.filter(~pl.col("line").is_in([fault[0] for fault in faults])), faults


def _holds_half_characters(raw: str) -> bool:
    try:
        json.dumps(json.loads(raw), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    except (ValueError, RecursionError):
        return False  # no JSON at all, which is told when it is decoded
    return False


def _decode(lines: pl.DataFrame, schema: pl.Struct) -> tuple[pl.DataFrame, list[Fault]]:
    parts, failing = halved(lines, lambda part: part.with_columns(part["raw"].str.json_decode(schema).alias("row")))
    faults = [_why(part["line"][0], part["raw"][0], schema) for part in failing]
    good = [pl.DataFrame(schema={"line": pl.Int64, "raw": pl.String, **dict(schema)})]
    for part in parts:
        nothing = part.filter(pl.col("row").is_null())
        faults += [(line, raw, "not_json", "the row is `null`") for line, raw, _ in nothing.iter_rows()]
        good.append(part.filter(pl.col("row").is_not_null()).unnest("row"))
    return pl.concat(good).sort("line"), faults


def _without_repeated_keys(rows: pl.DataFrame, schema: pl.Struct) -> tuple[pl.DataFrame, list[Fault]]:
    """Polars takes the first of two equal keys, others the last; who meant what cannot be known.

    Only a line with more `":` than values can hold a key twice; that is quick to count, and the rest need no look.
    """
    told = pl.sum_horizontal(_values(pl.col(field.name), field.dtype) for field in schema.fields)
    raw = pl.col("raw")
    # a plain count takes a quarter of the pattern's time; it is enough where no space stands between quote and colon
    spaced = pl.any_horizontal(raw.str.contains(f'"{space}', literal=True) for space in " \t\r")
    suspects = rows.with_columns(told=told).filter(
        (raw.str.count_matches('":', literal=True) > pl.col("told")) | spaced
    )
    doubtful = suspects.filter(raw.str.count_matches(r'"\s*:') > pl.col("told"))
    faults: list[Fault] = []
    for line, raw in doubtful.select("line", "raw").iter_rows():
        try:
            strict_json(raw)
        except ValueError as error:
            faults.append((line, raw, "not_json", f"the line is no JSON: {error}"))
    return rows.filter(~pl.col("line").is_in([fault[0] for fault in faults])), faults


def _values(value: pl.Expr, dtype: object) -> pl.Expr:
    """How many values that are not null stand in a column, with those below it."""
    own = value.is_not_null().cast(pl.Int64)
    if isinstance(dtype, pl.Struct):
        return own + _values_below(value, dtype)
    if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        return own + value.list.eval(_values_below(pl.element(), dtype.inner)).list.sum().fill_null(0)
    return own


def _values_below(value: pl.Expr, dtype: pl.Struct) -> pl.Expr:
    return pl.sum_horizontal(_values(value.struct.field(field.name), field.dtype) for field in dtype.fields)


def _why(line: int, raw: str, schema: pl.Struct) -> Fault:
    try:
        row = strict_json(raw)
    except ValueError as error:
        return line, raw, "not_json", f"the line is no JSON: {error}"
    if not isinstance(row, dict):
        return line, raw, "not_json", "the line is no JSON object"
    wrong = [
        f"`{field.name}` should be {_shape(field.dtype)}"
        for field in schema.fields
        if row.get(field.name) is not None and not _fits(row[field.name], field.dtype)
    ]
    return line, raw, "wrong_type", "; ".join(wrong) or "a value has a type that cannot be read"


def _fits(value: object, dtype: object) -> bool:
    if isinstance(dtype, pl.Struct):
        return isinstance(value, dict) and all(
            value.get(field.name) is None or _fits(value[field.name], field.dtype) for field in dtype.fields
        )
    if isinstance(dtype, pl.List):
        return isinstance(value, list) and all(_fits(each, dtype.inner) for each in value)
    return not isinstance(value, dict | list)


def _shape(dtype: object) -> str:
    if isinstance(dtype, pl.Struct):
        return f"an object with {', '.join(field.name for field in dtype.fields)}"
    return "a list of objects" if isinstance(dtype, pl.List) else "a plain value"

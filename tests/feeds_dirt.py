"""Makes clean feeds dirty in known ways, so that tests can say row by row what must land and what must not."""

import csv
import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl

Row = dict[str, Any]
Outcome = Literal["land", "quarantine", "ignore"]
OrderKey = tuple[str, str]

ORDER_FILES = ("shop/orders.jsonl", "crm/orders.jsonl")
EVENT_FILES = ("crm/order_events.jsonl", "legacy_mes/status_history.jsonl")
FEED_FILES = ORDER_FILES + EVENT_FILES
# one file of each kind begins with a byte order mark, the other one ends in the middle of a line
FILES_WITH_BOM = ("shop/orders.jsonl", "legacy_mes/status_history.jsonl")
FILES_CUT_SHORT = ("crm/orders.jsonl", "crm/order_events.jsonl")

LONG_ID_CHARACTERS = 2_000_000
UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Kind:
    """A way in which a row goes wrong: `spoil` gives the line to write, without its end.

    `beside` writes it after the good row instead of in its place; `once` keeps it to one row per file.
    """

    name: str
    outcome: Outcome
    spoil: Callable[[Row, bytes], bytes]
    beside: bool = False
    once: bool = False


@dataclass(frozen=True)
class Touch:
    """One dirty line: `line` counts from 1 in the dirty file; `external_id` is that of the row it was made from.

    `due_at` is the order's new due date where a later export changed it.
    """

    kind: str
    file: str
    line: int
    source: str
    external_id: str
    outcome: Outcome
    due_at: str | None = None


@dataclass(frozen=True)
class DirtReport:
    """What was made dirty, and the (source, external_id) of all orders that must land all the same.

    `landing` assumes that the source was clean.
    """

    touches: tuple[Touch, ...]
    landing: frozenset[OrderKey]

    @property
    def by_kind(self) -> dict[str, list[Touch]]:
        """The touches of each kind."""
        found: dict[str, list[Touch]] = defaultdict(list)
        for touch in self.touches:
            found[touch.kind].append(touch)
        return dict(found)

    @property
    def quarantined(self) -> frozenset[tuple[str, int]]:
        """(file, line) of every line that must be in quarantine, and no other."""
        return frozenset((touch.file, touch.line) for touch in self.touches if touch.outcome == "quarantine")

    @property
    def due_at(self) -> dict[OrderKey, str]:
        """New due date of the orders whose later export changed it."""
        return {(touch.source, touch.external_id): touch.due_at for touch in self.touches if touch.due_at}


def make_dirty(
    source_feeds: Path, target: Path, *, seed: int, share: float = 0.02, limit: int | None = None
) -> DirtReport:
    """Copy the four feeds into `target` and spoil a `share` of each file's rows; every kind occurs in every file.

    With `limit`, only the first so many orders (by `placed_at`) and their events are copied.
    """
    files = _read(source_feeds, limit)
    touches: list[Touch] = []
    for number, (name, lines) in enumerate(files.items()):
        touches += _spoil_file(name, lines, target / name, np.random.default_rng([seed, number]), share)
    lost = {
        (touch.source, touch.external_id)
        for touch in touches
        if touch.file in ORDER_FILES and touch.outcome == "quarantine" and touch.kind != "half_a_line_at_the_end"
    }
    orders = {_key(name, json.loads(line)) for name in ORDER_FILES for line in files[name]}
    return DirtReport(tuple(touches), frozenset(orders - lost))


def to_csv(feeds: Path, target: Path) -> None:
    """Write clean feeds as CSV with the same columns; `customer`, `items` and `order` are JSON in their cells."""
    for name in FEED_FILES:
        rows = [json.loads(line) for line in _lines(feeds / name)]
        path = (target / name).with_suffix(".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(rows[0])
            table.writerows([_cell(value) for value in row.values()] for row in rows)


def to_parquet(feeds: Path, target: Path, *, native_times: bool = False) -> None:
    """Write clean feeds as Parquet with the same columns, nested ones as structs and lists.

    Times stay text, as in the JSON, unless `native_times` asks for timestamps in UTC.
    """
    for name in FEED_FILES:
        frame = pl.read_ndjson(feeds / name, infer_schema_length=None)
        if native_times:
            times = [column for column in frame.columns if column.endswith("_at")]
            frame = frame.with_columns(pl.col(times).str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_zone="UTC"))
        path = (target / name).with_suffix(".parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.write_parquet(path)


def _read(feeds: Path, limit: int | None) -> dict[str, list[bytes]]:
    files = {name: _lines(feeds / name) for name in FEED_FILES}
    if limit is None:
        return files
    placed = sorted(
        (row["placed_at"], *_key(name, row)) for name in ORDER_FILES for row in map(json.loads, files[name])
    )
    kept = {(source, external_id) for _, source, external_id in placed[:limit]}
    return {name: [line for line in lines if _key(name, json.loads(line)) in kept] for name, lines in files.items()}


def _spoil_file(name: str, lines: list[bytes], path: Path, rng: np.random.Generator, share: float) -> list[Touch]:
    """Write the dirty file; the first row keeps its place, so that a byte order mark has one."""
    kinds = ORDER_KINDS if name in ORDER_FILES else EVENT_KINDS
    repeated = [kind for kind in kinds if not kind.once]
    wanted = min(max(len(kinds), round(share * len(lines))), len(lines) - 1)
    chosen = (rng.permutation(len(lines) - 1)[:wanted] + 1).tolist()
    plan = {
        index: kinds[turn] if turn < len(kinds) else repeated[turn % len(repeated)] for turn, index in enumerate(chosen)
    }
    written: list[bytes] = []
    touches: list[Touch] = []
    for index, line in enumerate(lines):
        kind = BOM if index == 0 and name in FILES_WITH_BOM else plan.get(index)
        if kind is None:
            written.append(line)
            continue
        row = json.loads(line)
        spoilt = kind.spoil(row, line)
        written += [line, spoilt] if kind.beside else [spoilt]
        due_at = json.loads(spoilt)["due_at"] if kind.name == "later_update" else None
        touches.append(Touch(kind.name, name, len(written), *_key(name, row), kind.outcome, due_at))
    content = b"".join(line + b"\n" for line in written)
    if name in FILES_CUT_SHORT:
        content += lines[-1][: len(lines[-1]) // 2]
        key = _key(name, json.loads(lines[-1]))
        touches.append(Touch("half_a_line_at_the_end", name, len(written) + 1, *key, "quarantine"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return touches


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _key(name: str, row: Row) -> OrderKey:
    if name in ORDER_FILES:
        return name.split("/", 1)[0], row["external_id"]
    return row["order"]["source"], row["order"]["external_id"]


def _cell(value: object) -> object:
    if isinstance(value, dict | list):
        return json.dumps(value, separators=(",", ":"))
    return str(value).lower() if isinstance(value, bool) else value


def _line(row: Row) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()


def _with(**wrong: object) -> Callable[[Row, bytes], bytes]:
    return lambda row, _line_before: _line(row | wrong)


def _with_item(**wrong: object) -> Callable[[Row, bytes], bytes]:
    return lambda row, _line_before: _line(row | {"items": [row["items"][0] | wrong, *row["items"][1:]]})


def _with_external_id(value: object) -> Callable[[Row, bytes], bytes]:
    def spoil(row: Row, _line_before: bytes) -> bytes:
        changed = {"external_id": value}
        return _line(row | changed if "external_id" in row else row | {"order": row["order"] | changed})

    return spoil


def _due_before_placed(row: Row, _line_before: bytes) -> bytes:
    return _line(row | {"due_at": _later(row["placed_at"], days=-1)})


def _later_update(row: Row, _line_before: bytes) -> bytes:
    changed = {"updated_at": _later(row["updated_at"], days=1), "due_at": _later(row["due_at"], days=7)}
    return _line(row | changed)


def _later(time: str, days: int) -> str:
    return (datetime.fromisoformat(time) + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def _not_utf8(row: Row, line: bytes) -> bytes:
    external_id = str(row.get("external_id") or row["order"]["external_id"]).encode()
    return line.replace(external_id, external_id[:-2] + b"\xff\xfe", 1)


_ANY_FILE = (
    Kind("garbage", "quarantine", lambda _row, _line: b'{"external_id": nonsense,, "items": <none>'),
    Kind("half_a_line", "quarantine", lambda _row, line: line[: len(line) // 2]),
    Kind("not_utf8", "quarantine", _not_utf8),
    Kind("list_for_object", "quarantine", lambda _row, line: b"[" + line + b"]"),
    Kind("null_external_id", "quarantine", _with_external_id(None)),
    Kind("very_long_line", "quarantine", _with_external_id("x" * LONG_ID_CHARACTERS), once=True),
    Kind("duplicate_row", "land", lambda _row, line: line, beside=True),
    Kind("crlf", "land", lambda _row, line: line + b"\r"),
    Kind("empty_line", "ignore", lambda _row, _line: b"", beside=True),
)
ORDER_KINDS = (
    Kind("wrong_type", "quarantine", _with_item(quantity="two")),
    Kind("negative_quantity", "quarantine", _with_item(quantity=-1)),
    Kind("unknown_material", "quarantine", _with_item(material="unobtainium")),
    Kind("unknown_finish", "quarantine", _with_item(finish="glitter")),
    Kind("missing_model", "quarantine", _with_item(model="no/such/model.stl")),
    Kind("path_outside_root", "quarantine", _with_item(model="../../etc/passwd")),
    Kind("absolute_path", "quarantine", _with_item(model="/etc/passwd")),
    Kind("bad_timestamp", "quarantine", _with(placed_at="2017-13-45T99:00:00Z")),
    Kind("due_before_placed", "quarantine", _due_before_placed),
    Kind("unknown_status", "quarantine", _with(status="TELEPORTED")),
    Kind("later_update", "land", _later_update, beside=True),
    *_ANY_FILE,
)
EVENT_KINDS = (
    Kind("wrong_type", "quarantine", _with(order="an id, but no object")),
    Kind("bad_timestamp", "quarantine", _with(occurred_at="2017-13-45T99:00:00Z")),
    Kind("unknown_status", "quarantine", _with(type="TELEPORTED")),
    *_ANY_FILE,
)
BOM = Kind("bom", "land", lambda _row, line: UTF8_BOM + line)

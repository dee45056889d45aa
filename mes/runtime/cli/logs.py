"""`mes logs`: what all processes said, in one place."""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mes.errors import MesError

if TYPE_CHECKING:
    from mes.config import Settings
    from mes.observability.log_files import Record, Tail
    from mes.observability.log_search import Search

_LIMIT = 200
_LOOK_S = 0.25
_COLOURS = {"debug": "bright_black", "warning": "yellow", "error": "red", "critical": "bright_red"}
_COMMON = frozenset({"timestamp", "level", "event", "process", "logger"})


class NoLogs(MesError):
    """There are no logs yet."""

    code = "no_logs"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(
    *,
    order: Annotated[str | None, typer.Option(help="Only about this order: its id or its number.")] = None,
    process: Annotated[list[str] | None, typer.Option(help="Only of this process; may be repeated.")] = None,
    level: Annotated[str, typer.Option(help="Least level: debug, info, warning, error or critical.")] = "debug",
    since: Annotated[str | None, typer.Option(help="From then on: 30m, 2h, 1d, or 2026-11-22T10:00 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Up to then, written alike.")] = None,
    text: Annotated[str, typer.Option(help="Only with all of these words.")] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = _LIMIT,
    as_json: Annotated[
        bool, typer.Option("--json", help="The records as they are kept, one JSON object a line.")
    ] = False,
) -> None:
    """Show what the processes said, the newest last; times are UTC."""
    from mes import config  # noqa: PLC0415
    from mes.clock import utc_now  # noqa: PLC0415
    from mes.observability import log_files, log_search  # noqa: PLC0415

    settings, now = config.load(), utc_now()
    folder = settings.home / "logs"
    search = log_search.Search(
        order=order,
        processes=frozenset(process or ()),
        level=level.lower(),
        since=log_search.parse_time(since, now) if since else None,
        until=log_search.parse_time(until, now) if until else None,
        text=text,
    )
    width = _width(folder, search)
    search = _with_ids(settings, search)
    tail = log_files.Tail(folder) if follow else None
    found = list(islice(log_search.newest_first(folder, search, tail.ends() if tail else None), limit + 1))
    _show(reversed(found[:limit]), width, as_json=as_json)
    if len(found) > limit:
        typer.echo(f"These are the {limit} newest; --limit shows more, --since those after a time.", err=True)
    if tail is not None:
        _follow(tail, search, width, as_json=as_json)
    elif not found:
        typer.echo(_nothing(folder, search), err=True)
        raise typer.Exit(1)


def _width(folder: Path, search: "Search") -> int:
    """The width of the column of processes.

    Raises:
        NoLogs: nothing was written yet, or no process of that name ever wrote.
    """
    from mes.observability import log_files  # noqa: PLC0415

    known = log_files.processes(folder)
    if not known:
        raise NoLogs(f"There are no logs in {folder} yet: `mes up` and `mes demo` write them. Is MES_HOME right?")
    return max(len(name) for name in {*known, *search.processes})


def _with_ids(settings: "Settings", search: "Search") -> "Search":
    """The search with the ids that belong to the order's number, if the database can be asked."""
    from mes.observability import log_search, probe  # noqa: PLC0415

    if search.order is None or log_search.is_id(search.order):
        return search
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    if (url := _database_url(settings)) is not None:
        with suppress(DBAPIError):
            database = probe.connect(url)
            with database.connect() as conn:
                known = log_search.with_ids(conn, search)
            if not known.order_ids:
                typer.echo(f"The database knows no order {search.order}; looking for that text.", err=True)
            return known
    typer.echo(f"The database cannot be asked for order {search.order}; looking for that text.", err=True)
    return search


def _database_url(settings: "Settings") -> str | None:
    """The database that is configured, or the embedded one if it runs; it is not started for this."""
    from mes.runtime.embedded import EmbeddedPostgres, PostgresFailed  # noqa: PLC0415

    if settings.database_url is not None:
        return settings.database_url
    embedded = EmbeddedPostgres(settings.home)
    with suppress(PostgresFailed):
        return embedded.url() if embedded.is_kept() else None
    return None


def _follow(tail: "Tail", search: "Search", width: int, *, as_json: bool) -> None:
    from mes.observability import log_search  # noqa: PLC0415

    matching = log_search.Matcher(search)
    with suppress(KeyboardInterrupt):
        while True:
            _show((record for record in tail.new() if matching.matches(record)), width, as_json=as_json)
            time.sleep(_LOOK_S)


def _show(records: "Iterable[Record]", width: int, *, as_json: bool) -> None:
    for record in records:
        typer.echo(record.line if as_json else _human(record, width))


def _human(record: "Record", width: int) -> str:
    """`2026-11-22 10:00:01.123  worker  info  order priced  order_id=... total=...`."""
    from mes.observability import log_search  # noqa: PLC0415

    level = log_search.level_of(record.facts)
    at = f"{record.at:%Y-%m-%d %H:%M:%S}.{record.at.microsecond // 1000:03d}"
    coloured = typer.style(f"{level:<8}", fg=_COLOURS.get(level))
    facts = " ".join(f"{name}={_value(name, value)}" for name, value in record.facts.items() if name not in _COMMON)
    line = f"{at}  {record.process:<{width}}  {coloured}  {_printable(str(record.facts.get('event', '')))}"
    return f"{line}  {facts}" if facts else line


def _value(name: str, value: object) -> str:
    if name == "exception" and isinstance(value, list):
        return " <- ".join(_exception(error) for error in value if isinstance(error, Mapping))
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return json.dumps(written, ensure_ascii=False) if " " in written and isinstance(value, str) else _printable(written)


def _exception(error: Mapping[str, Any]) -> str:
    """`ValueError: words (mes/orders/service.py:12)`; `--json` has all frames."""
    frames = error.get("frames") or [{}]
    where = f" ({frames[-1].get('filename')}:{frames[-1].get('lineno')})" if frames[-1] else ""
    return _printable(f"{error.get('exc_type')}: {error.get('exc_value')}{where}")


def _printable(words: str) -> str:
    """One line, without what would command a terminal."""
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in words)


def _nothing(folder: Path, search: "Search") -> str:
    from mes.observability import log_files  # noqa: PLC0415

    known = log_files.processes(folder)
    unknown = sorted(search.processes - set(known))
    hint = f" There is no log of {', '.join(unknown)}; there are: {', '.join(known)}." if unknown else ""
    return f"Nothing in {folder} matches.{hint}"

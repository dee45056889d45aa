"""Reads a statement from an HTTP API that lists orders as ours does: JSON pages, one after another by a cursor."""

import json
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

import certifi
import httpcore
import polars as pl

from mes.reconciliation import statement
from mes.reconciliation.model import StatementUnusable
from mes.reconciliation.statement import Statement

LIMIT_S = 600.0
"""For all pages."""

LOOKED_UP = 500
"""Orders that are asked for one by one, at most, when only what changed is read."""

_PAGE = 200
_LARGEST_PAGE = 32 * 1024 * 1024
_MOST_PAGES = 500_000
_TIMEOUTS = {"connect": 5.0, "read": 30.0, "write": 10.0, "pool": 10.0}
_OK = 200
_FIELDS = {"external_id", "source", "status", "version", "sent", "updated_at"}


class Api:
    """A list of orders at `https://:token@host/path`; plain HTTP only on this machine.

    A page is `{"orders": [...], "next_cursor": "..." or null}`. Asked for with `limit` and `cursor`, and with
    `updated_since`, or `source` and `external_id`, for some of them.
    """

    def __init__(self, url: str, *, trust: ssl.SSLContext | None = None) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its message repeats a part of the URL
            raise StatementUnusable(
                "The statement's URL cannot be read: write `/`, `@`, `:` and `#` of a token as %2F, %40, %3A and %23."
            ) from None
        if parts.scheme != "https" and parts.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise StatementUnusable("A statement is read by https:// only: a token must not travel in the open.")
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        self._base = f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"
        self._query = parts.query
        self._headers = [("accept", "application/json")]
        if parts.password:
            self._headers.append(("authorization", f"Bearer {unquote(parts.password)}"))
        self._trust = trust or ssl.create_default_context(cafile=certifi.where())

    def read(self, system: str, since: datetime | None, keys: pl.DataFrame) -> Statement:
        """All orders; with `since`, those that changed since then, and some of `keys`, asked for one by one."""
        end = time.monotonic() + LIMIT_S
        with httpcore.ConnectionPool(ssl_context=self._trust) as pool:
            if since is None:
                return statement.clean(self._rows(pool, {}, system, end), ())
            moment = since.astimezone(UTC).isoformat().replace("+00:00", "Z")
            rows = [self._rows(pool, {"updated_since": moment}, system, end)]
            asked = keys.join(rows[0], on=["source", "external_id"], how="anti").head(LOOKED_UP)
            for source, number in asked.iter_rows():
                rows.append(self._rows(pool, {"source": source, "external_id": number}, system, end))
        return replace(statement.clean(pl.concat(rows), ()), asked=asked)

    def _rows(self, pool: httpcore.ConnectionPool, which: dict[str, str], system: str, end: float) -> pl.DataFrame:
        """Of each page no more is kept than what is compared: orders may be many, and each may be long."""
        return pl.concat([_frame([], system), *(_frame(page, system) for page in self._pages(pool, which, end))])

    def _pages(self, pool: httpcore.ConnectionPool, which: dict[str, str], end: float) -> Iterator[list[Any]]:
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            if time.monotonic() > end:
                raise StatementUnusable(f"The API did not give all pages within {LIMIT_S:g} s.")
            page = self._page(pool, which | ({"cursor": cursor} if cursor is not None else {}))
            yield page["orders"]
            following = page.get("next_cursor")
            if following is None:
                return
            if not isinstance(following, str) or following == cursor:
                raise StatementUnusable("The API's `next_cursor` leads nowhere.")
            cursor = following
        raise StatementUnusable(f"The API gives more than {_MOST_PAGES:,} pages.")

    def _page(self, pool: httpcore.ConnectionPool, which: dict[str, str]) -> dict[str, Any]:
        asked = urlencode({"limit": str(_PAGE), **which})
        url = f"{self._base}?{self._query}&{asked}" if self._query else f"{self._base}?{asked}"
        try:
            with pool.stream("GET", url, headers=self._headers, extensions={"timeout": _TIMEOUTS}) as answer:
                if answer.status != _OK:
                    raise StatementUnusable(f"The API at {self._base} answered {answer.status}.")
                return _read(answer.iter_stream())
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            raise StatementUnusable(f"The API at {self._base} does not answer ({type(error).__name__}).") from error


def _read(pieces: Iterator[bytes]) -> dict[str, Any]:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > _LARGEST_PAGE:
            raise StatementUnusable(f"A page of the API is larger than {_LARGEST_PAGE:,} bytes.")
    try:
        page = json.loads(body)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict) or not isinstance(page.get("orders"), list):
        raise StatementUnusable("A page of the API is no JSON object with a list `orders`.")
    return page


def _frame(rows: list[Any], system: str) -> pl.DataFrame:
    """Whatever it holds, as text."""
    said = [
        {name: _text(row.get(name)) for name in _FIELDS} if isinstance(row, dict) else dict.fromkeys(_FIELDS)
        for row in rows
    ]
    frame = pl.DataFrame(said, schema=dict.fromkeys(sorted(_FIELDS), pl.String))
    return frame.with_columns(pl.col("source").fill_null(system))


def _text(value: object) -> str | None:
    """What is neither text nor number becomes a control character, which no field may hold."""
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else "\0"

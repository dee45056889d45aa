"""Reads a statement from another system's database: read-only, in one moment, row by row as it comes."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl
import psycopg
from psycopg import sql

from mes.reconciliation import statement
from mes.reconciliation.model import StatementUnusable
from mes.reconciliation.statement import Statement

STATEMENT_LIMIT_S = 600
_READ_ONLY = f"-c default_transaction_read_only=on -c statement_timeout={STATEMENT_LIMIT_S}s -c timezone=UTC"
_ROWS_AT_ONCE = 50_000
_CONNECT_S = 10
_OPTIONAL = ("source", "status", "version", "sent", "updated_at")
_NEEDED = "external_id"


class Database:
    """A table or view at `postgresql://user:password@host:port/name#schema.table`, with a statement's columns."""

    def __init__(self, url: str) -> None:
        location, _, table = url.partition("#")
        names = [unquote(part) for part in (table or "orders").split(".")]
        if not all(names) or len(names) > 2:  # noqa: PLR2004 - schema and table
            raise StatementUnusable("Name the statement's table behind `#`, as schema.table.")
        self._location, self._table = location.replace("postgresql+psycopg://", "postgresql://", 1), names

    def read(self, system: str, since: datetime | None, keys: pl.DataFrame) -> Statement:
        """All rows; with `since`, where the table tells when a row changed, those since then and those of `keys`."""
        try:
            with psycopg.connect(
                self._location,
                connect_timeout=_CONNECT_S,
                application_name="mes-reconciliation",
                options=_READ_ONLY,
            ) as conn:
                conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                return self._read(conn, system, since, keys)
        except psycopg.Error as error:
            host = urlsplit(self._location).hostname
            why = error.diag.message_primary or type(error).__name__
            raise StatementUnusable(f"The statement's database at {host} cannot be read: {why}.") from error

    def _read(
        self, conn: "psycopg.Connection[Any]", system: str, since: datetime | None, keys: pl.DataFrame
    ) -> Statement:
        table = sql.Identifier(*self._table)
        with conn.cursor() as looking:
            looking.execute(sql.SQL("select * from {} limit 0").format(table))
            there = {column.name for column in looking.description or ()}
        if _NEEDED not in there:
            raise StatementUnusable(f"The statement's table has no column `{_NEEDED}`.")
        columns = [name for name in (_NEEDED, *_OPTIONAL) if name in there]
        part = since is not None and "updated_at" in there
        numbers = keys["external_id"].unique().to_list() if part else []
        query = sql.SQL("select {} from {} {}").format(
            sql.SQL(", ").join(_as_text(name) for name in columns),
            table,
            sql.SQL("where updated_at >= %(since)s or external_id::text = any(%(numbers)s)" if part else ""),
        )
        frames = []
        with conn.cursor("statement") as cursor:
            cursor.execute(query, {"since": since, "numbers": numbers} if part else None)
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                frames.append(pl.DataFrame(rows, dict.fromkeys(columns, pl.String), orient="row"))
        found = pl.concat(frames) if frames else pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
        missing = [pl.lit(None, dtype=pl.String).alias(name) for name in _OPTIONAL if name not in columns]
        stated = statement.clean(found.with_columns(missing).with_columns(pl.col("source").fill_null(system)), ())
        return replace(stated, asked=keys if part else None)


def _as_text(name: str) -> sql.Composable:
    """A time in ISO 8601, whatever the column's type; anything else as Postgres writes it."""
    column = sql.Identifier(name)
    if name == "updated_at":
        return sql.SQL("""to_char({} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""").format(column)
    return sql.SQL("{}::text").format(column)

"""Chooses where a system's statement is read from, by its URL."""

from datetime import datetime, timedelta
from typing import Protocol

import polars as pl

from mes import config
from mes.reconciliation import statement
from mes.reconciliation.api import Api
from mes.reconciliation.database import Database
from mes.reconciliation.model import SYSTEMS, Rules, StatementMissing, StatementUnusable
from mes.reconciliation.statement import Statement

_API, _DATABASE = ("https", "http"), ("postgresql", "postgres", "postgresql+psycopg")
_FILES = ("file", "s3", "gs", "az", "abfs", "abfss")


class Source(Protocol):
    """Where a system's statement comes from."""

    def read(self, system: str, since: datetime | None, keys: pl.DataFrame) -> Statement:
        """All that it states; with `since`, perhaps no more than what changed since then, and what it says of `keys`.

        Raises:
            StatementMissing, StatementUnusable: as they say.
        """
        ...


class Files:
    """Exports in a folder or an object store, as the feeds' are laid out."""

    def __init__(self, location: str) -> None:
        self._location = location

    def read(self, system: str, since: datetime | None, keys: pl.DataFrame) -> Statement:  # noqa: ARG002 - a file is read whole
        """All that the exports state."""
        return statement.from_files(system, self._location)


def configured(system: str, settings: config.Settings) -> Source:
    """Where the settings say that a system's statement is.

    Raises:
        StatementMissing: they say nothing.
    """
    url = url_of(system, settings)
    if url is None:
        variable = config.variable(f"{system}_statement_url")
        raise StatementMissing(f"Nothing says where the statement of {system} is: set {variable}.")
    return at(url)


def stating(settings: config.Settings, system: str | None = None) -> list[str]:
    """Systems whose statement is configured; the one that is named, configured or not.

    Raises:
        StatementMissing: none is.
    """
    if system is not None:
        return [system]
    found = [each for each in SYSTEMS if url_of(each, settings) is not None]
    if not found:
        variables = " or ".join(config.variable(f"{each}_statement_url") for each in SYSTEMS)
        raise StatementMissing(f"Nothing says where shop and CRM state their orders: set {variables}.")
    return found


def rules(settings: config.Settings) -> Rules:
    """What counts as drift, by the settings."""
    return Rules(settle=timedelta(minutes=settings.drift_settle_minutes))


def at(url: str) -> Source:
    """The source of a URL: an API, a database, or a place of files.

    Raises:
        StatementUnusable: it is none of these; the message repeats nothing of the URL, which may hold a secret.
    """
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator:
        return Files(url)
    if scheme in _API:
        return Api(f"{scheme}://{rest}")
    if scheme in _DATABASE:
        return Database(f"{scheme}://{rest}")
    if scheme not in _FILES:
        raise StatementUnusable(
            f"A statement is read by {', '.join((*_API, *_DATABASE[:1], *_FILES))}, or from a folder."
        )
    if "@" in rest.partition("/")[0]:
        raise StatementUnusable("An object store's keys come from its own variables: leave them out of the URL.")
    return Files(f"{scheme}://{rest}")


def url_of(system: str, settings: config.Settings) -> str | None:
    """As configured; None where nothing is."""
    if system not in SYSTEMS:
        raise StatementMissing(f"Nobody states orders as {system!r}; there are {', '.join(SYSTEMS)}.")
    return settings.shop_statement_url if system == "shop" else settings.crm_statement_url

"""Chooses where a system's statement is read from, by its URL."""

from datetime import datetime, timedelta
from typing import Protocol

import polars as pl

from mes import config
from mes.reconciliation import statement
from mes.reconciliation.api import Api
from mes.reconciliation.database import Database
from mes.reconciliation.model import SYSTEMS, Rules, StatementMissing
from mes.reconciliation.statement import Statement


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
    """The source of a URL: an API, a database, or a place of files."""
    if url.startswith(("http://", "https://")):
        return Api(url)
    if url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        return Database(url)
    return Files(url)


def url_of(system: str, settings: config.Settings) -> str | None:
    """As configured; None where nothing is."""
    if system not in SYSTEMS:
        raise StatementMissing(f"Nobody states orders as {system!r}; there are {', '.join(SYSTEMS)}.")
    return settings.shop_statement_url if system == "shop" else settings.crm_statement_url

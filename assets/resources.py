"""What assets are handed: the database, the feeds, the object store; each from the typed settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

import dagster as dg
from pydantic import Field, PrivateAttr
from sqlalchemy import Connection, Engine

from assets import run_trace
from mes import config
from mes.db import engine
from mes.errors import MesError
from mes.feeds.files import FeedFolder
from mes.models.sandbox import Limits
from mes.models.store import ObjectStore


class NoDatabase(MesError):
    """Set MES_DATABASE_URL, or start the system with `mes up`, which sets it for Dagster."""

    code = "no_database"


class Database(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Postgres, the truth."""

    _engine: Engine | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["Database"]:
        """Open the pool of this run, and close it; what is done with it is the run's, in traces too."""
        self._engine = engine.connect(self.url, application="mes-dagster", pool_size=2)
        try:
            with run_trace.of_run(context):
                yield self
        finally:
            self._engine.dispose()

    @property
    def url(self) -> str:
        """Where it is, as configured.

        Raises:
            NoDatabase: it is not.
        """
        url = config.load().database_url
        if url is None:
            raise NoDatabase
        return url

    @property
    def connections(self) -> Engine:
        """For work that takes several transactions.

        Raises:
            NoDatabase: no run has opened it.
        """
        if self._engine is None:
            raise NoDatabase
        return self._engine

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: committed at the end of the block, rolled back if it fails."""
        with self.connections.begin() as connection:
            yield connection


class Feeds(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The folder or URL where shop, CRM and the old system put their exports."""

    location: str | None = Field(default=None, description="Another place than the one that MES_FEEDS_URL names.")

    @property
    def folder(self) -> FeedFolder:
        """The place, as configured."""
        return FeedFolder(self.location or config.load().feeds_location)


class Models(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The object store, and how models get into it."""

    @cached_property
    def store(self) -> ObjectStore:
        """Where models, pictures and raw months are kept."""
        return ObjectStore(config.load().objects_location)

    @property
    def limits(self) -> Limits:
        """How much one model may take."""
        return Limits.of(config.load())

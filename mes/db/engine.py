"""Opens connections to Postgres; transactions begin at the edges, with `engine.begin()`."""

from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext, make_url

from mes.db.pools import OVERFLOW, POOLS
from mes.observability import traces

# a server that is gone without a word (a cut cable, a host that died) is given up after some twenty seconds
_ALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2, "tcp_user_timeout": 20_000}


def sqlalchemy_url(url: str) -> str:
    """`postgresql://...` as SQLAlchemy wants it: psycopg 3 named, since a bare URL may mean another driver."""
    return make_url(url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def connect(
    url: str, *, application: str = "mes", pool_size: int = 5, ping: bool = True, wait_s: float = 10.0
) -> Engine:
    """An engine on the database at `url` (with or without a driver name), in UTC.

    Args:
        url: of the database.
        application: names the process in `pg_stat_activity`.
        pool_size: connections that are kept.
        ping: whether a connection is tried before each use; whoever counts tenths of milliseconds must find out
            otherwise which ones the server has closed.
        wait_s: for how long a connection is waited for while all are in use, seconds.
    """
    engine = create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=OVERFLOW,
        pool_pre_ping=ping,
        hide_parameters=True,  # they hold customers' names and hashes, which do not belong into an error
        pool_timeout=wait_s,
        connect_args={"application_name": application, "options": "-c timezone=UTC", "connect_timeout": 10} | _ALIVE,
    )
    _trace(engine)
    POOLS.add(engine, application)
    return engine


def _trace(engine: Engine) -> None:
    """Make each statement a span of the work that it belongs to."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin(_conn: object, _cursor: object, statement: str, _values: object, context: Any, _many: bool) -> None:  # noqa: ANN401, FBT001 - SQLAlchemy's
        if context is not None:
            context.span = traces.begin_query(statement)

    @event.listens_for(engine, "after_cursor_execute")
    def end(_conn: object, _cursor: object, _statement: str, _values: object, context: Any, _many: bool) -> None:  # noqa: ANN401, FBT001 - SQLAlchemy's
        if (span := getattr(context, "span", None)) is not None:
            span.end()

    @event.listens_for(engine, "handle_error")
    def fail(failed: ExceptionContext) -> None:
        span = getattr(failed.execution_context, "span", None)
        if span is not None and span.is_recording():
            traces.note_error(span, failed.original_exception)
            span.end()

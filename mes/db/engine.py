"""Opens connections to Postgres; transactions begin at the edges, with `engine.begin()`."""

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import make_url

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
    return create_engine(
        sqlalchemy_url(url),
        pool_size=pool_size,
        pool_pre_ping=ping,
        hide_parameters=True,  # they hold customers' names and hashes, which do not belong into an error
        pool_timeout=wait_s,
        connect_args={"application_name": application, "options": "-c timezone=UTC", "connect_timeout": 10} | _ALIVE,
    )

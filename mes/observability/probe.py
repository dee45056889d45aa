"""Connects to the database for questions of health, apart from the process's own connections and never for long."""

from sqlalchemy import Engine, NullPool, create_engine

from mes.db.engine import sqlalchemy_url

# a question that takes longer is an answer in itself
STATEMENT_TIMEOUT_MS = 1_500
_CONNECT_TIMEOUT_S = 2  # the least that libpq heeds
# a server that vanished without a word is noticed after this
_SILENCE_MS = 2_000


def connect(url: str, *, statement_timeout_ms: int = STATEMENT_TIMEOUT_MS) -> Engine:
    """An engine whose connections are made anew each time, commit by themselves and give up soon.

    A connection of its own answers while the process's pool is used up, and shows that the server takes new ones.
    """
    return create_engine(
        sqlalchemy_url(url),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "application_name": "mes-health",
            "options": f"-c timezone=UTC -c statement_timeout={statement_timeout_ms}",
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "tcp_user_timeout": _SILENCE_MS,
        },
    )

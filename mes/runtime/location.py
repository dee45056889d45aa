"""Names the databases in the ways that different drivers want, and makes sure that they exist and are new enough."""

from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from mes.errors import MesError
from mes.observability.redaction import redact_text

MINIMUM_VERSION = 18  # uuidv7(), `merge ... returning` with old and new rows
_CONNECT_TIMEOUT_S = 10


class DatabaseUnreachable(MesError):
    """The database cannot be reached."""

    code, http_status = "database_unreachable", 503


class UnsupportedPostgres(MesError):
    """This Postgres is too old."""

    code = "unsupported_postgres"


class DatabaseNotPermitted(MesError):
    """A database is missing, and this user may not create it."""

    code = "database_not_permitted"


@dataclass(frozen=True)
class Database:
    """Where the data lies. Both URLs are plain libpq ones, `postgresql://user:password@host:port/name?options`."""

    libpq_url: str
    dagster_libpq_url: str

    @property
    def url(self) -> str:
        """The main database for SQLAlchemy (psycopg 3)."""
        return sqlalchemy_url(self.libpq_url)

    @property
    def dagster_url(self) -> str:
        """Dagster's database for its storage classes, which set timeouts in psycopg 2's way."""
        return sqlalchemy_url(self.dagster_libpq_url, driver="psycopg2")

    @property
    def parameters(self) -> dict[str, str]:
        """The main database's parts for dbt and psycopg 2; see `parameters`."""
        return parameters(self.libpq_url)


def libpq_url(url: str) -> str:
    """The URL as libpq reads it: `postgresql://`, without a driver."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgres", "postgresql"}:
        raise DatabaseUnreachable("The database's URL must start with postgresql://.")
    return f"postgresql://{rest}"


def sqlalchemy_url(url: str, driver: str = "psycopg") -> str:
    """The URL as SQLAlchemy reads it, with the driver named."""
    return libpq_url(url).replace("postgresql://", f"postgresql+{driver}://", 1)


def parameters(url: str) -> dict[str, str]:
    """`host` (a host name, or the folder of a unix socket), `port`, `user`, `password`, `dbname`; text, never None."""
    parts = urlsplit(libpq_url(url))
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "host": unquote(parts.hostname or "") or query.get("host", "localhost"),
        "port": str(parts.port or query.get("port", "5432")),
        "user": unquote(parts.username or "") or query.get("user", ""),
        "password": unquote(parts.password or "") or query.get("password", ""),
        "dbname": unquote(parts.path.lstrip("/")) or query.get("dbname", ""),
    }


def named(url: str, name: str) -> str:
    """The same server and user, another database."""
    return urlunsplit(urlsplit(libpq_url(url))._replace(path=f"/{quote(name, safe='')}"))


def connect(url: str) -> psycopg.Connection:
    """An autocommit connection for looking around and for making databases.

    Raises:
        DatabaseUnreachable: with what the server or the network said, without the password.
    """
    try:
        return psycopg.connect(libpq_url(url), autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S)
    except psycopg.Error as error:
        lines = [line.strip() for line in redact_text(str(error)).splitlines()]
        reason = "; ".join(filter(None, lines)).rstrip(".?")
        raise DatabaseUnreachable(
            f"The database cannot be reached: {reason}. Check MES_DATABASE_URL and the server."
        ) from None


def require_version(url: str) -> None:
    """Check that the server is new enough.

    Raises:
        UnsupportedPostgres: it is older than 18.
        DatabaseUnreachable: it cannot be asked.
    """
    with connect(url) as conn:
        version = conn.info.server_version // 10000
    if version < MINIMUM_VERSION:
        raise UnsupportedPostgres(
            f"This is Postgres {version}; {MINIMUM_VERSION} or later is needed. Upgrade the server, or unset "
            "MES_DATABASE_URL to use the embedded one."
        )


def ensure_exists(url: str) -> None:
    """Create the URL's database unless it is there.

    Raises:
        DatabaseUnreachable: it cannot be connected to, and does not merely lack.
        DatabaseNotPermitted: it is missing and the user may not create it.
    """
    try:
        connect(url).close()
    except DatabaseUnreachable:
        if not _is_missing(url):
            raise
        _create(url)


def _is_missing(url: str) -> bool:
    """Asked in the server's `postgres` database, since the text of a refused connection depends on the locale."""
    try:
        with connect(named(url, "postgres")) as conn:
            found = conn.execute("select 1 from pg_database where datname = %s", [parameters(url)["dbname"]]).fetchone()
    except DatabaseUnreachable:
        return False
    return found is None


def _create(url: str) -> None:
    name = parameters(url)["dbname"]
    statement = sql.SQL("create database {} template template0 encoding 'UTF8'").format(sql.Identifier(name))
    with connect(named(url, "postgres")) as conn:
        try:
            conn.execute(statement)
        except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            return  # another process was quicker
        except psycopg.errors.InsufficientPrivilege:
            raise DatabaseNotPermitted(
                f"The database {name} is missing, and the user {parameters(url)['user']} may not create it. Let an "
                f'administrator run: create database "{name}" owner "{parameters(url)["user"]}"'
            ) from None

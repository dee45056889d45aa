"""The console's door for people: who a cookie belongs to, signing in and signing out."""

from datetime import timedelta
from urllib.parse import urlsplit

import structlog

from app import queries
from mes import config
from mes.clock import utc_now
from mes.people import permissions, sessions, users
from mes.people import sign_in as credentials
from mes.people.model import NotSignedIn, Role, User
from mes.people.permissions import Permission

__all__ = ["COOKIE", "LOCAL_HOME", "SIGN_IN", "SIGN_OUT", "NotSignedIn", "Permission", "Role", "User"]

COOKIE = "mes_session"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
LOCAL_HOME = "/"

log = structlog.get_logger(__name__)


def lasts() -> timedelta:
    """How long a person stays signed in at most."""
    return timedelta(hours=config.load().session_hours)


def user_of(token: str | None) -> User | None:
    """Whose session this is now; None when there is none, or it is over.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as `queries.connection` says.
    """
    if not token:
        return None
    with queries.connection(write=True) as conn:
        return sessions.user_of(conn, token, utc_now(), lasts())


def sign_in(user_name: str, password: str, old_token: str | None) -> str | None:
    """The token of a new session when name and password fit, else None; what the browser had before ends.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as `queries.connection` says.
    """
    with queries.connection(write=True) as conn:
        now = utc_now()
        user = credentials.check(conn, user_name, password, now)
        if user is None:
            log.warning("sign-in refused")  # not for whom: people type passwords into the name's field
            return None
        if old_token:
            sessions.end(conn, old_token)
        token = sessions.start(conn, user.user_name, now, lasts())
    log.info("signed in", user=user.user_name, role=user.role.value)
    return token


def sign_out(token: str | None) -> None:
    """End this session, wherever its cookie is still kept.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as `queries.connection` says.
    """
    if token:
        with queries.connection(write=True) as conn:
            sessions.end(conn, token)


@queries.again_on_primary
def anybody() -> bool:
    """Whether there is any user who could sign in.

    Raises:
        NoDatabase, DatabaseDown, NotBuilt: as `queries.connection` says.
    """
    with queries.connection() as conn:
        return users.exist(conn)


def allows(role: Role, permission: Permission) -> bool:
    """Whether people of this role may do that; for pages alone, since an action looks again."""
    return permissions.allows(role, permission)


def local(address: str | None) -> str:
    """The address to go to after signing in: a path of this console, whatever a link said (CWE-601)."""
    if not address or not address.startswith("/") or address.startswith("//"):
        return LOCAL_HOME
    if "\\" in address or not address.isprintable():  # browsers read `/\` as `//`, and leave out tabs and line ends
        return LOCAL_HOME
    try:
        parts = urlsplit(address)
    except ValueError:
        return LOCAL_HOME
    if parts.scheme or parts.netloc or parts.path in {SIGN_IN, SIGN_OUT}:
        return LOCAL_HOME
    return address

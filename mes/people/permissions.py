"""Says what each role may do; every action of a person asks here, in its own transaction."""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Connection, text

from mes.people.model import NotAllowed, NotSignedIn, Role, User


class Permission(StrEnum):
    """Something that a person may be allowed to do."""

    WORK = "work"  # move an order, claim it, take the next job, give it back
    TAKE_OVER = "take_over"
    HOLD = "hold"  # and release
    NOTE = "note"
    ASSIGN = "assign"  # give an order to anyone, share the open work out
    MESSAGES = "messages"  # go on with parked events, send webhooks again, mend drift
    MANAGE_USERS = "manage_users"


_OPERATORS = frozenset({Permission.WORK, Permission.TAKE_OVER, Permission.HOLD, Permission.NOTE})

ALLOWED: Mapping[Role, frozenset[Permission]] = {Role.OPERATOR: _OPERATORS, Role.MANAGER: frozenset(Permission)}


def allows(role: Role, permission: Permission) -> bool:
    """Whether people of this role may do that; for pages, which show no button that would be refused."""
    return permission in ALLOWED[role]


def require(conn: Connection, user_name: str, permission: Permission) -> User:
    """The user as he is now, when he may do that; what a page or a session remembers of him does not count.

    His row stays locked against changes until the transaction ends: whoever deactivates him waits, and then sees what
    he did.

    Raises:
        NotSignedIn: there is no such user, or he is not active.
        NotAllowed: his role does not include it.
    """
    row = conn.execute(
        text("select user_name, role, active from ops.users where user_name = :user_name for share"),
        {"user_name": user_name},
    ).one_or_none()
    if row is None or not row.active:
        raise NotSignedIn
    user = User(row.user_name, Role(row.role), active=True)
    if not allows(user.role, permission):
        raise NotAllowed(user=user.user_name, role=user.role.value, permission=permission.value)
    return user

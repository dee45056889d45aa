"""Gives a workshop that nobody works in its first people, so that a newcomer can sign in."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from mes.people import passwords, users
from mes.people.model import Role


class DemoPerson(NamedTuple):
    """Somebody new, with the password that only the caller knows."""

    user_name: str
    role: Role
    password: str


PEOPLE = (
    ("Tomas", Role.MANAGER),
    ("Jonas", Role.OPERATOR),
    ("Mira", Role.OPERATOR),
    ("Vera", Role.OPERATOR),
)


def ensure_demo_people(conn: Connection) -> Sequence[DemoPerson]:
    """Make a manager and three operators with passwords of their own, unless there is any user already.

    Returns:
        Those who are new; show them now, for only hashes are kept.
    """
    if users.exist(conn):
        return []
    people = [DemoPerson(user_name, role, passwords.generate()) for user_name, role in PEOPLE]
    for person in people:
        users.create(conn, person.user_name, person.role, person.password)
    return people

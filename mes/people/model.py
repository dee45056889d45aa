"""What a person is to the system: a name, a role, and what can go wrong when he or she signs in."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from mes.errors import MesError


class Role(StrEnum):
    """What somebody is here for."""

    OPERATOR = "operator"
    MANAGER = "manager"


@dataclass(frozen=True)
class User:
    """Somebody who may sign in while `active`; `user_name` is also the name that events are recorded under."""

    user_name: str
    role: Role
    active: bool


class NotSignedIn(MesError):
    """You are signed out. Sign in again."""

    code: ClassVar[str] = "not_signed_in"
    http_status: ClassVar[int] = 401


class NotAllowed(MesError):
    """Your role does not allow this. Ask a manager."""

    code: ClassVar[str] = "not_allowed"
    http_status: ClassVar[int] = 403


class NoSuchUser(MesError):
    """There is no user of this name; `mes users list` shows all."""

    code: ClassVar[str] = "no_such_user"
    http_status: ClassVar[int] = 404


class NameTaken(MesError):
    """There is a user of this name already; upper and lower case make no difference."""

    code: ClassVar[str] = "name_taken"
    http_status: ClassVar[int] = 409


class BadUserName(MesError):
    """A user's name has 1 to 64 letters, digits, spaces, dots, hyphens or underscores, and begins with a letter."""

    code: ClassVar[str] = "bad_user_name"
    http_status: ClassVar[int] = 422


class BadPassword(MesError):
    """This password cannot be used."""

    code: ClassVar[str] = "bad_password"
    http_status: ClassVar[int] = 422

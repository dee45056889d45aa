"""What the core knows of a program that calls: whose it is, and what it may see and do."""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from mes.errors import MesError
from mes.orders.life import System
from mes.orders.model import Actor


class Scope(StrEnum):
    """What a key is for; it decides which orders its caller sees and which moves it may make."""

    SHOP = "shop"
    PARTNER = "partner"
    CRM = "crm"
    ADMIN = "admin"


_SYSTEMS = {
    Scope.SHOP: System.SHOP,
    Scope.PARTNER: System.SHOP,  # a partner's shop makes the shop's moves
    Scope.CRM: System.CRM,
    Scope.ADMIN: System.ADMIN,
}


@dataclass(frozen=True)
class Caller:
    """A program with a valid key.

    Attributes:
        name: whose program it is: the `source` of its orders, and the owner of its models and quotes. Several keys may
            share it, as during a change of keys.
        scope: what the key is for.
        key_name: what people call the key; events name it as their actor.
    """

    name: str
    scope: Scope
    key_name: str

    @property
    def sees_all(self) -> bool:
        """Whether it sees the orders of every source."""
        return self.scope in {Scope.CRM, Scope.ADMIN}

    @property
    def actor(self) -> Actor:
        """As whom it acts on orders."""
        return Actor(_SYSTEMS[self.scope], self.key_name)

    @property
    def usual_tier(self) -> str:
        """The tier of customers and quotes for which it names none."""
        return "b2b" if self.scope is Scope.PARTNER else "retail"


class NotAuthenticated(MesError):
    """Send a valid API key: `Authorization: Bearer <key>`. It may be missing, mistyped, expired or revoked."""

    code: ClassVar[str] = "not_authenticated"
    http_status: ClassVar[int] = 401

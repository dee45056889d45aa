"""Hashes passwords with Argon2id, checks them, generates them, and says which ones may be chosen."""

import secrets
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from mes.people.model import BadPassword

MIN_LENGTH = 12  # characters; NIST SP 800-63B asks for 8 at least, and for length rather than for kinds of characters
MAX_BYTES = 1024  # or a guest's megabytes would be hashed
_MIN_DIFFERENT = 5

_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # none that a person takes for another
_GROUPS, _GROUP_LENGTH = 4, 4  # 16 of 31 characters are 79 bits

_hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)  # 64 MiB, 3 passes, 4 lanes: RFC 9106, section 4


def generate() -> str:
    """A new password of 79 random bits, in groups that can be read aloud."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_LENGTH)) for _ in range(_GROUPS))


def require_good(password: str) -> None:
    """Refuse what is too easy to guess, or too long to hash.

    Raises:
        BadPassword: it says what to change, and never repeats the password.
    """
    if len(password) < MIN_LENGTH:
        raise BadPassword(f"The password is too short: it needs at least {MIN_LENGTH} characters.")
    if len(_bytes(password)) > MAX_BYTES:
        raise BadPassword(f"The password is too long: it may have up to {MAX_BYTES} bytes.")
    if len(set(password)) < _MIN_DIFFERENT:
        raise BadPassword(f"The password is too easy to guess: use at least {_MIN_DIFFERENT} different characters.")


def hashed(password: str) -> str:
    """The hash to store, with its parameters and a salt of its own."""
    return _hasher.hash(_bytes(password))


def matches(password_hash: str, password: str) -> bool:
    """Whether the password is the one that was hashed; one that is too long to be any is not looked at closer."""
    given = _bytes(password)
    fits = len(given) <= MAX_BYTES
    try:
        _hasher.verify(password_hash, given if fits else b"")
    except (VerificationError, InvalidHashError):
        return False
    return fits


def match_nobody(password: str) -> None:
    """Take the time that `matches` takes, for a user who does not exist: an answer's delay must not tell that."""
    matches(_hash_of_nobody(), password)


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


@cache
def _hash_of_nobody() -> str:
    return hashed(secrets.token_hex())


def _bytes(password: str) -> bytes:
    """The same bytes however the keyboard composes accents (NFKC, as NIST SP 800-63B says)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")

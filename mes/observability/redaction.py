"""Takes secrets and personal data out of whatever is told of the work: logs, spans, errors on a terminal."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from structlog.typing import EventDict, WrappedLogger

REDACTED = "[redacted]"

# `authorization` is a header, the rest are the names that libraries and people give to what must stay private
_SECRET_KEY = re.compile(
    r"(?i)(password|passwd|passphrase|secret|authorization|credential|private_?key|api[_-]?key|(^|[_-])token$|^cookie$)"
)
# of customers; people who work here are named, since who did something is what logs are for
_PERSONAL_KEY = re.compile(
    r"(?i)(^customer$|customer_?name|(^|_)e_?mail($|_address)|(^|_)phone|engraving|^recipient|"
    r"(street|postal|shipping|billing)_?address)"
)
_SECRET_TEXT: tuple[tuple[re.Pattern[str], str], ...] = (
    # a URL's password runs to the last `@` before a blank, since people forget to escape `/` and `@` in it
    (
        re.compile(r"(?i)(?<![a-z0-9+.-])((?!https?:)[a-z][a-z0-9+.-]*://[^\s:/@'\"]*):[^\s'\"]{1,1000}@"),
        rf"\1:{REDACTED}@",
    ),
    (re.compile(r"(?i)\b(https?://[^\s:/@'\"]*):[^\s/'\"]{1,1000}@"), rf"\1:{REDACTED}@"),
    (re.compile(r"(?i)(\bbearer|authorization\W{1,9}basic)\s+[\w.~+/=-]+"), rf"\1 {REDACTED}"),
    (re.compile(r"(?i)(?<![\w-])((?:set-)?cookie:)[^\r\n]+"), rf"\1 {REDACTED}"),
    (
        re.compile(
            r"(?i)(?P<key>(?<![\w-])[\w-]*(?:password|passwd|secret|token|api[_-]?key)[\"']?\s*[=:]\s*)"
            r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s&;,\"'}\])]+)"
        ),
        rf"\g<key>{REDACTED}",
    ),
)
# our own keys (`mes_<id>_<secret>`: the id may be told) and webhooks' secrets, wherever they turn up
_OWN_SECRET = re.compile(r"\b(mes_[0-9a-f]{8,}_(?=[0-9a-f]{8})|whsec_)[\w+/=-]{8,}")
# what Postgres adds to an error or a slow statement: the row that it was about, or the parameters
_ROW = re.compile(r"(?s)\b(DETAIL|CONTEXT):\s.*")
# not the user of a URL, such as `nats://relay@bus.example`
_E_MAIL = re.compile(r"(?<![\w.%+-])(?<!://)[\w.%+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)*\.[a-zA-Z]{2,}\b")
# what each of these patterns needs; most values, such as ids and names, have none of it and are spared the rest
_MAY_HOLD_SECRET = re.compile(r"(?i)[:=]|bearer|basic")
_LONGEST_NAME = 64


def redact(_logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
    """Structlog processor that removes secrets and personal data: by the key's name, and from within any text."""
    return {key: value if _is_harmless(key, value) else _clean(str(key), value) for key, value in event.items()}


def redact_text(text: str) -> str:
    """The text without passwords in URLs, tokens, keys, what follows `password=`, e-mail addresses and rows of tables.

    It takes time in proportion to the text's length, whoever has written it.
    """
    if _is_id(text):
        return text
    if "DETAIL" in text or "CONTEXT" in text:
        text = _ROW.sub(rf"\1: {REDACTED}", text)
    if "_" in text:
        text = _OWN_SECRET.sub(rf"\1{REDACTED}", text)
    if _MAY_HOLD_SECRET.search(text):
        for pattern, replacement in _SECRET_TEXT:
            text = pattern.sub(replacement, text)
    return _E_MAIL.sub(REDACTED, text) if "@" in text or "%40" in text else text


def is_private(key: str) -> bool:
    """Whether nothing may be told of what goes by such a name."""
    return _is_private(key) if len(key) <= _LONGEST_NAME else _is_private.__wrapped__(key)


def are_ids(values: Iterable[object]) -> bool:
    """Whether all are texts of ASCII letters, digits and `-` alone, in which `redact_text` would find nothing."""
    try:
        # asking each for its type, or text for its letters, takes longer
        return "".join(values).replace("-", "").encode(errors="replace").isalnum()  # type: ignore[arg-type]
    except TypeError:
        return False


def _is_harmless(key: str, value: object) -> bool:
    """An id under a name that is known: most of what is said often, and spared the rest."""
    return type(value) is str and len(key) <= _LONGEST_NAME and not _is_private(key) and _is_id(value)


def _is_id(text: str) -> bool:
    """Of letters, digits and `-` alone; all that is looked for has something else."""
    return text.isalnum() or text.replace("-", "").isalnum()


def _clean(key: str, value: object) -> object:
    if value is not None and is_private(key):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {name: _clean(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean("", inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redact_text(str(value))  # a SQLAlchemy URL, an exception, a path: whatever JSON would have called str() on


@lru_cache(maxsize=1024)
def _is_private(key: str) -> bool:
    """Programs have few names for what they log: looking each up again took most of a line's time."""
    return bool(_SECRET_KEY.search(key) or _PERSONAL_KEY.search(key))

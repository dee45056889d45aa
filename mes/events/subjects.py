"""Names the subjects of the bus: ours by order, the shop's and the CRM's by their own numbers of it."""

import re
import zlib
from urllib.parse import unquote
from uuid import UUID

PARTITIONS = 16
OUT = "mes.v1.order"
SENDERS = ("shop", "crm")
"""Who sends events to us by the bus; each owns the subjects below `<sender>.v1.order`."""

_PLAIN = re.compile(r"[^A-Za-z0-9_-]")
_TOKEN = re.compile(r"(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+")


def partition(order_id: UUID) -> int:
    """Which of the 16 partitions an order's events belong to: consumers that share the work each take some."""
    return zlib.crc32(str(order_id).encode()) % PARTITIONS


def of_order(order_id: UUID) -> str:
    """The subject of an order's events."""
    return f"{OUT}.{partition(order_id)}.{order_id}"


def incoming(sender: str, source: str, external_id: str) -> str:
    """The subject on which a sender tells of an order, by the order's source and number there."""
    return f"{sender}.v1.order.{token(source, external_id)}"


def token(source: str, external_id: str) -> str:
    """`<source>.<external_id>` as one token: whatever is not `[A-Za-z0-9_-]` is percent-encoded, with `=` for `%`."""
    plain = f"{source}.{external_id}"
    return _PLAIN.sub(lambda match: "".join(f"={byte:02X}" for byte in match[0].encode()), plain)


def names(told: str) -> tuple[str, str] | None:
    """The source and number that a token names; None when it is none."""
    if not _TOKEN.fullmatch(told):
        return None
    try:
        source, dot, external_id = unquote(told.replace("=", "%"), errors="strict").partition(".")
    except UnicodeDecodeError:
        return None
    return (source, external_id) if dot and source and external_id else None

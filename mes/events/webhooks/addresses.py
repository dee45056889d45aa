"""Says which addresses may be called: none inside, whatever a name means at the moment of the call."""

import ipaddress
from contextlib import suppress
from typing import ClassVar
from urllib.parse import SplitResult, urlsplit

from mes.errors import MesError

LONGEST_URL = 2_000

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IPv6 addresses that carry an IPv4 address, which is where a packet ends up (RFC 6052); those of RFC 8215 are some
# network's own, and may carry it anywhere
_NAT64, _LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48")
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


class BadWebhookUrl(MesError):
    """This address cannot be called."""

    code: ClassVar[str] = "bad_webhook_url"
    http_status: ClassVar[int] = 422


def check_url(url: str, *, loopback: bool = False) -> None:
    """Check what a URL says by itself; what its name means is checked when it is called.

    Args:
        url: as the caller gave it.
        loopback: whether this machine may be called, and then by plain HTTP; for trying things out.

    Raises:
        BadWebhookUrl: says what is wrong.
    """
    parts = _parts(url)
    host = parts.hostname or ""
    if parts.username is not None or parts.password is not None:
        raise BadWebhookUrl("Leave user and password out: calls are signed instead.")
    if parts.fragment:
        raise BadWebhookUrl("Leave the fragment (#...) out.")
    here = loopback and host in _LOOPBACK_NAMES
    if parts.scheme != "https" and not (here and parts.scheme == "http"):
        raise BadWebhookUrl("The address must begin with https://.")
    with suppress(ValueError):  # most hosts are names
        if not may_be_called(ipaddress.ip_address(host), loopback=loopback):
            raise BadWebhookUrl("This is an address of a private network.")


def may_be_called(address: Address, *, loopback: bool = False) -> bool:
    """Whether it is an address of the internet at large: not private, link-local, of a cloud's metadata, or our own."""
    if isinstance(address, ipaddress.IPv6Address) and (address.is_site_local or address in _LOCAL_NAT64):
        return False
    final = _carried(address)
    if loopback and final.is_loopback:
        return True
    return final.is_global and not (final.is_multicast or final.is_reserved or final.is_unspecified)


def _parts(url: str) -> SplitResult:
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise BadWebhookUrl(f"Give an address of at most {LONGEST_URL} ASCII characters without blanks.")
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")  # as it is looked up: no empty or overlong part
    except ValueError:
        raise BadWebhookUrl("Host or port cannot be read.") from None
    if not whole:
        raise BadWebhookUrl("Give a whole address, like https://shop.example/hooks/mes.")
    return parts


def _carried(address: Address) -> Address:
    """The IPv4 address in an IPv6 address that leads to one; else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inside = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if inside is None and address in _NAT64:
        inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if inside is None and int(address) >> 32 == 0 and int(address) > 1:  # ::a.b.c.d, as of old
        inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inside or address

"""Finds ports to listen on."""

import socket

from mes.errors import MesError

_TRIED_NEXT = 50  # neighbours are easier to remember than a random port


class NoFreePort(MesError):
    """No port is free on that address."""

    code = "no_free_port"


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now.

    Raises:
        NoFreePort: this machine has no such address.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise NoFreePort(f"{host} is no address of this machine ({error.strerror}). Check MES_HOST.") from None
    with socket.socket(family, kind) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do, so that a recent one is no obstacle
        try:
            probe.bind(address)
        except OSError:
            return False
        return True


def free(host: str, wanted: int, taken: frozenset[int] = frozenset()) -> int:
    """The wanted port, or the next one that is free.

    Raises:
        NoFreePort: none of the next ones is free, which mostly means that `host` is not an address of this machine.
    """
    for port in range(wanted, min(wanted + _TRIED_NEXT, 65535) + 1):
        if port not in taken and is_free(host, port):
            return port
    raise NoFreePort(f"No port from {wanted} on is free on {host}. Check MES_HOST, or choose other ports.")


def url(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104  read, not bound
    return f"http://{shown}:{port}"

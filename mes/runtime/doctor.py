"""Says what on this machine keeps the system from running, and what to do about it."""

import importlib.util
import os
import platform
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import psutil

from mes import config
from mes.config import Settings
from mes.errors import MesError
from mes.runtime import bus_server, cluster, leash, location, ports, run_state

_GIB = 1024**3
_DISK_FAULT, _DISK_WARNING = 1 * _GIB, 10 * _GIB  # an empty home takes 60 MB, a million orders 1.6 GB
_MEMORY_FAULT, _MEMORY_WARNING = 1 * _GIB, 3 * _GIB  # all processes together, idle: about 1.5 GB
_SHM_WARNING = 64 * 1024**2  # what containers get by default; parallel queries allocate there
_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "afs", "ceph"})
_PACKAGES = ("dagster", "dagster_webserver", "dagster_dbt", "dagster_postgres", "dbt", "streamlit", "alembic")


class Verdict(StrEnum):
    """How a check came out; only a fault keeps the system from running."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"


@dataclass(frozen=True)
class Check:
    """One thing looked at: its name, the verdict, what was found, and what to do (empty when ok)."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine() -> list[Check]:
    """Look at everything; never raises for what it finds."""
    try:
        settings = config.load()
    except config.BadConfiguration as error:
        fault = Check("configuration", Verdict.FAULT, str(error), "Correct or unset the variable.")
        return [fault, *_of_machine(Settings.model_construct())]
    return [Check("configuration", Verdict.OK, "all settings can be used"), *_of_machine(settings)]


def _of_machine(settings: Settings) -> Iterator[Check]:
    if settings.home.is_absolute():
        looks: list[Callable[[Settings], Check]] = [_home, _disk, _file_system]
    else:
        looks = []  # the configuration is faulty, so there is no home to look at
    looks += [_python, _memory, _shared_memory, _clock, _packages, _postgres, _database, _replica]
    looks += [_console_port, _dagster_port, _bus, _feeds]
    for look in looks:
        name = look.__name__.strip("_").replace("_", " ")
        try:
            yield look(settings)
        except (MesError, OSError) as error:
            yield Check(name, Verdict.FAULT, str(error), "See the message.")


def _python(_settings: Settings) -> Check:
    found = platform.python_version()
    if found.startswith("3.11."):
        return Check("python", Verdict.OK, found)
    return Check("python", Verdict.FAULT, found, "Install Python 3.11 and run `make setup` again.")


def _home(settings: Settings) -> Check:
    existing = _existing(settings.home)
    try:
        with tempfile.NamedTemporaryFile(dir=existing):
            return Check("home", Verdict.OK, str(settings.home))
    except OSError as error:
        return Check("home", Verdict.FAULT, f"{existing}: {error.strerror}", "Set MES_HOME to a folder of your own.")


def _disk(settings: Settings) -> Check:
    free = shutil.disk_usage(_existing(settings.home)).free
    return _at_least("disk", free, _DISK_FAULT, _DISK_WARNING, "Free some space, or set MES_HOME to a larger disk.")


def _file_system(settings: Settings) -> Check:
    home = _existing(settings.home)
    mounts = [part for part in psutil.disk_partitions(all=True) if home.is_relative_to(part.mountpoint)]
    if not mounts:
        return Check("file system", Verdict.OK, "unknown")
    mount = max(mounts, key=lambda part: len(part.mountpoint))
    if mount.fstype in _NETWORK_FILE_SYSTEMS and settings.database_url is None:
        return Check(
            "file system", Verdict.FAULT, f"{mount.fstype} at {mount.mountpoint}", "Set MES_HOME to a local disk."
        )
    return Check("file system", Verdict.OK, f"{mount.fstype} at {mount.mountpoint}")


def _memory(_settings: Settings) -> Check:
    free = psutil.virtual_memory().available
    return _at_least("memory", free, _MEMORY_FAULT, _MEMORY_WARNING, "Close other programs, or use a larger machine.")


def _shared_memory(_settings: Settings) -> Check:
    folder = Path("/dev/shm")  # noqa: S108  looked at, not written
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return Check("shared memory", Verdict.FAULT, f"{folder} cannot be written", f"Mount a tmpfs on {folder}.")
    free = shutil.disk_usage(folder).free
    if free < _SHM_WARNING:
        return Check("shared memory", Verdict.WARNING, _size(free), "Give the container more: --shm-size=256m.")
    return Check("shared memory", Verdict.OK, _size(free))


def _clock(_settings: Settings) -> Check:
    """The clock against the newest file of our own code: a clock behind it is certainly wrong."""
    newest = max(path.stat().st_mtime for path in Path(__file__).parent.glob("*.py"))
    now = datetime.now(UTC)
    found = f"{now:%Y-%m-%d %H:%M:%S} UTC; the machine's time zone does not matter"
    if now.timestamp() < newest - 86_400:
        return Check("clock", Verdict.FAULT, found, "The clock is behind. Set it, for instance by NTP.")
    return Check("clock", Verdict.OK, found)


def _packages(_settings: Settings) -> Check:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Check("packages", Verdict.FAULT, f"missing: {', '.join(missing)}", "Run `make setup` again.")
    return Check("packages", Verdict.OK, "all importable")


def _postgres(settings: Settings) -> Check:
    if settings.database_url is not None:
        return Check("embedded postgres", Verdict.OK, "not used, since MES_DATABASE_URL is set")
    user = cluster.system_user()
    program = cluster.binaries() / "postgres"
    if user:
        cluster.make_reachable(program, user)
    argv = leash.command([str(program), "--version"], signal.SIGKILL, user)
    done = subprocess.run(argv, cwd="/", env=cluster.environment(), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        advice = "Use a glibc-based Linux (Debian, Ubuntu, Fedora), or set MES_DATABASE_URL."
        return Check("embedded postgres", Verdict.FAULT, done.stderr.strip()[-400:], advice)
    folder = cluster.socket_dir(settings.home)
    if not os.access(_existing(folder), os.W_OK | os.X_OK):
        return Check("embedded postgres", Verdict.FAULT, f"{folder} cannot be written", "Set TMPDIR to /tmp.")
    return Check("embedded postgres", Verdict.OK, f"{done.stdout.strip()}, socket in {folder}")


def _database(settings: Settings) -> Check:
    if settings.database_url is None:
        return Check("database", Verdict.OK, "the embedded one")
    location.require_version(settings.database_url)
    with location.connect(settings.database_url) as conn:
        row = conn.execute("select has_database_privilege(current_database(), 'create')").fetchone()
    if row != (True,):
        advice = "Let an administrator run: grant create on database ... to ..."
        return Check("database", Verdict.FAULT, "the user may not create schemas", advice)
    return Check("database", Verdict.OK, "reachable, new enough, schemas may be created")


def _replica(settings: Settings) -> Check:
    """Never a fault: without it reads go to the primary."""
    if settings.database_read_url is None:
        return Check("replica", Verdict.OK, "none")
    try:
        with location.connect(settings.database_read_url) as conn:
            row = conn.execute("select pg_is_in_recovery()").fetchone()
    except location.DatabaseUnreachable:
        advice = "Start it, or correct MES_DATABASE_READ_URL; meanwhile reads go to the primary."
        return Check("replica", Verdict.WARNING, "cannot be reached", advice)
    if row != (True,):
        advice = "Point MES_DATABASE_READ_URL at a streaming replica; meanwhile reads go to the primary."
        return Check("replica", Verdict.WARNING, "is no replica, or was promoted", advice)
    return Check("replica", Verdict.OK, "reachable, in recovery")


def _console_port(settings: Settings) -> Check:
    return _port("console port", settings, settings.console_port)


def _dagster_port(settings: Settings) -> Check:
    return _port("dagster port", settings, settings.dagster_port)


def _bus(settings: Settings) -> Check:
    if settings.nats_url is None:
        return _port("bus", settings, settings.nats_port)
    where = bus_server.shown(settings.nats_url)
    if any(bus_server.answers(server.strip()) for server in settings.nats_url.split(",")):
        return Check("bus", Verdict.OK, f"{where} answers")
    advice = "Start it, or correct MES_NATS_URL; meanwhile events wait in the database."
    return Check("bus", Verdict.WARNING, f"{where} does not answer", advice)


def _port(name: str, settings: Settings, port: int) -> Check:
    if ports.is_free(settings.host, port):
        return Check(name, Verdict.OK, f"{port} is free on {settings.host}")
    if (state := run_state.running(settings.home)) is not None:
        return Check(name, Verdict.OK, f"{port} is taken; the system runs already (pid {state.pid})")
    return Check(name, Verdict.WARNING, f"{port} is taken", "Nothing to do: `mes up` takes the next free port.")


def _feeds(settings: Settings) -> Check:
    where = settings.feeds_location
    if "://" in where:
        return Check("feeds", Verdict.OK, f"{where} (looked at when they are read)")
    if not Path(where).is_dir():
        advice = "Set MES_FEEDS_URL to the folder of the feeds, or run `mes demo`, which makes some."
        return Check("feeds", Verdict.WARNING, f"{where} does not exist", advice)
    if not os.access(where, os.R_OK | os.X_OK):
        return Check("feeds", Verdict.FAULT, f"{where} cannot be read", "Give this user the right to read it.")
    return Check("feeds", Verdict.OK, where)


def _at_least(name: str, free: int, fault: int, warning: int, advice: str) -> Check:
    verdict = Verdict.FAULT if free < fault else Verdict.WARNING if free < warning else Verdict.OK
    return Check(name, verdict, f"{_size(free)} free", "" if verdict is Verdict.OK else advice)


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB"


def _existing(path: Path) -> Path:
    """The folder itself, or the nearest one above it that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())

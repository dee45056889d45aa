"""Takes from a process all that reading one file does not need, before it reads a byte of it."""

import contextlib
import ctypes
import os
import resource
import signal
import struct
import sysconfig
from pathlib import Path

_MOST_OPEN_FILES = 64
_PATIENCE = 5
"""Niceness: programs that answer people go first, and a customer's model still gets a third of a busy core."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38  # prctl(2)
_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # unshare(2)

# landlock(7): numbers of the calls, rights, and how long the attributes are, by version
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_ALL_FILE_RIGHTS, _ALL_TCP, _SIGNALS_AND_SOCKETS = (1 << 16) - 1, 0b11, 0b11
_WITH_NETWORK, _WITH_SCOPES = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)
_PACKAGE = Path(__file__).resolve().parents[1]


def leave_network() -> None:
    """Move this process and those that it forks to a network of their own, which is empty; where that is allowed."""
    if _libc.unshare(_CLONE_NEWNET) != 0:
        _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # who is not root becomes nobody among nobodies first


def adopt_orphans() -> None:
    """Become the parent of what our children leave running when they end, so that it can be ended too."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies.

    Raises:
        OSError: the kernel refuses, or the parent is dead already.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


def confine(file: Path, memory_bytes: int, cpu_seconds: int) -> None:
    """Leave this process the reading of one file (and of Python's modules), and so much memory and time; for good.

    It may write nothing, open no connection, signal nobody outside and gain no rights. Landlock, which sees to most of
    that, is missing from some kernels; then it still may write no byte to a file.

    Args:
        file: the file.
        memory_bytes: address space on top of what is mapped now.
        cpu_seconds: of all its threads together.
    """
    memory = _mapped_bytes() + memory_bytes
    with contextlib.suppress(OSError):  # not everywhere may a process offer itself to the killer
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    os.nice(_PATIENCE)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _allow_reading(file)
    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, _MOST_OPEN_FILES, _MOST_OPEN_FILES),
    ):
        resource.setrlimit(kind, (soft, hard))


def _allow_reading(file: Path) -> None:
    """Read this file and Python's modules, and nothing else, by Landlock."""
    version = _libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if version < 1:
        return
    attributes = struct.pack("=Q", _FILE_RIGHTS.get(version, _ALL_FILE_RIGHTS))
    attributes += struct.pack("=Q", _ALL_TCP) if version >= _WITH_NETWORK else b""
    attributes += struct.pack("=Q", _SIGNALS_AND_SOCKETS) if version >= _WITH_SCOPES else b""
    rules = _libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    _allow(rules, file, _READ_FILE)
    for folder in {_PACKAGE, *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib"))}:
        _allow(rules, folder, _READ_FILE | _READ_DIR)
    if _libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_restrict_self failed")
    os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if _libc.syscall(_ADD_RULE, rules, _PATH_BENEATH, struct.pack("=Qi", rights, opened), 0) != 0:
        raise OSError(ctypes.get_errno(), "landlock_add_rule failed")
    os.close(opened)


def _mapped_bytes() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

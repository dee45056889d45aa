"""A small disk for the object store, which can be filled up and freed while programs write to it."""

import errno
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

_SIZE = "96m"
_PIECE = bytes(1 << 20)
_ROOM = 16 * 1024  # for the log of a program that may write no larger files


class Disk(Protocol):
    """Where the object store lies."""

    kind: str

    def fill(self) -> None:
        """Leave no room."""

    def free(self) -> None:
        """Give the room back."""

    def stop(self) -> None:
        """Leave nothing behind."""


def small_disk(folder: Path, writer: Callable[[], int | None]) -> Disk:
    """A disk of its own, mounted at the folder; where that is not permitted, its writer may write no large files.

    Args:
        folder: of the object store.
        writer: gives the process that writes there.
    """
    folder.mkdir(parents=True)
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        return _LimitedWriter(writer)
    return _Mounted(folder) if done.returncode == 0 else _LimitedWriter(writer)


class _Mounted:
    kind = "full (a disk of its own)"

    def __init__(self, folder: Path) -> None:
        self._folder, self._ballast = folder, folder / ".ballast"

    def fill(self) -> None:
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.lseek(handle, 0, os.SEEK_END)
            while True:
                os.write(handle, _PIECE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(handle)

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def stop(self) -> None:
        self.free()
        subprocess.run(["umount", "--lazy", str(self._folder)], check=False, capture_output=True)


class _LimitedWriter:
    """What a full disk is to one process: it cannot write on (EFBIG in place of ENOSPC)."""

    kind = "full for the API (a limit of its process)"

    def __init__(self, writer: Callable[[], int | None]) -> None:
        self._writer = writer

    def fill(self) -> None:
        self._limit(_ROOM)

    def free(self) -> None:
        self._limit(psutil.RLIM_INFINITY)

    def stop(self) -> None:
        self.free()

    def _limit(self, most_bytes: int) -> None:
        pid = self._writer()
        if pid is None:
            return
        with suppress(psutil.Error):
            process = psutil.Process(pid)
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (most_bytes if hard < 0 else min(most_bytes, hard), hard))

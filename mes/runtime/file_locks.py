"""Locks files between processes; the kernel lets go of them when a process dies, however it dies."""

import fcntl
import os
import time
from pathlib import Path


class FileLock:
    """An advisory lock on a file (flock), shared or exclusive."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, *, exclusive: bool, wait_s: float = 0.0) -> bool:
        """Take the lock, or turn the one held into this kind; False if it is not to be had within `wait_s` seconds.

        A held lock is lost when turning it fails.
        """
        if self._descriptor is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return False
                time.sleep(0.02)
            else:
                return True

    def release(self) -> None:
        """Let go; nothing happens if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def is_locked(path: Path) -> bool:
    """Whether some process holds the file exclusively."""
    probe = FileLock(path)
    try:
        return not probe.acquire(exclusive=False)
    finally:
        probe.release()

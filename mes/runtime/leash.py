"""Starts a program that cannot outlive the process that started it, even if that one is killed with SIGKILL."""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # prctl(2)


def command(argv: Sequence[str], on_parent_death: signal.Signals, user: str | None = None) -> list[str]:
    """The command that runs `argv` on a leash held by the calling process.

    The kernel ties the leash to the thread that starts the command: start it from one that lives on. Descendants of
    `argv` are not on the leash. An own small interpreter, rather than `preexec_fn`, since code between fork and exec
    may deadlock in a process that has threads.

    Args:
        argv: the program and its arguments.
        on_parent_death: the signal that the program gets when the calling process is gone.
        user: system user to become first (needs root); None to stay.
    """
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(on_parent_death)), user or "-", *argv]


def main(parent: int, on_parent_death: int, user: str, argv: list[str]) -> None:
    """Become the program, on the leash."""
    if user != "-":
        _become(user)
    if sys.platform == "linux":
        # after the change of user, which clears the setting
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, on_parent_death, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
        if os.getppid() != parent:  # it died before the leash was on
            sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606  becoming the program is this module's purpose


def _become(user: str) -> None:
    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])

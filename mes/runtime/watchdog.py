"""Kills all processes of a run when its supervisor is gone, since a killed supervisor cannot.

The kernel ends the supervisor's own children (see `leash`), not what those started, such as Dagster's code servers.
"""

import subprocess
import sys

from mes.runtime import run_marker


def start(run_id: str) -> "subprocess.Popen[bytes]":
    """Start the watchdog of a run; it acts when the calling process closes the pipe or dies."""
    return subprocess.Popen(
        [sys.executable, "-m", "mes.runtime.watchdog", run_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def main(run_id: str) -> None:
    """Wait for the end of the supervisor, then kill what is left of its run."""
    sys.stdin.buffer.read()
    run_marker.kill(run_id)


if __name__ == "__main__":
    main(sys.argv[1])

"""Runs one program of the system in the foreground, as a container or a second terminal does."""

import os
import signal
import subprocess
from collections.abc import Sequence

from mes import config
from mes.config import Settings
from mes.runtime import bus_server, embedded, leash, paths
from mes.runtime.environment import environment, prepare_dagster_home

_STOP_S = 10.0


def run(argv: Sequence[str], settings: Settings, **changes: str) -> int:
    """Run a program on the configured database, or beside the others on the embedded one; gives its exit status.

    Its output is ours. `changes` are environment variables that replace what the settings say. Whatever ends us ends
    the program too.
    """
    root = paths.require_repository()
    with embedded.database(settings) as database:
        prepare_dagster_home(settings.home, root)
        process = subprocess.Popen(
            leash.command(argv, signal.SIGTERM),
            cwd=root,
            env={**os.environ, **environment(settings, database, bus_server.found(settings)), **changes},
            stdin=subprocess.DEVNULL,
        )
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal has told the program, too
            return process.wait(_STOP_S)
        finally:
            _end(process)


def changed(name: str, value: object) -> dict[str, str]:
    """The environment variable that gives a setting this value."""
    return {config.variable(name): str(value)}


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

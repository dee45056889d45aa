"""Finds all processes of one run, however deep or detached, by a mark in their environment that children inherit."""

import time

import psutil

RUN = "MES_RUN_ID"
PROCESS = "MES_RUN_PROCESS"

_POLL_S = 0.05


def marks(run_id: str, process: str) -> dict[str, str]:
    """The environment variables that mark a process, and all that it starts, as part of a run."""
    return {RUN: run_id, PROCESS: process}


def members(run_id: str, process: str | None = None) -> list[psutil.Process]:
    """All living processes of the run, or of one supervised process of it; zombies are not living."""
    found = []
    for candidate in psutil.process_iter():
        try:
            environment = candidate.environ()
        except (psutil.Error, OSError):  # gone meanwhile, or another user's
            continue
        if environment.get(RUN) == run_id and process in {None, environment.get(PROCESS)}:
            found.append(candidate)
    return found


def kill(run_id: str, process: str | None = None, wait_s: float = 5.0) -> list[int]:
    """Kill all of them until none is left, since a dying parent may still start one; returns those that resist."""
    end = time.monotonic() + wait_s
    while (alive := members(run_id, process)) and time.monotonic() < end:
        for member in alive:
            try:
                member.kill()
            except psutil.NoSuchProcess:
                continue
        time.sleep(_POLL_S)  # waiting for them would take the exit status away from whoever started them
    return [member.pid for member in alive]

"""Analyses customers' files at arm's length: each in a process of its own that can be killed without harm."""

import builtins
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from mes.config import Settings
from mes.models.errors import (
    BY_CODE,
    ModelCrashed,
    ModelTooLarge,
    ModelTooMuchMemory,
    ModelTooSlow,
    UnreadableModel,
)
from mes.pricing.geometry import Geometry

_IMPORT_ROOT = Path(__file__).resolve().parents[2]
_LAST_WORDS = 300  # characters of the child's error kept for the log


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one model may take: bytes of the file, seconds on the clock, MiB of address space."""

    max_bytes: int
    time_limit_s: float
    memory_limit_mb: int

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that are configured."""
        return cls(settings.model_max_bytes, settings.model_time_limit_s, settings.model_memory_limit_mb)


@dataclass(frozen=True, slots=True)
class Analysis:
    """What we know of a model: its name (SHA-256 of its bytes), its measures and a PNG picture."""

    sha256: str
    bytes: int
    format: str
    geometry: Geometry
    picture_png: builtins.bytes


def analyse(path: Path, limits: Limits) -> Analysis:
    """Read, measure and draw one model in a confined process, which is gone when this returns or raises.

    Raises:
        UnreadableModel: the file is no sound model; the message says why, subclasses say which kind.
        ModelTooLarge: more bytes or triangles than allowed.
        ModelTooSlow: killed at the time limit.
        ModelTooMuchMemory: stopped at the memory limit.
        ModelCrashed: the process died on it.
    """
    _check_size(path, limits)
    child = subprocess.Popen(
        _command(path, limits),
        env=_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = child.communicate(timeout=limits.time_limit_s)
    except subprocess.TimeoutExpired:
        raise ModelTooSlow(seconds=limits.time_limit_s) from None
    finally:
        _end(child)
    if child.returncode != 0:
        raise _cause_of_death(child.returncode, err, limits)
    return _analysis(out)


def analyse_many(
    paths: Iterable[Path], limits: Limits, workers: int = 2
) -> Iterator[tuple[Path, Analysis | UnreadableModel]]:
    """Analyse many models side by side; yields each path with its analysis or its fault, as they finish.

    Args:
        paths: the files, taken as workers become free.
        limits: for each of them.
        workers: processes at a time.
    """
    waiting = iter(paths)
    running: dict[Future[Analysis | UnreadableModel], Path] = {}
    with ThreadPoolExecutor(workers, thread_name_prefix="analyse") as pool:
        while True:
            for path in islice(waiting, workers - len(running)):
                running[pool.submit(_analysis_or_fault, path, limits)] = path
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()


def _analysis_or_fault(path: Path, limits: Limits) -> Analysis | UnreadableModel:
    try:
        return analyse(path, limits)
    except UnreadableModel as fault:
        return fault


def _check_size(path: Path, limits: Limits) -> None:
    """Spares a process for what cannot be right."""
    if not path.is_file():
        raise UnreadableModel("The model's file is missing or is not a file.", path=path)
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise ModelTooLarge(bytes=size, most=limits.max_bytes)
    if not size:
        raise UnreadableModel("This file is empty.")


def _command(path: Path, limits: Limits) -> list[str]:
    # -P: nothing is imported from the working directory; -B: the child may not write files, bytecode included
    return [
        *(sys.executable, "-P", "-B", "-m", "mes.models.analyse_process", str(path.resolve())),
        f"--max-bytes={limits.max_bytes}",
        f"--memory-bytes={limits.memory_limit_mb * 1024 * 1024}",
        f"--cpu-seconds={math.ceil(limits.time_limit_s) + 1}",
    ]


def _environment() -> dict[str, str]:
    """None of our secrets, and one thread: numpy's reserve 40 MiB of address space each."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(_IMPORT_ROOT),
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and whatever it started, unless it has ended by itself, and collect it."""
    if child.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _cause_of_death(returncode: int, err: bytes, limits: Limits) -> UnreadableModel:
    if returncode == -signal.SIGXCPU:
        return ModelTooSlow(seconds=limits.time_limit_s)
    last_words = err.decode(errors="replace").strip()[-_LAST_WORDS:]
    if returncode == -signal.SIGKILL or "MemoryError" in last_words or "allocate memory" in last_words:
        return ModelTooMuchMemory(limit_mb=limits.memory_limit_mb)
    return ModelCrashed(returncode=returncode, reason=last_words)


def _analysis(out: bytes) -> Analysis:
    line, _, rest = out.partition(b"\n")
    answer = json.loads(line)
    if "code" in answer:
        raise BY_CODE[answer["code"]](answer["message"], **answer["facts"])
    return Analysis(
        sha256=answer["sha256"],
        bytes=answer["bytes"],
        format=answer["format"],
        geometry=Geometry.from_dict(answer["geometry"]),
        picture_png=rest[: answer["picture_bytes"]],
    )

"""Analyses customers' files at arm's length: each in a process of its own that can be killed without harm."""

import builtins
import json
import math
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from mes.config import Settings
from mes.models.errors import (
    BY_CODE,
    ModelCrashed,
    ModelTooLarge,
    ModelTooMuchMemory,
    ModelTooSlow,
    UnreadableModel,
)
from mes.models.warm_process import Ended, WarmProcess
from mes.pricing.geometry import Geometry

_OUT_OF_MEMORY = ("MemoryError", "allocate memory", "bad_alloc", "start new thread")
_LAST_WORDS = 300  # characters of the child's error kept for the log


def _cores() -> int:
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one model may take: bytes of the file, seconds on the clock, MiB of address space, threads."""

    max_bytes: int
    time_limit_s: float
    memory_limit_mb: int
    threads: int = field(default_factory=_cores)

    @classmethod
    def of(cls, settings: Settings) -> "Limits":
        """The limits that are configured."""
        return cls(
            settings.model_max_bytes,
            settings.model_time_limit_s,
            settings.model_memory_limit_mb,
            settings.model_threads or _cores(),
        )


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
        SandboxUnavailable: no process can be had; nothing is said about the model.
    """
    _check_size(path, limits)
    return _analysis(_warm.run(_task(path, limits), limits.time_limit_s), limits)


def warm_up() -> None:
    """Start the process that measures models, which takes seconds, before the first model comes.

    Raises:
        SandboxUnavailable: it does not start.
    """
    _warm.start()


def analyse_many(
    paths: Iterable[Path], limits: Limits, workers: int = 2
) -> Iterator[tuple[Path, Analysis | UnreadableModel]]:
    """Analyse many models side by side; yields each path with its analysis or its fault, as they finish.

    Args:
        paths: the files, taken as workers become free.
        limits: for each of them; the threads are shared out among the workers.
        workers: processes at a time.
    """
    limits = replace(limits, threads=max(1, limits.threads // workers))
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


def _task(path: Path, limits: Limits) -> dict[str, object]:
    return {
        "path": str(path.resolve()),
        "max_bytes": limits.max_bytes,
        "memory_bytes": limits.memory_limit_mb * 1024 * 1024,
        "cpu_seconds": (math.ceil(limits.time_limit_s) + 1) * limits.threads,
        "threads": limits.threads,
    }


def _analysis(ended: Ended, limits: Limits) -> Analysis:
    if ended.returncode != 0:
        raise _cause_of_death(ended, limits)
    line, _, picture = ended.answer.partition(b"\n")
    try:
        read = _read(json.loads(line), picture)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelCrashed(reason="its answer makes no sense") from error
    if isinstance(read, UnreadableModel):
        raise read
    return read


def _read(answer: dict[str, Any], picture: builtins.bytes) -> Analysis | UnreadableModel:
    if "code" in answer:
        return BY_CODE[answer["code"]](answer["message"], **answer["facts"])
    if len(picture) != answer["picture_bytes"]:
        raise ValueError(f"the picture has {len(picture)} bytes")
    return Analysis(
        sha256=answer["sha256"],
        bytes=answer["bytes"],
        format=answer["format"],
        geometry=Geometry.from_dict(answer["geometry"]),
        picture_png=picture,
    )


def _cause_of_death(ended: Ended, limits: Limits) -> UnreadableModel:
    if ended.returncode == -signal.SIGXCPU:
        return ModelTooSlow(seconds=limits.time_limit_s)
    last_words = ended.last_words.decode(errors="replace").strip()[-_LAST_WORDS:]
    if ended.returncode == -signal.SIGKILL or any(words in last_words for words in _OUT_OF_MEMORY):
        return ModelTooMuchMemory(limit_mb=limits.memory_limit_mb)
    return ModelCrashed(returncode=ended.returncode, reason=last_words)


def _after_fork() -> None:
    """A fork of this program gets a warm process of its own: this one ends with the program that it belongs to."""
    global _warm  # noqa: PLW0603 - one per process, by its nature
    _warm = WarmProcess()


_warm = WarmProcess()
os.register_at_fork(after_in_child=_after_fork)

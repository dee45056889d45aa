"""What is done with one customer's file in a process of its own: confined before it reads a byte, and free to die."""

import hashlib
import json
import os
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, ParamSpec, TypeVar

import numpy as np

from mes.models import mesh
from mes.models.confinement import confine
from mes.models.errors import ModelTooMuchMemory, UnreadableModel
from mes.models.formats import read_mesh
from mes.models.picture import render
from mes.pricing.measure import measure

ANSWER, LAST_WORDS = 1, 2
"""File descriptors that the process writes its answer, and what goes wrong, to."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Task:
    """One file to analyse, and what that may take."""

    path: str
    max_bytes: int
    memory_bytes: int
    cpu_seconds: int
    threads: int


def run(task: Task) -> NoReturn:
    """Analyse a file, and end this process.

    Writes one line of JSON to `ANSWER`: the analysis and the length of the picture, whose bytes follow; or `code`,
    `message` and `facts` of what is wrong with the file. Anything else that goes wrong is told on `LAST_WORDS`.
    """
    status = 1
    try:
        confine(Path(task.path), task.memory_bytes, task.cpu_seconds)
        _answer(*_outcome(task))
        status = 0
    except BaseException:  # noqa: BLE001 - the process ends here, and says why
        os.write(LAST_WORDS, traceback.format_exc().encode(errors="replace"))
    finally:
        os._exit(status)


def rehearse() -> None:
    """Go once through all that a model needs, so that what is made at first use is there before the first model."""
    points = np.array(((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)), np.float64)
    tetrahedron = mesh.build(points, np.array(((0, 2, 1), (0, 1, 3), (0, 3, 2), (1, 2, 3))), "obj")
    measure(tetrahedron)
    render(tetrahedron)


def _outcome(task: Task) -> tuple[dict[str, object], bytes]:
    try:
        return _analyse(task)
    except UnreadableModel as error:
        return _refusal(error), b""
    except MemoryError:
        return _refusal(ModelTooMuchMemory()), b""


def _analyse(task: Task) -> tuple[dict[str, object], bytes]:
    """Name, read, measure and draw; with more than one thread, hash and picture are made beside."""
    path = Path(task.path)
    with ThreadPoolExecutor(1) if task.threads > 1 else _AtOnce() as beside:
        digest = beside.submit(_sha256, path)
        read = read_mesh(path, task.max_bytes, threads=task.threads)
        picture = beside.submit(render, read)
        geometry = measure(read, threads=task.threads)
        return {
            "sha256": digest.result(),
            "bytes": path.stat().st_size,
            "format": read.format,
            "geometry": geometry.as_dict(),
            "picture_bytes": len(picture.result()),
        }, picture.result()


class _AtOnce(Executor):
    """Does in the caller's thread what another would do in one of its own."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        done: Future[Result] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refusal(error: UnreadableModel) -> dict[str, object]:
    facts = {name: fact if isinstance(fact, int | float) else str(fact) for name, fact in error.facts.items()}
    return {"code": error.code, "message": error.message, "facts": facts}


def _answer(answer: dict[str, object], picture: bytes) -> None:
    with open(ANSWER, "wb", closefd=False) as out:
        out.write(json.dumps(answer).encode() + b"\n" + picture)

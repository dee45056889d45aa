"""The process that opens one customer's file: confined before it reads a byte, and free to die."""

import argparse
import hashlib
import json
import resource
import sys
from pathlib import Path

from mes.models.errors import ModelTooMuchMemory, UnreadableModel
from mes.models.formats import read_mesh
from mes.models.picture import render
from mes.pricing.measure import measure

_MOST_OPEN_FILES = 64


def main() -> int:
    """Analyse the file named on the command line.

    Writes one line of JSON to the standard output: the analysis and the length of the picture, whose bytes follow; or
    `code`, `message` and `facts` of what is wrong with the file.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--max-bytes", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    parser.add_argument("--cpu-seconds", type=int, required=True)
    wanted = parser.parse_args()
    _confine(wanted.memory_bytes, wanted.cpu_seconds)
    try:
        answer, picture = _analyse(wanted.path, wanted.max_bytes)
    except UnreadableModel as error:
        answer, picture = _refusal(error), b""
    except MemoryError:
        answer, picture = _refusal(ModelTooMuchMemory()), b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + picture)
    return 0


def _confine(memory_bytes: int, cpu_seconds: int) -> None:
    for kind, soft, hard in (
        (resource.RLIMIT_AS, memory_bytes, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds, cpu_seconds + 1),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_FSIZE, 0, 0),
        (resource.RLIMIT_NOFILE, _MOST_OPEN_FILES, _MOST_OPEN_FILES),
    ):
        resource.setrlimit(kind, (soft, hard))


def _analyse(path: Path, max_bytes: int) -> tuple[dict[str, object], bytes]:
    mesh = read_mesh(path, max_bytes)
    geometry = measure(mesh)
    picture = render(mesh)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "sha256": digest,
        "bytes": path.stat().st_size,
        "format": mesh.format,
        "geometry": geometry.as_dict(),
        "picture_bytes": len(picture),
    }, picture


def _refusal(error: UnreadableModel) -> dict[str, object]:
    facts = {name: fact if isinstance(fact, int | float) else str(fact) for name, fact in error.facts.items()}
    return {"code": error.code, "message": error.message, "facts": facts}


if __name__ == "__main__":
    sys.exit(main())

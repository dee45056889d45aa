"""Analysis of a 3D model beside the floor (read and one fused pass) and beside trimesh, admesh and PrusaSlicer."""

import argparse
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from bench import _report
from bench._meshes import ring, stl, subdivided
from mes.models.formats import read_mesh
from mes.models.mesh import Mesh
from mes.pricing.geometry import Geometry
from mes.pricing.kernel.edges import bodies_of, edges_of
from mes.pricing.kernel.mass import bounds, masses_of
from mes.pricing.measure import measure

MODEL = Path("meshes/classic/nefertiti-lowres.obj")
HEADER_BYTES = 84
RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
Run = Callable[[], object]
_MEMORY = """
import re, sys
from pathlib import Path
from mes.models.formats import read_mesh
from mes.pricing.measure import measure
def kib(what):
    return int(re.search(what + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
measure(read_mesh(Path(sys.argv[1])), threads=int(sys.argv[3]))
before = kib("VmRSS")
measure(read_mesh(Path(sys.argv[2])), threads=int(sys.argv[3]))
print((kib("VmHWM") - before) * 1024)
"""


def main() -> int:
    """Print medians and 99th percentiles of all repeats, everything measured in turn in one run."""
    parser = argparse.ArgumentParser(prog="mes bench analysis", description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="runs of each, in turn")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="cores that ours may use")
    parser.add_argument("--json", action="store_true", help="print one flat JSON object")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mes-bench-") as folder:
        figures = large_model(Path(folder), asked.repeats, asked.threads) | real_models(asked.repeats, asked.threads)
    _report.show(figures, as_json=asked.json)
    return 0


def large_model(folder: Path, repeats: int, threads: int) -> dict[str, float | str]:
    """The 1.12M triangles of the budget: milliseconds and ratios."""
    path, source = large_file(folder)
    runs: dict[str, Run] = {
        "floor": partial(floor, path),
        "core": partial(core, path, threads),
        "all_but_walls": partial(analysis, path, threads, walls=False),
        "all": partial(analysis, path, threads, walls=True),
    }
    seconds = in_turn(runs, repeats) | in_turn({"trimesh": partial(trimesh_core, path)}, max(1, repeats // 3))
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "model": source,
        "triangles": (path.stat().st_size - HEADER_BYTES) // 50,
        "threads": threads,
        "repeats": repeats,
        "ratio_trimesh": round(medians["trimesh"] / medians["core"], 2),
        "ratio_floor": round(medians["all_but_walls"] / medians["floor"], 2),
        "ratio_memory": round(memory_bytes(folder, path, threads) / path.stat().st_size, 2),
        **_milliseconds("", seconds),
        "walls_ms": round((medians["all"] - medians["all_but_walls"]) * 1e3, 1),
        **_milliseconds("", in_turn(other_programs(path), max(1, repeats // 3))),
    }


def real_models(repeats: int, threads: int) -> dict[str, float]:
    """Milliseconds for each model of the real data set, beside trimesh and the other programs; none without the set."""
    figures: dict[str, float] = {}
    for path in sorted([*(data_root() / "meshes/jewelry").glob("*"), *(data_root() / "meshes/classic").glob("*.obj")]):
        if path.suffix.lower() not in {".stl", ".obj", ".3mf"}:
            continue
        runs: dict[str, Run] = {
            "core": partial(core, path, threads),
            "all_but_walls": partial(analysis, path, threads, walls=False),
            "all": partial(analysis, path, threads, walls=True),
        }
        if path.suffix.lower() != ".3mf":  # for which trimesh needs a package more
            runs["trimesh"] = partial(trimesh_core, path)
        seconds = in_turn(runs | other_programs(path), max(1, repeats // 3))
        figures |= _milliseconds(f"{path.stem[:24]}_{path.suffix[1:]}_", seconds)
    return figures


def floor(path: Path) -> tuple[float, float]:
    """The least that any analysis of a binary STL takes: read it, and one fused pass for volume and area."""
    corners = np.frombuffer(path.read_bytes(), RECORD, offset=HEADER_BYTES)["corners"]
    volume, area = _sum(corners)
    return volume, area


@numba.njit("UniTuple(f8, 2)(Array(float32, 3, 'A', True))", cache=True, nogil=True, error_model="numpy")
def _sum(corners: NDArray[np.float32]) -> tuple[float, float]:
    volume, area = 0.0, 0.0
    for face in range(len(corners)):
        ax, ay, az = corners[face, 0, 0], corners[face, 0, 1], corners[face, 0, 2]
        ux, uy, uz = corners[face, 1, 0] - ax, corners[face, 1, 1] - ay, corners[face, 1, 2] - az
        vx, vy, vz = corners[face, 2, 0] - ax, corners[face, 2, 1] - ay, corners[face, 2, 2] - az
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        volume += np.float64(ax * nx + ay * ny + az * nz)
        area += np.sqrt(np.float64(nx * nx + ny * ny + nz * nz))
    return volume / 6, area / 2


def core(path: Path, threads: int) -> tuple[float, float, bool, int]:
    """Volume, area, whether closed, and bodies, of a file."""
    mesh = read_mesh(path, threads=threads)
    points = _centred(mesh)
    edges = edges_of(mesh.faces, len(points), threads)
    body, bodies = bodies_of(edges)
    masses = masses_of(points, mesh.faces, body, bodies, threads)
    return float(masses.volumes.sum()), float(masses.areas.sum()), edges.open_edges == 0, bodies


def analysis(path: Path, threads: int, *, walls: bool) -> Geometry:
    """All measures of a file."""
    return measure(read_mesh(path, threads=threads), threads=threads, walls=walls)


def _centred(mesh: Mesh) -> NDArray[np.float64]:
    low, high = bounds(mesh.vertices)
    centred: NDArray[np.float64] = mesh.vertices - (low + high) / 2
    return centred


def trimesh_core(path: Path) -> tuple[float, float, bool, int]:
    """The same with trimesh."""
    import trimesh  # noqa: PLC0415 - for development only

    mesh: Any = trimesh.load(path, force="mesh")
    return float(mesh.volume), float(mesh.area), bool(mesh.is_watertight), int(mesh.body_count)


def other_programs(path: Path) -> dict[str, Run]:
    """What else is installed that says something of a model."""
    commands = {"prusa_slicer": ["prusa-slicer", "--info", str(path)]}
    if path.suffix.lower() == ".stl":
        commands["admesh"] = ["admesh", str(path)]
    return {
        name: partial(subprocess.run, argv, check=False, capture_output=True, stdin=subprocess.DEVNULL)
        for name, argv in commands.items()
        if shutil.which(argv[0])
    }


def in_turn(runs: dict[str, Run], repeats: int) -> dict[str, list[float]]:
    """Seconds of each run, all of them once per round, after one round that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_number in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if round_number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _milliseconds(prefix: str, seconds: dict[str, list[float]]) -> dict[str, float]:
    figures = {}
    for name, times in seconds.items():
        figures[f"{prefix}{name}_ms"] = round(statistics.median(times) * 1e3, 1)
        figures[f"{prefix}{name}_p99_ms"] = round(sorted(times)[math.ceil(0.99 * len(times)) - 1] * 1e3, 1)
    return figures


def memory_bytes(folder: Path, large: Path, threads: int) -> int:
    """By how much the peak memory of a process grows that measures the file, walls too, after a small one."""
    small = folder / "small.stl"
    small.write_bytes(stl(*ring(40, 20)))
    argv = [sys.executable, "-c", _MEMORY, str(small), str(large), str(threads)]
    return int(subprocess.run(argv, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout)


def data_root() -> Path:
    """The folder of the real data set, which may be absent."""
    return Path(os.environ.get("MES_TEST_DATA", "../shared/data"))


def large_file(folder: Path) -> tuple[Path, str]:
    """The model of the budget as a binary STL, and what it is made from."""
    path, bust = folder / "large.stl", data_root() / MODEL
    if bust.is_file():
        mesh = read_mesh(bust)
        path.write_bytes(stl(*subdivided(*subdivided(mesh.vertices, mesh.faces))))
        return path, MODEL.stem
    path.write_bytes(stl(*ring(748, 748)))
    return path, f"a generated ring, as {bust} is absent"


if __name__ == "__main__":
    sys.exit(main())

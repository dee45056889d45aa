"""Reading takes at most six times the file's size in memory, and hostile files take little time and memory at all."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from mes.models.errors import BY_CODE, UnreadableModel
from mes.models.formats import read_mesh
from tests.model_files import CUBES, MODEL_RELS, mesh_xml, model_xml, obj, ply, threemf_zip, write_large

REPOSITORY = Path(__file__).resolve().parents[2]
MOST_TIMES = 6
MARGIN_BYTES = 4 << 20  # pages of code that are touched for the first time, the allocator's reserve
MEASURE = """
import json, re, sys, time
from pathlib import Path
from mes.models.errors import UnreadableModel
from mes.models.formats import read_mesh

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

def attempt(path):
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before, started, code = status("VmRSS"), time.process_time(), None
    try:
        mesh = read_mesh(path)
    except UnreadableModel as refusal:
        code = refusal.code
    return [code, status("VmHWM") - before, time.process_time() - started]

for warm in sys.argv[2:]:
    attempt(Path(warm))
print(json.dumps(attempt(Path(sys.argv[1]))))
"""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How reading a file ended in a process of its own: the refusal's code, the growth of its peak, CPU time."""

    code: str | None
    growth_bytes: int
    seconds: float


@pytest.fixture
def attempt(tmp_path: Path) -> Callable[[Path], Attempt]:
    """Reads a file in a process that has read small ones of every kind before."""
    warm = [tmp_path / f"warm{i}" for i in range(len(CUBES))]
    for path, (data, _) in zip(warm, CUBES.values(), strict=True):
        path.write_bytes(data)

    def run(path: Path) -> Attempt:
        command = [sys.executable, "-c", MEASURE, str(path), *map(str, warm)]
        environment = {"PATH": os.defpath, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120
        )
        return Attempt(*json.loads(done.stdout))

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "side"),
    [("stl", 450), ("ascii stl", 220), ("obj", 500), ("ply", 500), ("ply le", 650), ("ply be", 650), ("3mf", 600)],
)
def test_reading_takes_at_most_six_times_the_files_size(tmp_path, attempt, kind, side):
    path = tmp_path / "large"
    write_large(kind, path, side)
    size = path.stat().st_size
    assert size > 7 << 20
    done = attempt(path)
    assert done.code is None
    assert done.growth_bytes <= MOST_TIMES * size + MARGIN_BYTES


def lying_header(kind: str) -> bytes:
    """A file that promises far more rows or list entries than it has bytes."""
    little = ply(encoding="binary_little_endian")
    return {
        "ply rows": little.replace(b"vertex 8", b"vertex 4000000000"),
        "ply ascii rows": ply().replace(b"face 12", b"face 4000000000"),
        "ply list": little.replace(b"list uchar int", b"list uint int ")[:-150] + b"\xff" * 150,
        "stl": b"\0" * 80 + struct.pack("<I", 2**32 - 1) + b"\0" * 5000,
    }[kind]


@pytest.mark.parametrize("kind", ["ply rows", "ply ascii rows", "ply list", "stl"])
def test_a_header_that_promises_too_much_costs_nothing(tmp_path, attempt, kind):
    path = tmp_path / "lying.stl"
    path.write_bytes(lying_header(kind))
    done = attempt(path)
    assert done.code in BY_CODE
    assert done.growth_bytes < MARGIN_BYTES
    assert done.seconds < 1


def patched(data: bytes, signature: bytes, offset: int, value: int, name: bytes) -> bytes:
    """A zip whose directory entry or local header of that name states another number."""
    at = 0
    length = {b"PK\x01\x02": 46, b"PK\x03\x04": 30}[signature]
    while data[(at := data.index(signature, at)) + length :][: len(name)] != name:
        at += 1
    return data[: at + offset] + struct.pack("<I", value) + data[at + offset + 4 :]


def overlapping(copies: int) -> bytes:
    """A zip whose directory names the same packed bytes again and again (D. Fifield, "A better zip bomb", 2019)."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packer.compress(b"\0" * (9 << 20)) + packer.flush()
    checksum = zlib.crc32(b"\0" * (9 << 20))
    data = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 8, 0, 0, checksum, len(kernel), 9 << 20, 1, 0) + b"a" + kernel
    directory = b"".join(
        struct.pack(
            "<4s6H3I5H2I",
            *(b"PK\x01\x02", 20, 20, 0, 8, 0, 0, checksum, len(kernel), 9 << 20, 5, 0, 0, 0, 0, 0, 0),
        )
        + b"%05d" % i
        for i in range(copies)
    )
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, copies, copies, len(directory), len(data), 0)
    return data + directory + end


def many_parts(count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(count):
            archive.writestr(str(i), b"")
    data = out.getvalue()
    return data[:-14] + struct.pack("<HH", 1, 1) + data[-10:]  # it says that there is one


def tower(width: int, height: int) -> str:
    """Objects made of so many of the one below: width ** height meshes in all."""
    levels = [f'<object id="1">{mesh_xml()}</object>']
    for i in range(2, height + 2):
        levels.append(f'<object id="{i}"><components>{f"<component objectid={chr(34)}{i - 1}{chr(34)}/>" * width}')
        levels.append("</components></object>")
    return model_xml("".join(levels), f'<item objectid="{height + 1}"/>')


MODEL = model_xml(f'<object id="1">{mesh_xml()}</object>')
BOMB = threemf_zip(MODEL + "<!-- " + "x" * (100 << 20) + " -->")
LARGE_MESH = f'<object id="1">{mesh_xml(np.random.default_rng(1).random((20_000, 3)), [(0, 1, 2)])}</object>'

HOSTILE: dict[str, Callable[[], bytes]] = {
    "a bomb": lambda: BOMB,
    "a bomb that says it is small": lambda: patched(BOMB, b"PK\x01\x02", 24, 1000, b"3D/a.model"),
    "a bomb that says it is packed large": lambda: patched(BOMB, b"PK\x01\x02", 20, 90 << 20, b"3D/a.model"),
    "a bomb in a bomb": lambda: threemf_zip(parts=[("b.zip", threemf_zip(parts=[("0", b"\0" * (80 << 20))]))]) + BOMB,
    "parts that overlap": lambda: overlapping(200),
    "more parts than it says": lambda: many_parts(10_500),
    "long relationships": lambda: threemf_zip(rels=MODEL_RELS.replace("<Rel", "<x/>" * 500_000 + "<Rel", 1)),
    "one long comment": lambda: threemf_zip(MODEL.replace("<resources>", f"<!--{'x ' * (4 << 20)}--><resources>")),
    "one long tag": lambda: threemf_zip(MODEL.replace("<resources>", f"<resources a='{'x' * (4 << 20)}'>")),
    "deep nesting": lambda: threemf_zip(MODEL.replace("<build>", "<x>" * 1_000_000 + "<build>")),
    "many names": lambda: threemf_zip(
        MODEL.replace("<build>", "".join(f'<metadata name="{i}"/>' for i in range(150_000)) + "<build>")
    ),
    "many instances": lambda: threemf_zip(model_xml(LARGE_MESH, '<item objectid="1"/>' * 150_000)),
    "components that multiply": lambda: threemf_zip(tower(10, 30)),
    "components that multiply a large mesh": lambda: threemf_zip(model_xml(LARGE_MESH, '<item objectid="1"/>' * 9_000)),
    "empty components that multiply": lambda: threemf_zip(tower(10, 30).replace(mesh_xml(), "<mesh/>")),
    "a circle": lambda: threemf_zip(
        model_xml('<object id="1"><components><component objectid="1"/><component objectid="1"/></components></object>')
    ),
    "an obj of polygons": lambda: obj() + b"f" + b" 1" * 21_000_000,
    "a ply of polygons": lambda: ply(faces=[]).replace(b"uchar int", b"int int").replace(b"face 0", b"face 1")
    + b"21000000 " + b"1 " * 21_000_001,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_files_are_refused_in_bounded_time_and_memory(tmp_path, attempt, what):
    path = tmp_path / "model.3mf"
    path.write_bytes(HOSTILE[what]())
    done = attempt(path)
    assert done.code in BY_CODE
    assert issubclass(BY_CODE[done.code], UnreadableModel)
    assert done.seconds < 30
    assert done.growth_bytes < 256 << 20


@pytest.mark.parametrize("what", ["parts that overlap", "more parts than it says", "one long tag"])
def test_the_refusal_names_the_trick(tmp_path, what):
    path = tmp_path / "model.3mf"
    path.write_bytes(HOSTILE[what]())
    with pytest.raises(UnreadableModel, match=r"overlap|too many parts|too long"):
        read_mesh(path)

"""Whatever is done to a file, it is read or refused: no other error, no hang, no memory beyond what its size allows."""

import math
import re
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mes.models.errors import UnreadableModel
from mes.models.formats import decimals, read_mesh, threemf_stream
from mes.models.mesh import Mesh
from tests.model_files import CORNERS, CUBES, QUADS, WRITERS, mesh_xml, model_xml, obj, ply, threemf_zip

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
EXTREMES = [
    b"nan", b"inf", b"-inf", b"1e999", b"-1e-999", b"0", b"-0", b"-1", b"1.5", b"4294967295", b"2147483648", b"1e22",
    b"99999999999999999999", b"0.12345678901234567890123456789", b"9007199254740993", b"", b"\n", b"\r", b"\\\n", b"#",
    b"\0", b"/", b"one", b"<", b">", b"\"", b"&amp;", b"<!--", b"<![CDATA[", b"<vertices>", b"</vertices>",
]  # fmt: skip
COUNTS = [0, 1, 2, 3, 255, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
NUMBER = re.compile(rb"[-+]?[\d.]+")
NAMES = ["model", "model.stl", "model.obj", "model.ply", "model.3mf"]
XML = model_xml(f'<object id="1">{mesh_xml()}</object>').encode()


@st.composite
def damaged(draw: st.DrawFn, original: bytes) -> bytes:
    """The file cut off, with bytes flipped, parts lost, repeated or moved, numbers and counts replaced."""
    data = original
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        to = at + draw(st.sampled_from([1, 2, 4, 12, 50, 200]))
        start = draw(st.integers(0, max(len(data) - 1, 0)))
        number = min(NUMBER.finditer(data), key=lambda found: abs(found.start() - at), default=None)
        places = [(number.start(), number.end())] if number else []
        begin, end, put = draw(
            st.one_of(
                st.just((at, len(data), b"")),
                st.just((at, to, b"")),
                st.binary(min_size=1, max_size=1).map(lambda byte, at=at: (at, at + 1, byte)),
                st.just((at, at, data[at:to] * 2)),
                st.just((at, to, data[start : start + to - at])),
                st.sampled_from(EXTREMES).map(lambda extreme, at=at: (at, at, extreme)),
                st.sampled_from(COUNTS).map(lambda count, at=at: (at, at + 4, struct.pack("<I", count))),
                st.sampled_from(COUNTS).map(lambda count, at=at: (at, at + 4, struct.pack(">I", count))),
                *(st.sampled_from(EXTREMES).map(lambda extreme, where=where: (*where, extreme)) for where in places),
            )
        )
        data = data[:begin] + put + data[end:]
    return data


@pytest.fixture
def read(tmp_path: Path) -> Callable[[bytes, str], Mesh | None]:
    """Reads bytes as a file of that name; None if they are refused, as they may be."""

    def read_or_refuse(data: bytes, name: str = "model") -> Mesh | None:
        path = tmp_path / name
        path.write_bytes(data)
        started = time.process_time()
        tracemalloc.start()
        try:
            mesh = read_mesh(path)
        except UnreadableModel as refusal:
            assert refusal.message.endswith(".")  # noqa: PT017 - it may be refused, not must
            mesh = None
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < (8 << 20) + 40 * len(data)
        assert time.process_time() - started < 5
        if mesh is not None:
            assert_usable(mesh)
        return mesh

    return read_or_refuse


def assert_usable(mesh: Mesh) -> None:
    assert len(mesh.faces) > 0
    assert mesh.faces.min() >= 0
    assert mesh.faces.max() == len(mesh.vertices) - 1
    assert np.isfinite(mesh.vertices).all()


@pytest.mark.parametrize("cube", CUBES)
@FUZZ
@given(data=st.data())
def test_damage_is_survived(read, cube, data):
    read(data.draw(damaged(CUBES[cube][0])), data.draw(st.sampled_from(NAMES)))


@FUZZ
@given(first=st.sampled_from(sorted(CUBES)), second=st.sampled_from(sorted(CUBES)), share=st.floats(0, 1))
def test_the_head_of_one_file_on_the_body_of_another_is_survived(read, first, second, share):
    head, body = CUBES[first][0], CUBES[second][0]
    for name in NAMES:
        read(head[: int(share * len(head))] + body[int(share * len(body)) :], name)


@FUZZ
@given(data=st.data())
def test_damaged_xml_in_a_sound_zip_is_survived(read, data):
    read(threemf_zip(data.draw(damaged(XML))))


@settings(FUZZ, max_examples=400)
@given(data=st.data())
def test_the_compiled_loop_takes_no_element_that_the_parser_would_read_otherwise(tmp_path, data):
    path = tmp_path / "model.3mf"
    path.write_bytes(threemf_zip(data.draw(damaged(XML))))
    chunk = data.draw(st.sampled_from([50, 333, 1 << 20]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threemf_stream, "_CHUNK_BYTES", chunk)
        taken = triangles_or_refusal(path)
        patch.setattr(threemf_stream, "_OPENINGS", re.compile(rb"(?!)"))  # the parser reads all
        assert taken == triangles_or_refusal(path)


@pytest.mark.parametrize(
    "tricked",
    [
        XML.replace(b"<vertices>", b"<vertices><![CDATA[ > <vertices> <vertex x='9' y='9' z='9'/> ]]>"),
        XML.replace(b"<vertices>", b"<vertices><!-- > <vertices> <vertex x='9' y='9' z='9'/> -->"),
        XML.replace(b"<vertices>", b"<vertices><?pi > <vertices> <vertex x='9' y='9' z='9'/> ?>"),
        XML.replace(b"<vertices>", b"<vertices ><o xmlns='urn:o'><vertices><vertex x='9' y='9' z='9'/></vertices></o>"),
        XML.replace(b"<vertex ", b"<vertex\n", 3).replace(b"/><", b" /> <", 5),
        XML.replace(b'x="0.0"', b"x='&#48;'", 1),
        XML.replace(b"<triangle ", b'<triangle pid="1" p1="0" ', 4),
        XML.replace(b"<triangle ", b"<!-- 1 < 2 > 0 --><triangle ", 4),
        XML.replace(b"/><", b"></vertex><", 1),
    ],
)
def test_what_only_looks_like_a_vertex_is_none(tmp_path, tricked):
    path = tmp_path / "model.3mf"
    path.write_bytes(threemf_zip(XML))
    plain = triangles_or_refusal(path)
    path.write_bytes(threemf_zip(tricked))
    assert triangles_or_refusal(path) == plain


def triangles_or_refusal(path: Path) -> list[object] | type[UnreadableModel]:
    try:
        mesh = read_mesh(path)
    except UnreadableModel as refusal:
        return type(refusal)
    return mesh.vertices[mesh.faces].tolist()


DIGITS = st.text("0123456789", min_size=1, max_size=40)
WRITTEN = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(-1e6, 1e6).map("{:.6f}".format),
    st.floats(-1e6, 1e6).map("{:.9e}".format),
    st.integers(-(10**25), 10**25).map(str),
    st.builds("{}{}.{}".format, st.sampled_from(["", "+", "-"]), DIGITS, DIGITS),
    st.builds("{}.{}e{}".format, DIGITS, DIGITS, st.integers(-60, 45)),
    st.integers(2**53, 2**64).map(lambda m: f"{2 * m + 1}e-1"),  # halves, which round to even
    st.sampled_from(["nan", "-inf", "Infinity", ".5", "5.", "1e400", "1e-400", "5e-324", "0e99999999999"]),
)


@settings(FUZZ, max_examples=3000)
@given(WRITTEN)
def test_numbers_are_read_as_python_reads_them(written):
    data = np.frombuffer(written.encode() + b"7", np.uint8)
    value, stop, how = decimals.scan_number(data, 0, len(written))
    assert (how, stop) in {(decimals.READ, len(written)), (decimals.DEFERRED, len(written))}
    if how == decimals.READ:
        assert struct.pack("d", abs(value)) == struct.pack("d", abs(float(written)))
        assert math.isnan(value) or math.copysign(1, value) == math.copysign(1, float(written))


@settings(FUZZ, max_examples=1000)
@given(st.text("0123456789+-.eE_naif x", max_size=12))
def test_what_python_takes_for_no_number_is_none(written):
    data = np.frombuffer(written.encode() + b" ", np.uint8)
    _, stop, how = decimals.scan_number(data, 0, len(written))
    whole = how != decimals.NOT_A_NUMBER and stop == len(written)
    assert whole == is_number(written)


def is_number(written: str) -> bool:
    try:
        float(written)
    except ValueError:
        return False
    return written == written.strip() and "_" not in written


def test_numbers_that_python_must_round_reach_their_places(read):
    exact = "0.1000000000000000055511151231257827021181583404541015625"  # what 0.1 is; 19 digits do not tell
    for written in ("1e-300", exact[:-1] + "6", exact):
        for text in (obj(), ply(), WRITERS["ascii stl"](CORNERS, np.array([(0, 1, 3), (4, 6, 7)]))):
            mesh = read(text.replace(b"1.0", written.encode()))
            assert mesh is not None
            assert set(mesh.vertices.ravel().tolist()) == {0.0, float(written)}


def test_so_many_numbers_for_python_that_the_loop_pauses(read):
    numbers = [i + 0.5 for i in range(3000)]
    points = np.array([(number, number % 7, number % 11) for number in numbers])
    faces = np.arange(3000).reshape(-1, 3)
    for writer in (obj, ply, WRITERS["ascii stl"]):
        mesh = read(writer(points, faces).replace(b".5", b".5000000000000000000000000000000000001"))
        assert np.array_equal(mesh.vertices[mesh.faces].reshape(-1, 3), points)


BLANKS = st.sampled_from([" ", "\t", "  ", " \\\n", "\\\r\n "])
ENDS = st.sampled_from(["\n", "\r\n", "\r", " \n", " # f 1 2 3\n", "\n\n"])
NOISE = st.sampled_from(["", "# v 1 2 3\n", "vn 0 0 1\n", "vt 0.5 0.5\n", "g v f\n", "usemtl f\n", "s 1\n", "l 1 2\n"])


@FUZZ
@given(data=st.data())
def test_an_obj_means_the_same_however_it_is_written(read, data):
    lines = []
    for x, y, z in CORNERS.tolist():
        blanks = [data.draw(BLANKS) for _ in range(3)]
        extra = data.draw(st.sampled_from(["", " 1.0", " 0.1 0.2 nan"]))
        lines.append(f"v{blanks[0]}{x}{blanks[1]}{y}{blanks[2]}{z}{extra}{data.draw(ENDS)}{data.draw(NOISE)}")
    for quad in QUADS:
        corners = [data.draw(st.sampled_from([str(i + 1), str(i - 8), f"{i + 1}//7", f"{i - 8}/2/-3"])) for i in quad]
        lines.append("".join(["f", *(data.draw(BLANKS) + corner for corner in corners), data.draw(ENDS)]))
    mesh = read("".join(lines).encode(), "model.obj")
    plain = read(obj(faces=QUADS))
    assert np.array_equal(mesh.vertices[mesh.faces], plain.vertices[plain.faces])


INTEGERS = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I"}
FLOATS = {"float": "f", "double": "d"}


@st.composite
def elements(draw: st.DrawFn, name: str, rows: list[dict[str, object]], types: dict[str, str]):
    """An element's header and rows with these properties, and others that mean nothing, in any order."""
    extras = {f"q{i}": draw(st.sampled_from(["single", "list"])) for i in range(draw(st.integers(0, 3)))}
    order = draw(st.permutations([*types, *extras]))
    header, columns = [f"element {name} {len(rows)}"], []
    for column in order:
        kind = types.get(column) or draw(st.sampled_from([*INTEGERS, *FLOATS]))
        count = draw(st.sampled_from([*INTEGERS]))
        is_list = extras.get(column) == "list" or column.startswith("vertex_ind")
        header.append(f"property list {count} {kind} {column}" if is_list else f"property {kind} {column}")
        columns.append((column, kind, count if is_list else None))
    body = []
    for row in rows:
        for column, kind, count in columns:
            values = row[column] if column in row else [1] * (draw(st.integers(0, 3)) if count else 1)
            body.append((count, kind, list(values)))
        body.append(None)
    return header, body


@FUZZ
@given(data=st.data())
def test_a_ply_means_the_same_whatever_else_is_in_it(read, data):
    encoding = data.draw(st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]))
    number, index = data.draw(st.sampled_from([*FLOATS])), data.draw(st.sampled_from([*INTEGERS, *FLOATS]))
    vertices = [{"x": [x], "y": [y], "z": [z]} for x, y, z in CORNERS.tolist()]
    polygons = data.draw(st.sampled_from([QUADS, [(0, 1, 3), (0, 3, 2)], [*QUADS, (0, 1, 3)]]))
    parts = [
        data.draw(elements("vertex", vertices, dict.fromkeys("xyz", number))),
        data.draw(elements("face", [{"vertex_indices": face} for face in polygons], {"vertex_indices": index})),
        data.draw(elements("edge", [{"a": [1]}] * 2, {"a": "int"})),
    ]
    header, body = [], b""
    for lines, values in data.draw(st.permutations(parts)):
        header += lines
        body += written(values, encoding)
    text = "\n".join(["ply", f"format {encoding} 1.0", *header, "end_header\n"]).encode() + body
    mesh = read(text)
    triangles = [(face[0], face[i], face[i + 1]) for face in polygons for i in range(1, len(face) - 1)]
    assert np.array_equal(mesh.vertices[mesh.faces], CORNERS[np.array(triangles)])


def written(values: list[tuple[str | None, str, list[float]] | None], encoding: str) -> bytes:
    if encoding == "ascii":
        words = [
            "\n" if one is None else " ".join(map(str, ([len(one[2])] if one[0] else []) + one[2])) for one in values
        ]
        return " ".join(words).encode()
    order = "<" if "little" in encoding else ">"
    packed = b""
    for one in values:
        if one is not None:
            count, kind, numbers = one
            packed += struct.pack(order + INTEGERS[count], len(numbers)) if count else b""
            code = INTEGERS.get(kind) or FLOATS[kind]
            packed += b"".join(struct.pack(order + code, n if kind in FLOATS else int(n)) for n in numbers)
    return packed

"""Every format reads to the same mesh, and no file, however broken or hostile, ends in anything but a clear refusal."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mes.models.errors import ModelTooLarge, NotAMesh, UnknownFormat, UnreadableModel
from mes.models.formats import package, read_mesh, threemf
from mes.models.mesh import Mesh
from mes.pricing.measure import measure
from tests.model_files import (
    CORNERS,
    CUBES,
    MODEL_RELS,
    TRIANGLES,
    WRITERS,
    ascii_stl,
    binary_stl,
    mesh_xml,
    model_xml,
    obj,
    ply,
    threemf_zip,
)

FUZZ = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def read(tmp_path) -> Callable[..., Mesh]:
    def read_bytes(data: bytes, name: str = "model.bin") -> Mesh:
        path = tmp_path / name
        path.write_bytes(data)
        return read_mesh(path)

    return read_bytes


def assert_unit_cube(mesh: Mesh) -> None:
    a, b, c = (mesh.vertices[corner] for corner in mesh.faces.T)
    assert (mesh.vertices.shape, mesh.faces.shape) == ((8, 3), (12, 3))
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float64, np.int32)
    assert np.einsum("ij,ij->", a, np.cross(b, c)) / 6 == pytest.approx(1)
    assert np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2 == pytest.approx(6)
    edges = np.concatenate((mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]])).tolist()
    assert sorted(edges) == sorted([end, start] for start, end in edges)


@pytest.mark.parametrize("name", ["model.stl", "model.obj", "model.ply", "model.3mf", "model"])
@pytest.mark.parametrize("cube", CUBES)
def test_the_content_decides_the_format_whatever_the_name(read, cube, name):
    data, file_format = CUBES[cube]
    mesh = read(data, name)
    assert mesh.format == file_format
    assert mesh.unit == ("millimeter" if file_format == "3mf" else None)
    assert_unit_cube(mesh)


def test_a_binary_stl_whose_count_was_never_filled_in_is_read_by_its_length(read):
    assert_unit_cube(read(binary_stl(count=0), "model.stl"))


def test_a_texture_seam_does_not_open_an_obj(read):
    seam = np.vstack((CORNERS, CORNERS))
    faces = TRIANGLES.copy()
    faces[::2] += 8
    assert_unit_cube(read(obj(seam, faces)))


def test_negative_indices_count_back_from_their_own_line(read):
    both = obj(offset=-8) + b"\n" + obj(CORNERS + 5, offset=-8)
    geometry = measure(read(both))
    assert (geometry.bodies, geometry.closed, geometry.volume_mm3) == (2, True, pytest.approx(2))


def test_minus_zero_is_zero(read):
    text = obj().decode().split("\n")
    text += ["v -0.0 -0.0 -0.0"]
    text = (
        [line.replace("f 1 ", "f 9 ") for line in text[:8]]
        + text[-1:]
        + [line.replace("f 1 ", "f 9 ") for line in text[8:-1]]
    )
    assert_unit_cube(read("\n".join(text).encode()))


BAD = {
    "empty": b"",
    "blank": b" \n \n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    "utf-16": obj().decode().encode("utf-16"),
    "utf-16 without a mark": obj().decode().encode("utf-16-be"),
    "prose": b"Dear workshop, please make me a ring.",
    "a zip of something else": threemf_zip(rels="").replace(b"_rels/.rels", b"_rels/.sler"),
    "stl cut off": binary_stl()[:-20],
    "stl header only": binary_stl()[:60],
    "stl promising too much": binary_stl(count=2**32 - 1),
    "stl hiding triangles": binary_stl(count=3),
    "stl without triangles": binary_stl(faces=TRIANGLES[:0]),
    "stl of nan": binary_stl(CORNERS * np.nan),
    "stl of infinity": binary_stl(np.where(CORNERS > 0, np.inf, 0.0)),
    "stl from another galaxy": binary_stl(CORNERS * 1e20),
    "stl ascii cut off": ascii_stl()[:-30],
    "stl ascii without triangles": b"solid a\nendsolid a\n",
    "stl ascii with a fourth vertex": ascii_stl().replace(b" endloop", b"  vertex 1 2 3\n endloop", 1),
    "stl ascii with a word for a number": ascii_stl().replace(b"1.0", b"one", 1),
    "stl ascii with a bad number": ascii_stl().replace(b"1.0", b"1.0.0", 1),
    "stl ascii of nan": ascii_stl().replace(b"1.0", b"nan", 1),
    "obj point cloud": obj(faces=[]),
    "obj face 0": obj(offset=0),
    "obj face out of range": obj(offset=2),
    "obj face before the first vertex": obj(offset=-9),
    "obj face of two": obj(faces=[(0, 1)]),
    "obj face without corners": obj() + b"\nf\n",
    "obj face of words": obj(form="{0}x"),
    "obj face of fractions": obj(form="{0}.5"),
    "obj face too far": obj(form="{0}000000000000000000000"),
    "obj vertex of two": obj().replace(b"v 0.0 0.0 0.0", b"v 0.0 0.0"),
    "obj of nan": obj(CORNERS * np.nan),
    "obj of infinity": obj().replace(b"1.0", b"1e999"),
    "obj with a nul": obj().replace(b"1.0", b"1\x000", 1),
    "obj of lines that are faces": obj(faces=[(0, 0, 0), (1, 1, 2)]),
    "ply without end of header": b"ply\nformat ascii 1.0\n",
    "ply without format": ply().replace(b"format", b"comment"),
    "ply of another encoding": ply().replace(b"ascii", b"ebcdic"),
    "ply of an unknown type": ply().replace(b"double x", b"quad x"),
    "ply counted in fractions": ply().replace(b"list uchar", b"list float"),
    "ply with too many rows": ply().replace(b"vertex 8", b"vertex 99999999999999999"),
    "ply with a number of rows too long to read": ply().replace(b"vertex 8", b"vertex " + b"9" * 6000),
    "ply binary with too many rows": ply(encoding="binary_little_endian").replace(b"face 12", b"face 99999999999"),
    "ply cut off": ply()[:-40],
    "ply binary cut off": ply(encoding="binary_little_endian")[:-3],
    "ply of points": ply(faces=[]),
    "ply without z": ply().replace(b"double z", b"double w"),
    "ply out of range": ply(faces=[(0, 1, 8)]),
    "ply negative": ply(faces=[(0, 1, -1)]),
    "ply of two corners": ply(faces=[(0, 1)]),
    "ply of words": ply().replace(b"1.0 1.0 1.0", b"one one one"),
    "ply with positions in lists": ply().replace(b"property double x", b"property list uchar double x"),
    "3mf cut off": threemf_zip()[:-30],
    "3mf damaged": threemf_zip().replace(threemf_zip()[200:260], b"\0" * 60),
    "3mf without model part": threemf_zip(rels=MODEL_RELS.replace("/3D/a.model", "/3D/b.model")),
    "3mf leading outside": threemf_zip(rels=MODEL_RELS.replace("Id=", 'TargetMode="External" Id=')),
    "3mf with malformed relationships": threemf_zip(rels=MODEL_RELS[:-5]),
    "3mf with a dtd in its relationships": threemf_zip(rels="<!DOCTYPE x>" + MODEL_RELS),
    "3mf with malformed xml": threemf_zip(model_xml("<object>")),
    "3mf with a climbing name": threemf_zip(parts=[("../evil", b"")]),
    "3mf with an absolute name": threemf_zip(parts=[("/etc/passwd", b"")]),
    "3mf with a backslash": threemf_zip(parts=[("3D\\b.model", b"")]),
    "3mf with two names that differ in case": threemf_zip(parts=[("3d/A.model", b"")]),
}  # fmt: skip


@pytest.mark.parametrize("name", ["model.stl", "model.obj", "model.ply", "model.3mf", "model"])
@pytest.mark.parametrize("bad", BAD)
def test_bad_files_are_refused_with_a_reason(read, bad, name):
    with pytest.raises(UnreadableModel) as refused:
        read(BAD[bad], name)
    assert refused.value.message.endswith(".")
    assert refused.value.http_status in {413, 422}


def test_the_refusal_says_which_kind(read, tmp_path):
    for data, kind in [
        (BAD["prose"], UnknownFormat),
        (BAD["ply of points"], NotAMesh),
        (BAD["obj point cloud"], NotAMesh),
    ]:
        with pytest.raises(kind):
            read(data)
    with pytest.raises(ModelTooLarge):
        read_mesh(tmp_path / "model.bin", max_bytes=10)
    with pytest.raises(UnreadableModel):
        read_mesh(tmp_path / "nothing")
    with pytest.raises(UnreadableModel):
        read_mesh(tmp_path)


OBJECT = f'<object id="1">{mesh_xml()}</object>'

BAD_3MF = {
    "a dtd": model_xml(OBJECT, prolog="<!DOCTYPE model [<!ELEMENT model ANY>]>"),
    "a billion laughs": model_xml(OBJECT, prolog='<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'),
    "an external entity": model_xml(OBJECT, prolog='<!DOCTYPE m [<!ENTITY a SYSTEM "file:///etc/passwd">]>'),
    "another encoding": model_xml(OBJECT).replace("UTF-8", "ISO-8859-1"),
    "another root": "<svg xmlns='http://www.w3.org/2000/svg'/>",
    "no build": model_xml(OBJECT).replace("<build>", "<!--").replace("</build>", "-->"),
    "two builds": model_xml(OBJECT).replace("</model>", "<build/></model>"),
    "an unknown unit": model_xml(OBJECT, attributes='unit="cubit"'),
    "an unknown extension that it needs": model_xml(OBJECT, attributes='requiredextensions="q" xmlns:q="urn:q"'),
    "an object that is not there": model_xml(OBJECT, '<item objectid="2"/>'),
    "an item without object": model_xml(OBJECT, "<item/>"),
    "an unknown type": model_xml(OBJECT.replace('id="1"', 'id="1" type="ghost"')),
    "a built `other`": model_xml(OBJECT.replace('id="1"', 'id="1" type="other"')),
    "only support": model_xml(OBJECT.replace('id="1"', 'id="1" type="support"')),
    "the same id twice": model_xml(OBJECT + OBJECT),
    "an index out of range": model_xml(OBJECT.replace('v1="0"', 'v1="8"')),
    "a negative index": model_xml(OBJECT.replace('v1="0"', 'v1="-1"')),
    "an index beyond integers": model_xml(OBJECT.replace('v1="0"', 'v1="99999999999999999999"')),
    "a missing coordinate": model_xml(OBJECT.replace(' z="0.0"', "")),
    "nan": model_xml(OBJECT.replace('"1.0"', '"nan"')),
    "a vertex outside": model_xml('<vertex x="0" y="0" z="0"/>' + OBJECT),
    "two meshes in one object": model_xml(f'<object id="1">{mesh_xml()}{mesh_xml()}</object>'),
    "an empty object": model_xml('<object id="1"/>'),
    "a transform of eleven": model_xml(OBJECT, '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 0 0"/>'),
    "a transform of words": model_xml(OBJECT, '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 0 0 x"/>'),
    "a transform to infinity": model_xml(OBJECT, '<item objectid="1" transform="1 0 0 0 1 0 0 0 1 0 0 inf"/>'),
    "a transform that flattens": model_xml(OBJECT, '<item objectid="1" transform="1 0 0 0 1 0 0 0 0 0 0 0"/>'),
    "a circle": model_xml('<object id="1"><components><component objectid="1"/></components></object>'),
    "a part that is not there": model_xml(OBJECT, '<item objectid="1" p:path="/3D/b.model"/>'),
    "deep nesting": model_xml("<x>" * 200 + "</x>" * 200),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_3MF)
def test_3mf_that_breaks_the_core_specification_is_refused(read, bad):
    with pytest.raises(UnreadableModel):
        read(threemf_zip(BAD_3MF[bad]))


def test_components_that_multiply_are_refused(read, monkeypatch):
    monkeypatch.setattr(threemf, "MAX_INSTANCES", 1000)
    tower = OBJECT + "".join(
        f'<object id="{i}"><components>{f"<component objectid={chr(34)}{i - 1}{chr(34)}/>" * 10}</components></object>'
        for i in range(2, 20)
    )
    with pytest.raises(ModelTooLarge):
        read(threemf_zip(model_xml(tower, '<item objectid="19"/>')))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(read):
    bomb = threemf_zip(parts=[("3D/b.model", b"\0" * (50 << 20))])
    assert len(bomb) < 100_000
    with pytest.raises(ModelTooLarge):
        read(bomb)


def test_too_many_parts_and_too_much_in_all_are_refused(read, monkeypatch):
    monkeypatch.setattr(package, "MAX_UNPACKED_BYTES", 5000)
    with pytest.raises(ModelTooLarge):
        read(threemf_zip(parts=[("a", b"x" * 6000)]))
    monkeypatch.setattr(package, "MAX_PARTS", 5)
    with pytest.raises(ModelTooLarge):
        read(threemf_zip(parts=[(str(i), b"") for i in range(6)]))


@pytest.mark.parametrize(
    ("unit", "mm"),
    [("micron", 0.001), ("millimeter", 1), ("centimeter", 10), ("inch", 25.4), ("foot", 304.8), ("meter", 1000)],
)
def test_3mf_carries_its_unit(read, unit, mm):
    mesh = read(threemf_zip(model_xml(OBJECT, attributes=f'unit="{unit}"')))
    assert (mesh.unit, mesh.mm_per_unit) == (unit, mm)
    assert measure(mesh, unit_mm=7).extents_mm == pytest.approx((mm, mm, mm))


def test_3mf_places_components_and_items_by_their_transforms(read):
    nested = OBJECT + (
        '<object id="2"><components><component objectid="1"/>'
        '<component objectid="1" transform="2 0 0 0 2 0 0 0 2 10 0 0"/></components></object>'
    )
    moved = '<item objectid="2" transform="0 1 0 -1 0 0 0 0 1 0 0 5"/><item objectid="1"/>'
    mesh = read(threemf_zip(model_xml(nested, moved)))
    geometry = measure(mesh)
    assert geometry.volume_mm3 == pytest.approx(1 + 8 + 1)
    assert geometry.bodies == 3
    # the quarter turn takes x to y: the big cube at x 10..12, y 0..2 comes to y 10..12, x -2..0
    assert mesh.vertices.min(axis=0) == pytest.approx((-2, 0, 0))
    assert mesh.vertices.max(axis=0) == pytest.approx((1, 12, 7))


def test_a_mirrored_part_keeps_its_outside_outside(read):
    mesh = read(threemf_zip(model_xml(OBJECT, '<item objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/>')))
    assert_unit_cube(mesh)


def test_parts_of_the_production_extension_are_read_in_their_own_unit(read):
    other = model_xml(OBJECT, "", 'unit="centimeter"')
    mesh = read(threemf_zip(model_xml("", '<item objectid="1" p:path="/3D/b.model"/>'), [("3D/B.model", other)]))
    assert measure(mesh).extents_mm == pytest.approx((10, 10, 10))


def test_unused_objects_and_supports_do_not_count(read):
    more = OBJECT + OBJECT.replace('id="1"', 'id="2"') + OBJECT.replace('id="1"', 'id="3" type="support"')
    assert len(read(threemf_zip(model_xml(more, '<item objectid="1"/><item objectid="3"/>'))).faces) == 12


@st.composite
def soups(draw):
    count = draw(st.integers(1, 12))
    numbers = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
    points = np.array(draw(st.lists(numbers, min_size=9 * count, max_size=9 * count))).reshape(-1, 3)
    return points, np.arange(3 * count).reshape(-1, 3)


@pytest.mark.parametrize("writer", WRITERS)
@FUZZ
@given(soup=soups())
def test_what_is_written_is_read_back(read, writer, soup):
    points, faces = soup
    try:
        mesh = read(WRITERS[writer](points, faces))
    except NotAMesh:
        distinct = [len(np.unique(points[face] + 0.0, axis=0)) for face in faces]
        assert max(distinct) < 3
        return
    assert np.array_equal(mesh.vertices[mesh.faces].reshape(-1, 3), points[faces].reshape(-1, 3))
    assert len(np.unique(mesh.vertices, axis=0)) == len(mesh.vertices)


@pytest.mark.parametrize("cube", CUBES)
@FUZZ
@given(data=st.data())
def test_damage_is_refused_or_read_but_never_crashes(read, cube, data):
    original = CUBES[cube][0]
    damaged = bytearray(original[: data.draw(st.integers(0, len(original)))])
    for _ in range(data.draw(st.integers(0, 4)) if damaged else 0):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableModel):
        measure(read(bytes(damaged), data.draw(st.sampled_from(["a", "a.stl", "a.obj", "a.ply", "a.3mf"]))))


@FUZZ
@given(
    st.binary(max_size=400),
    st.sampled_from([b"", b"ply\nformat binary_little_endian 1.0\n", b"solid ", b"PK\x03\x04", b"v "]),
)
def test_noise_is_refused(read, noise, start):
    with contextlib.suppress(UnreadableModel):
        read(start + noise, "a.stl")


@pytest.mark.data
def test_every_real_file_is_measured_or_refused(data_root):
    tried = 0
    for path in sorted((data_root / "meshes").rglob("*")):
        if path.is_file() and path.suffix.lower() not in {"", ".md", ".txt"}:
            tried += 1
            with contextlib.suppress(UnreadableModel):
                measure(read_mesh(path))
    assert tried > 250


MATERIAL_RULES = "MUSTFAIL_3MF100_Extension"
NOT_STRUCTURAL = {
    "MUSTFAIL_Chapter2.3.2c_UndefinedNameSpaceInXDS.3mf",  # a foreign attribute, which changes nothing
    "MUSTFAIL_Chapter3.4.1a_MissingMetadataName.3mf",  # names its metadata `Undefined`, as a MUSTPASS file may
}


@pytest.mark.data
def test_the_consortiums_files_are_judged_as_the_core_specification_says(data_root):
    wrong = []
    for path in sorted((data_root / "meshes" / "3mf" / "validation").glob("*.3mf")):
        if path.name.startswith(MATERIAL_RULES) or path.name in NOT_STRUCTURAL:
            continue
        try:
            read_mesh(path)
            if path.name.startswith("MUSTFAIL"):
                wrong.append(path.name)
        except UnreadableModel:
            if path.name.startswith("MUSTPASS"):
                wrong.append(path.name)
    assert wrong == []


@pytest.mark.parametrize("header", [b"\0" * 80, b"exported by something".ljust(80, b" ")])
def test_a_binary_stl_that_is_cut_off_is_called_that_without_a_name(tmp_path: Path, header: bytes) -> None:
    triangle = np.array([(0, 0, 1), (0, 0, 0), (1, 0, 0), (0, 1, 0)], "<f4").tobytes() + b"\0\0"
    file = tmp_path / "upload"
    file.write_bytes(header + (100).to_bytes(4, "little") + triangle * 60 + triangle[:20])
    with pytest.raises(UnreadableModel, match="cut off"):
        read_mesh(file)

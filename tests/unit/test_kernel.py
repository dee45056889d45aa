"""The kernel measures solids as their formulas say, however they stand, are cut up or were exported."""

import math
import re
import shutil
import subprocess

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.models.errors import NotAMesh, UnreadableModel
from mes.models.formats import read_mesh
from mes.models.mesh import build, build_soup
from mes.pricing.kernel.columns import _walk as walk
from mes.pricing.kernel.columns import stand
from mes.pricing.kernel.compiled import BesideSource, sources_of
from mes.pricing.kernel.edges import bodies_of, edges_of
from mes.pricing.kernel.mass import masses_of
from mes.pricing.kernel.printing import ways_up
from mes.pricing.measure import measure
from tests.conftest import REPOSITORY
from tests.meshes import box, cylinder, moebius, rotation, soup, sphere, tetrahedron, torus

KNOWN_TO_OTHERS = {".stl", ".obj", ".ply", ".off"}

SOLIDS = {
    "box": (box((3, 2, 1)), 6, 22),
    "tetrahedron": (tetrahedron(6), 36, 54 + 18 * math.sqrt(3)),
    "cylinder": (cylinder(2, 5, steps=2000), 20 * math.pi, 28 * math.pi),
    "sphere": (sphere(3, rings=200), 36 * math.pi, 36 * math.pi),
    "torus": (torus(10, 2, rings=300), 80 * math.pi**2, 80 * math.pi**2),
}
TURNED = {
    "box": box((3, 2, 1)),
    "wedge": tetrahedron(6) * (1, 2, 3),
    "cylinder": cylinder(2, 5),
    "torus": torus(10, 2, 60),
    "table": np.concatenate((box((1, 2, 4), (2, 0, 0)), box((5, 2, 1), (0, 0, 4)))),
}


def faults(geometry):
    return [(fault.kind, fault.count, fault.healed) for fault in geometry.faults]


def hanging(*solids, axis=2):
    """What hangs when solids stand upright, and upside down, along an axis of the file."""
    mesh = build_soup(np.concatenate(solids), "stl")
    edges = edges_of(mesh.faces, len(mesh.vertices))
    masses = masses_of(mesh.vertices, mesh.faces, *bodies_of(edges))
    ways = ways_up(stand(mesh.vertices, mesh.faces, masses.normals, np.eye(3)))
    return [way for way in ways if way.axis == axis]


@pytest.mark.parametrize("name", SOLIDS)
def test_solids_measure_what_their_formulas_say(name):
    corners, volume, area = SOLIDS[name]
    found = soup(corners)
    assert found.volume_mm3 == pytest.approx(volume, rel=2e-4)
    assert found.area_mm2 == pytest.approx(area, rel=2e-4)
    assert (found.bodies, found.closed, found.facing) == (1, True, "outward")


@pytest.mark.parametrize("name", SOLIDS)
def test_finer_meshes_come_closer(name):
    if name in {"box", "tetrahedron"}:
        assert soup(SOLIDS[name][0]).volume_mm3 == pytest.approx(SOLIDS[name][1], rel=1e-12)
        return
    make = {"cylinder": lambda n: cylinder(2, 5, steps=n), "sphere": lambda n: sphere(3, rings=n), "torus": torus}[name]
    coarse, fine = (
        abs(soup(make(10, 2, n) if name == "torus" else make(n)).volume_mm3 / SOLIDS[name][1] - 1) for n in (20, 80)
    )
    assert fine < coarse / 10


@settings(deadline=None, derandomize=True, max_examples=20)
@given(st.sampled_from(sorted(TURNED)), st.integers(0, 1000), st.floats(0.1, 100))
def test_measures_do_not_depend_on_position_turn_order_and_cores(name, seed, scale):
    corners = TURNED[name]
    still = soup(corners)
    random = np.random.default_rng(seed)
    moved = (corners @ rotation(seed) + random.uniform(-50, 50, 3)) * scale
    moved = random.permutation(moved)
    found = soup(moved)
    assert found == soup(moved, threads=2)
    assert found.volume_mm3 == pytest.approx(still.volume_mm3 * scale**3, rel=1e-9)
    assert found.area_mm2 == pytest.approx(still.area_mm2 * scale**2, rel=1e-9)
    assert found.hull_mm3 == pytest.approx(still.hull_mm3 * scale**3, rel=1e-6)
    assert found.box_mm == pytest.approx([side * scale for side in still.box_mm], rel=1e-3)
    assert found.detail == pytest.approx(still.detail, rel=1e-6)
    assert (found.bodies, found.closed, found.facing) == (still.bodies, still.closed, still.facing)
    assert found.printing.height_mm == pytest.approx(still.printing.height_mm * scale, rel=1e-3)
    assert found.printing.support_mm3 == pytest.approx(still.printing.support_mm3 * scale**3, rel=0.03, abs=1e-6)
    assert np.linalg.norm(found.printing.up) == pytest.approx(1)
    sliced = sum(found.printing.layer_areas_mm2) * found.printing.height_mm / 64
    assert sliced == pytest.approx(found.volume_mm3, rel=2e-3)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(st.integers(0, 1000))
def test_the_order_of_corners_and_faces_changes_nothing(seed):
    random = np.random.default_rng(seed)
    corners = np.concatenate((box((4, 4, 4)), box((2, 2, 2), (1, 1, 1), inside_out=True), box(at=(9, 0, 0))[1:]))
    turns = random.integers(3, size=len(corners))
    mixed = np.stack([np.roll(triangle, turn, axis=0) for triangle, turn in zip(corners, turns, strict=True)])
    found, still = soup(random.permutation(mixed)), soup(corners)
    assert faults(found) == faults(still)
    assert [sorted(fault.places) for fault in found.faults] == [sorted(fault.places) for fault in still.faults]
    assert found.volume_mm3 == pytest.approx(still.volume_mm3)
    assert (found.bodies, found.open_edges, found.facing, found.printing.up) == (
        still.bodies, still.open_edges, still.facing, still.printing.up,
    )  # fmt: skip


def test_volume_far_from_the_origin():
    far = soup(box((3, 2, 1), (1e6, -1e6, 1e6)))
    assert far.volume_mm3 == pytest.approx(6, rel=1e-9)
    assert far.box_mm == pytest.approx((3, 2, 1), rel=1e-9)


def test_points_weld_where_they_are_equal_and_zeros_have_no_sign():
    zeros = box()
    zeros[zeros == 0] *= np.where(np.arange((zeros == 0).sum()) % 2, 1.0, -1.0)
    for corners in (zeros, zeros.astype(np.float32)):
        mesh = build_soup(corners, "stl")
        assert len(mesh.vertices) == 8
        assert (mesh.vertices.dtype, mesh.faces.dtype, mesh.faces.flags.c_contiguous) == (np.float64, np.int32, True)
    indexed = build(np.concatenate((zeros.reshape(-1, 3), [(7, 7, 7)])), np.arange(36).reshape(-1, 3), "obj")
    assert len(indexed.vertices) == 8


def test_a_view_over_records_welds_as_its_copy_does_and_as_two_threads_do():
    records = np.zeros(2 * 300**2 * 2, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("more", "<u2")]))
    records["corners"] = torus(rings=300)
    records.flags.writeable = False
    view, copy = build_soup(records["corners"], "stl"), build_soup(records["corners"].astype(np.float64), "stl")
    two = build_soup(records["corners"], "stl", threads=2)
    assert len(view.vertices) == 2 * 300**2
    for other in (copy, two):
        assert np.array_equal(view.vertices, other.vertices)
        assert np.array_equal(view.faces, other.faces)


def test_a_soup_of_separate_triangles_finds_room():
    random = np.random.default_rng(1)
    corners = random.uniform(-1, 1, (120_000, 3, 3))
    mesh = build_soup(corners, "stl")
    assert len(mesh.vertices) == 360_000
    assert np.array_equal(mesh.vertices[mesh.faces], corners)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e10])
def test_coordinates_that_are_no_place_are_refused(wrong):
    corners = box()
    corners[7, 1, 2] = wrong
    with pytest.raises(UnreadableModel):
        build_soup(corners, "stl")
    with pytest.raises(UnreadableModel):
        build(corners.reshape(-1, 3), np.arange(36).reshape(-1, 3), "obj")


@pytest.mark.parametrize("face", [(0, 1, 3), (-1, 0, 1)])
def test_faces_that_name_no_point_are_refused(face):
    with pytest.raises(UnreadableModel):
        build(np.eye(3), np.array([face]), "obj")


def test_what_has_no_surface_is_no_mesh():
    with pytest.raises(NotAMesh):
        build_soup(np.zeros((0, 3, 3)), "stl")
    with pytest.raises(NotAMesh):
        build_soup(np.zeros((5, 3, 3)), "stl")


def test_sizes_that_overflow_are_refused():
    with pytest.raises(UnreadableModel):
        soup(box(), unit_mm=1e200)
    with pytest.raises(UnreadableModel):
        soup(box(), unit_mm=1e-200)


def test_a_turned_box_is_found_exactly():
    for seed in range(8):
        found = soup(box((7, 5, 0.5)) @ rotation(seed))
        assert found.box_mm == pytest.approx((7, 5, 0.5), rel=1e-12)
        assert found.hull_mm3 == pytest.approx(17.5, rel=1e-12)
        assert found.printing.height_mm == pytest.approx(0.5)


def test_many_points_inside_and_on_flat_sides_change_no_hull():
    ball = sphere(3, rings=150)
    alone, beside = soup(ball), soup(ball, box((10, 10, 10), (-5, -5, -5)))
    assert beside.hull_mm3 == pytest.approx(1000, rel=1e-9)
    assert beside.box_mm == pytest.approx((10, 10, 10), rel=1e-9)
    assert alone.hull_mm3 == pytest.approx(alone.volume_mm3, rel=5e-4)  # 45,000 points are no edge


def test_flat_models_have_a_box_without_thickness():
    sheet = soup(box((4, 3, 1))[:2] @ rotation(2))
    assert sheet.box_mm == pytest.approx((3, 1, 0))
    assert (sheet.hull_mm3, sheet.volume_mm3, sheet.facing) == (0.0, pytest.approx(0, abs=1e-12), "outward")
    line = soup(np.array([[(0, 0, 0), (1, 1, 1), (2, 2, 2)]], float))
    assert line.box_mm == pytest.approx((math.sqrt(12), 0, 0))
    assert (line.area_mm2, line.detail) == (0.0, None)


def test_detail_is_one_for_a_ball_and_known_for_edged_and_hollow_solids():
    assert soup(sphere(5, rings=100)).detail == pytest.approx(1, rel=1e-3)
    cube = 12 * (math.pi / 2) / 2 / math.sqrt(4 * math.pi * 6)  # twelve edges of length 1 and 90 degrees
    assert soup(box()).detail == pytest.approx(cube)
    assert soup(box((8, 8, 8))).detail == pytest.approx(cube)
    radius, tube = 10, 2  # a torus: pi^2 R from the outer half, as much and less from the inner
    assert soup(torus(radius, tube, rings=200)).detail > 1.5
    rod = cylinder(1, 10, steps=500)  # mean curvature 1/2 over the side, and two rims of 90 degrees
    expected = (20 * math.pi / 2 + 2 * 2 * math.pi * math.pi / 4) / math.sqrt(4 * math.pi * 22 * math.pi)
    assert soup(rod).detail == pytest.approx(expected, rel=1e-3)


def test_slivers_change_no_detail():
    cut = box()
    a, b, c = cut[0]
    middle = (a + b) / 2 + (c - a) * 1e-9  # a point so near the edge that the two small faces have any normal
    slit = np.array([(a, middle, c), (middle, b, c), (a, b, middle)])
    found = soup(np.concatenate((slit, cut[1:])))
    assert found.closed
    assert found.detail == pytest.approx(soup(box()).detail, rel=1e-6)
    assert faults(found) == [("zero_area_faces", 1, True)]


def test_supports_of_a_table_top_are_its_overhang_times_its_height():
    up, down = hanging(box((1, 2, 4), (2, 0, 0)), box((5, 2, 1), (0, 0, 4)))
    assert (up.area, up.support) == (pytest.approx(10), pytest.approx(4 * 2 * 4, rel=0.01))  # less what the leg fills
    assert (down.area, down.support) == (pytest.approx(2), pytest.approx(0, abs=0.05))  # the leg stands on the top


def test_supports_stand_on_what_is_below():
    foot, cap = box((6, 6, 1)), box((6, 6, 1), (0, 0, 5))
    stem = box((2, 2, 4), (2, 2, 1))
    up, down = hanging(foot, stem, cap)
    assert up.support == pytest.approx((36 - 4) * 4, rel=0.01)  # from the foot's top, not from the plate
    assert down.support == pytest.approx((36 - 4) * 4, rel=0.01)


def test_the_best_way_up_avoids_supports():
    leg, top = box((1, 2, 4), (2, 0, 0)), box((5, 2, 1), (0, 0, 4))
    found = soup(leg, top).printing
    assert (found.support_mm3, found.overhang_mm2, found.height_mm) == (0.0, 0.0, pytest.approx(2))
    assert np.abs(found.up) == pytest.approx((0, 1, 0))
    assert found.layer_areas_mm2 == pytest.approx([9.0] * 64)


def test_slopes_up_to_45_degrees_carry_themselves():
    wedge = np.array([(0, 0, 0), (1, 0, 1), (0, 0, 1)], float)

    def prism(lean):
        front = wedge * (lean, 1, 1)
        back = front + np.array((0, 2, 0))
        a, b, c, d, e, f = *front, *back
        return np.array([(a, b, c), (d, f, e), (a, d, e), (a, e, b), (b, e, f), (b, f, c), (c, f, d), (c, d, a)])

    assert hanging(prism(0.9))[0].area == 0
    assert hanging(prism(1.1))[0].area == pytest.approx(2 * math.hypot(1.1, 1))
    assert hanging(prism(1.1))[0].support == pytest.approx(1.1 * 2 / 2)


def test_a_balls_supports_follow_its_formula():
    radius = 3
    up, _ = hanging(sphere(radius, rings=200))
    cap = math.pi * radius**3 * (1 / 2 - 2 / 3 * (1 - 2**-1.5))
    assert up.area == pytest.approx(2 * math.pi * radius**2 * (1 - math.sqrt(0.5)), rel=0.03)
    assert up.support == pytest.approx(cap, rel=0.03)


def test_a_hollow_needs_support_inside():
    up, _ = hanging(box((4, 4, 4)), box((2, 2, 2), (1, 1, 1), inside_out=True))
    assert up.support == pytest.approx(2 * 2 * 2, rel=0.02)


def test_faces_that_are_there_twice_count_once():
    found = soup(box((2, 2, 2)), box((2, 2, 2))[:5])
    assert (found.volume_mm3, found.area_mm2, found.closed) == (pytest.approx(8), pytest.approx(24), True)
    assert faults(found) == [("duplicate_faces", 5, True)]
    assert faults(soup(box(), box())) == [("duplicate_faces", 12, True)]


def test_a_body_with_both_sides_of_a_face_keeps_both():
    leaf = box()[:1]
    found = soup(np.concatenate((leaf, leaf[:, ::-1])))
    assert (found.closed, found.volume_mm3, found.area_mm2) == (True, 0.0, 1.0)


def test_hairline_gaps_are_closed_and_others_told():
    def apart(width):
        lid = box((4, 4, 4))
        lid[:2] -= (width, 0, 0)
        return soup(lid)

    healed = apart(1e-4)
    assert (healed.closed, healed.volume_mm3) == (True, pytest.approx(64, rel=1e-4))
    (fault,) = healed.faults
    assert (fault.kind, fault.count, fault.healed) == ("hairline_gaps", 8, True)
    assert fault.size_mm == pytest.approx(1e-4)
    wide = apart(0.1)
    assert (wide.closed, wide.open_edges, wide.bodies) == (False, 8, 2)
    assert faults(wide) == [("open_edges", 8, False)]


def test_open_edges_are_told_where_they_are_in_the_files_unit():
    corners = box((2, 2, 2), (100, 0, 0))[2:]
    found = soup(corners, unit_mm=10)
    (fault,) = found.faults
    assert (fault.kind, fault.count, fault.size_mm) == ("open_edges", 4, pytest.approx(80))
    expected = {(100, 1, 0), (100, 1, 2), (100, 0, 1), (100, 2, 1)}
    assert {tuple(round(x, 9) for x in place) for place in fault.places} == expected


def test_places_are_few_and_spread():
    bottomless = cylinder(5, 2, steps=400)
    found = soup(bottomless[np.any(bottomless[:, :, 2] > 0, axis=1)])
    (fault,) = found.faults
    assert (fault.count, len(fault.places)) == (400, 8)
    places = np.array(fault.places)
    apart = np.linalg.norm(places[:, None] - places, axis=2)[np.triu_indices(8, 1)]
    assert apart.min() > 3


def test_turned_faces_are_turned_back():
    corners = sphere(2, rings=20)
    sound = soup(corners)
    corners[100:140] = corners[100:140, ::-1]
    found = soup(corners)
    assert (found.closed, found.facing) == (True, "outward")
    assert found.volume_mm3 == pytest.approx(sound.volume_mm3)
    assert ("inconsistent_facing", 40, True) in faults(found)


def test_moebius_strip_has_one_side_and_no_cure():
    found = soup(moebius())
    assert (found.closed, found.bodies) == (False, 1)
    assert [fault[0] for fault in faults(found)] == ["open_edges", "inconsistent_facing"]
    assert not any(fault.healed for fault in found.faults)


def test_inverted_bodies_are_turned_but_cavities_are_not():
    inverted = soup(box((4, 4, 4), inside_out=True))
    assert (inverted.volume_mm3, inverted.facing, faults(inverted)) == (64, "inward", [("inverted_bodies", 1, True)])
    beside = soup(box((4, 4, 4)), box(at=(9, 0, 0), inside_out=True))
    assert (beside.volume_mm3, beside.facing) == (65, "mixed")
    assert faults(beside) == [("inverted_bodies", 1, True)]
    assert beside.faults[0].places == ((9.5, 0.5, 0.5),)
    hollow = soup(box((4, 4, 4)), box((2, 2, 2), (1, 1, 1), inside_out=True))
    assert (hollow.volume_mm3, faults(hollow)) == (56, [])
    ball = soup(box((4, 4, 4), inside_out=True), box((2, 2, 2), (1, 1, 1)))
    assert (ball.volume_mm3, ball.facing, faults(ball)) == (56, "inward", [("inverted_bodies", 2, True)])


def test_specks_are_told_and_cavities_are_none():
    found = soup(box((20, 20, 20)), box((0.1, 0.1, 0.1), (30, 0, 0)))
    assert faults(found) == [("floating_specks", 1, False)]
    assert found.faults[0].places[0] == pytest.approx((30.05, 0.05, 0.05))
    bubble = soup(box((20, 20, 20)), box((0.1, 0.1, 0.1), (5, 5, 5), inside_out=True))
    assert faults(bubble) == []
    assert faults(soup(box(), box(at=(3, 0, 0)))) == []


def test_edges_of_more_than_two_faces_are_told():
    found = soup(box(), box(at=(1, 1, 0)))
    assert (found.closed, found.bodies, found.volume_mm3) == (True, 1, 2)
    assert faults(found) == [("non_manifold_edges", 1, False)]
    assert found.faults[0].places == ((1.0, 1.0, 0.5),)


def test_a_fan_of_thousands_of_faces_on_one_edge_takes_no_time():
    turn = np.linspace(0, 2 * np.pi, 60_000, endpoint=False)
    tips = np.stack((np.cos(turn), np.sin(turn), 0 * turn), -1)
    low, high = np.broadcast_to((0.0, 0.0, -1.0), tips.shape), np.broadcast_to((0.0, 0.0, 1.0), tips.shape)
    fan = soup(np.stack((low, tips, high), 1))
    assert (fan.bodies, fan.closed) == (1, False)
    assert ("non_manifold_edges", 1, False) in faults(fan)


@pytest.mark.slow
def test_hostile_models_are_measured_in_reasonable_time():
    count = 300_000
    random = np.random.default_rng(3)
    slivers = random.uniform(-1, 1, (count, 3, 3))
    slivers[:, 2] = (slivers[:, 0] + slivers[:, 1]) / 2 + 1e-7
    assert soup(slivers).triangles == count
    around = random.uniform(-1, 1, (count, 3, 3))
    around[:, 0] = 0.0
    assert soup(around).bodies == count
    assert faults(soup(np.broadcast_to(box()[:1], (count, 3, 3)).copy()))[0] == ("duplicate_faces", count - 1, True)


def test_compiled_code_is_kept_only_while_all_that_went_into_it_is_unchanged():
    kernel = REPOSITORY / "mes" / "pricing" / "kernel"
    assert {kernel / "rays.py", kernel / "wall_samples.py"} <= sources_of(kernel / "rays.py")
    assert kernel / "side_by_side.py" in sources_of(REPOSITORY / "mes" / "models" / "mesh.py")  # by way of welding
    assert type(walk._cache._impl.locator) is BesideSource


def closed_models(root):
    names = ("meshes/jewelry", "meshes/classic", "meshes/trimesh", "meshes/broken")
    return [
        path for name in names for path in sorted((root / name).rglob("*")) if path.suffix.lower() in KNOWN_TO_OTHERS
    ]


@pytest.mark.data
@pytest.mark.slow
def test_closed_models_measure_what_trimesh_says(data_root):
    compared = 0
    for path in closed_models(data_root):
        try:
            ours = measure(read_mesh(path), walls=False)
            theirs = trimesh.load(path, force="mesh", process=True)
        except (UnreadableModel, ValueError, IndexError, KeyError, TypeError):
            continue
        if ours.faults or not ours.closed or not theirs.is_watertight:
            continue
        scale = max(ours.extents_mm) / max(theirs.extents)  # a stated unit
        assert ours.volume_mm3 == pytest.approx(abs(theirs.volume) * scale**3, rel=1e-5), path
        assert ours.area_mm2 == pytest.approx(theirs.area * scale**2, rel=1e-5), path
        assert ours.bodies == theirs.body_count, path
        assert ours.hull_mm3 == pytest.approx(theirs.convex_hull.volume * scale**3, rel=1e-4), path
        assert math.prod(ours.box_mm) <= theirs.bounding_box_oriented.volume * scale**3 * 1.02, path
        compared += 1
    assert compared >= 20


@pytest.mark.data
@pytest.mark.skipif(not shutil.which("admesh"), reason="admesh is not installed")
def test_closed_models_measure_what_admesh_says(data_root):
    compared = 0
    for path in sorted((data_root / "meshes" / "jewelry").glob("*.stl")):
        ours = measure(read_mesh(path), walls=False)
        said = subprocess.run(["admesh", path], check=True, capture_output=True, stdin=subprocess.DEVNULL)
        volume = re.search(rb"Volume\s*:\s*(\S+)", said.stdout)
        assert volume is not None
        assert ours.volume_mm3 == pytest.approx(float(volume[1]), rel=1e-5), path
        compared += 1
    assert compared >= 6


@pytest.mark.data
def test_one_model_in_two_formats_measures_the_same(data_root):
    stem = "gpl3_jmarsik_geometry_bracelet_ring_1-70mmID_8mmT_40mmW_3x20deg_360deg_31scale"
    one, other = (
        measure(read_mesh(data_root / "meshes/jewelry" / f"{stem}.{kind}"), walls=False) for kind in ("stl", "3mf")
    )
    for name in ("volume_mm3", "area_mm2", "hull_mm3", "box_mm", "detail"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-5)
    assert one.printing.height_mm == pytest.approx(other.printing.height_mm, rel=1e-5)
    assert one.printing.support_mm3 == pytest.approx(other.printing.support_mm3, rel=1e-2)

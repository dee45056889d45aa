"""The measures agree with solids whose volume is known, and with what other programs measured on real jewelry."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.models.errors import NotAMesh
from mes.models.formats import read_mesh
from mes.models.mesh import build
from mes.pricing.geometry import Geometry, scaled
from mes.pricing.measure import measure
from tests.meshes import CORNERS, FACES, box, soup, sphere


def cube(size=1.0, at=(0.0, 0.0, 0.0), inside_out=False):
    return box((size, size, size), at, inside_out)


def test_a_cube_is_a_cube():
    found = replace(soup(cube(2)), detail=None, printing=None)
    expected = Geometry(12, 8.0, 24.0, (2.0, 2.0, 2.0), 1, True, 0, "outward", None, (2.0, 2.0, 2.0), 8.0)
    assert found == expected


def test_a_sphere_tends_to_its_formula():
    fine = soup(sphere(3, rings=200))
    assert fine.volume_mm3 == pytest.approx(4 / 3 * math.pi * 27, rel=2e-4)
    assert fine.area_mm2 == pytest.approx(4 * math.pi * 9, rel=2e-4)
    assert (fine.closed, fine.bodies, fine.facing) == (True, 1, "outward")


def test_a_model_far_from_the_origin_keeps_its_volume():
    assert soup(cube(1, (1e6, -1e6, 1e6))).volume_mm3 == pytest.approx(1, rel=1e-9)


def test_the_callers_unit_applies_where_the_file_has_none():
    inches = soup(cube(), unit_mm=25.4)
    assert inches.volume_mm3 == pytest.approx(16387.064)
    assert inches.area_mm2 == pytest.approx(6 * 645.16)
    assert inches.extents_mm == pytest.approx((25.4, 25.4, 25.4))


def test_a_model_turned_inside_out_has_its_volume_all_the_same():
    turned = soup(cube(2, inside_out=True))
    assert (turned.volume_mm3, turned.closed, turned.facing) == (8.0, True, "inward")


def test_a_cavity_is_legitimate_and_subtracted():
    hollow = soup(cube(4), cube(2, (1, 1, 1), inside_out=True))
    assert (hollow.volume_mm3, hollow.bodies, hollow.closed, hollow.facing) == (pytest.approx(56), 2, True, "outward")


def test_a_ball_in_a_cavity_is_legitimate_too():
    bell = soup(cube(4), cube(2, (1, 1, 1), inside_out=True), cube(1, (1.5, 1.5, 1.5)))
    assert (bell.volume_mm3, bell.bodies, bell.facing) == (pytest.approx(57), 3, "outward")


def test_a_hollow_model_turned_inside_out_is_inward():
    turned = soup(cube(4, inside_out=True), cube(2, (1, 1, 1)))
    assert (turned.volume_mm3, turned.facing) == (pytest.approx(56), "inward")


def test_a_turned_body_beside_the_others_makes_the_model_mixed():
    assert soup(cube(4), cube(1, (9, 0, 0), inside_out=True)).facing == "mixed"


def test_a_turned_body_in_the_hole_of_a_ring_is_no_cavity():
    outer, inner = cube(4, (-2, -2, -2)), cube(1, (-0.5, -0.5, -0.5), inside_out=True)
    walls = [cube(2, (x, y, -1)) for x in (-5, -3, -1, 1, 3) for y in (-5, 3)]
    assert soup(outer, inner).facing == "outward"
    assert soup(*walls, inner).facing == "mixed"


def test_bodies_that_touch_at_an_edge_are_one_and_at_a_corner_two():
    assert soup(cube(), cube(1, (1, 1, 0))).bodies == 1
    assert soup(cube(), cube(1, (1, 1, 1))).bodies == 2


def test_cubes_that_share_a_face_twice_are_closed():
    assert soup(cube(), cube(1, (1, 0, 0))).closed


@pytest.mark.parametrize(("missing", "open_edges"), [(1, 3), (2, 4), (12, None)])
def test_missing_triangles_open_the_model(missing, open_edges):
    if open_edges is None:
        with pytest.raises(NotAMesh):
            soup(cube()[missing:])
        return
    opened = soup(cube()[missing:])
    assert (opened.closed, opened.open_edges, opened.triangles) == (False, open_edges, 12 - missing)


def test_a_triangle_turned_over_would_open_the_model_and_is_turned_back():
    turned = cube()
    turned[0] = turned[0, ::-1]
    found = soup(turned)
    assert (found.closed, found.open_edges, found.volume_mm3) == (True, 0, pytest.approx(1))
    assert [(fault.kind, fault.count, fault.healed) for fault in found.faults] == [("inconsistent_facing", 1, True)]


def test_degenerate_triangles_change_nothing_but_the_count():
    line = np.array([[(0, 0, 0), (1, 0, 0), (1, 0, 0)]], float)
    extra = soup(cube(), line)
    assert (extra.triangles, extra.closed, extra.bodies, extra.volume_mm3) == (13, True, 1, 1.0)


def test_a_flat_model_has_no_volume_and_measures_all_the_same():
    flat = soup(np.array([[(0, 0, 0), (1, 0, 0), (0, 1, 0)]], float))
    assert (flat.volume_mm3, flat.area_mm2, flat.bodies, flat.closed, flat.open_edges) == (0.0, 0.5, 1, False, 3)


def test_a_long_chain_of_triangles_is_one_body():
    x = np.arange(200_001)
    points = np.column_stack((x, x % 2, 0 * x)).astype(float)
    order = np.random.default_rng(1).permutation(200_001)
    points, place = points[order], np.argsort(order)
    faces = place[np.column_stack((x[:-2], x[1:-1], x[2:]))]
    assert measure(build(points, np.random.default_rng(2).permutation(faces), "obj"), walls=False).bodies == 1


def test_geometry_survives_json():
    geometry = soup(cube(2), cube(1, (9, 0, 0), inside_out=True), walls=True)
    assert geometry.walls
    assert geometry.printing
    assert geometry.faults
    assert Geometry.from_dict(json.loads(json.dumps(geometry.as_dict()))) == geometry


@settings(deadline=None, derandomize=True, max_examples=50)
@given(st.floats(0.01, 1000), st.tuples(*[st.floats(0.5, 20)] * 3))
def test_scaling_the_measures_is_measuring_the_scaled(longest, sides):
    corners = CORNERS * sides
    ratio = longest / max(sides)
    computed = scaled(soup(corners[FACES]), longest)
    assert max(computed.extents_mm) == pytest.approx(longest)
    measured = soup((corners * ratio)[FACES])
    for name in ("volume_mm3", "area_mm2", "extents_mm", "box_mm", "hull_mm3", "detail"):
        assert getattr(computed, name) == pytest.approx(getattr(measured, name))
    assert (computed.triangles, computed.bodies, computed.closed) == (12, 1, True)


@pytest.mark.parametrize("longest", [0, -1, math.nan])
def test_a_model_cannot_be_scaled_to_nothing(longest):
    with pytest.raises(ValueError, match="cannot scale"):
        scaled(soup(cube()), longest)


RING = "jewelry/gpl3_jmarsik_geometry_bracelet_ring_1-70mmID_8mmT_40mmW_3x20deg_360deg_31scale"
KNOWN = [
    ("jewelry/mit_ringshowcase_ring.stl", 1182.30, 1),
    ("jewelry/mit_franout_bracelet.stl", 3473.81, 11),
    (f"{RING}.stl", 2205.52, 1),
    (f"{RING}.3mf", 2205.52, 1),
    ("classic/nefertiti-lowres.obj", 11553252.559, 1),
]


@pytest.mark.data
@pytest.mark.parametrize(("name", "volume_mm3", "bodies"), KNOWN)
def test_real_models_measure_what_other_programs_say(data_root, name, volume_mm3, bodies):
    geometry = measure(read_mesh(data_root / "meshes" / name), walls=False)
    assert geometry.volume_mm3 == pytest.approx(volume_mm3, rel=3e-6)
    assert (geometry.bodies, geometry.closed, geometry.facing) == (bodies, True, "outward")


@pytest.mark.data
def test_a_part_in_inches_is_measured_in_millimetres_and_found_open(data_root):
    geometry = measure(read_mesh(data_root / "meshes" / "trimesh" / "featuretype.3MF"), walls=False)
    assert geometry.extents_mm == pytest.approx((127, 63.5, 34.925))
    assert (geometry.unit, geometry.closed) == ("inch", False)


CLASSIC = [
    "koala", "koala_low_resolution", "goathead", "penguin_hr", "spot_low_resolution", "torus", "wingnut", "fish",
    "nefertiti-lowres",
]  # fmt: skip


@pytest.mark.data
def test_all_models_that_customers_ordered_are_closed_and_face_outward(data_root):
    ordered = [data_root / "meshes" / "classic" / f"{name}.obj" for name in CLASSIC]
    ordered += [*(data_root / "meshes" / "jewelry").glob("*.stl"), *(data_root / "meshes" / "jewelry").glob("*.3mf")]
    assert len(ordered) == 16
    measured = {path.name: measure(read_mesh(path), walls=False) for path in ordered}
    assert [name for name, found in measured.items() if not found.closed or found.facing != "outward"] == []

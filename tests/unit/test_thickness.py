"""Wall thickness against solids whose walls are known, and against rays cast by brute force."""

import time

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.pricing.kernel import rays
from mes.pricing.kernel.wall_tree import build
from mes.pricing.thickness import APART, PLACES, _place, _sample, measure_walls
from tests.solids_walls import (
    bowl,
    box,
    cone,
    finer,
    moved,
    prism,
    revolved,
    rotation,
    solid,
    sphere,
    together,
    torus,
    tube,
    turned,
)

OPPOSITE = -np.cos(np.radians(45))
ROUNDING = 6e-4  # four digits: half a thousandth at worst
SAMPLING = 0.01  # of the area: three standard errors of 20,000 rays


def walls(body, **how):
    measured = measure_walls(*body, **how)
    assert measured is not None
    return measured


def alike(one, other, of_area=1e-3, of_thickness=1.1e-3, places=True):
    """Same shares but for few samples on a border, same thicknesses but for rounding, same places."""
    assert other.thinnest_mm == pytest.approx(one.thinnest_mm, rel=of_thickness)
    for thickness, share in one.distribution:
        assert other.share_below(thickness * 0.998) - of_area <= share
        assert other.share_below(thickness * 1.002) + of_area >= share
    if places:
        assert len(one.places) == len(other.places)
        for here, there in zip(one.places, other.places, strict=True):
            assert there.thickness_mm == pytest.approx(here.thickness_mm, rel=of_thickness)
            assert there.at == pytest.approx(here.at, abs=1e-3)


def plate_with_rib():
    """A plate of 40 x 30 x 4 mm with a rib on it, 10 mm long, 3 mm high and 0.3 mm thick, that goes 1 mm into it."""
    return together(box(40, 30, 4), box(10, 0.3, 4, at=(12, 20, 3)))


@pytest.mark.parametrize("fineness", [0, 2, 4])
def test_a_cube_is_as_thick_as_its_side(fineness):
    cube = walls(finer(box(10, 10, 10), fineness))
    assert (cube.thinnest_mm, cube.median_mm) == pytest.approx((10, 10))
    assert (cube.share_below(10), cube.share_below(10.1)) == (0, 1)


@pytest.mark.parametrize("fineness", [3, 4, 5])
def test_a_hollow_sphere_is_as_thick_as_its_shell(fineness):
    shell = walls(together(sphere(10, fineness), turned(sphere(9, fineness))))
    sagitta = 10 * (1 - np.cos(np.pi / 2 ** (fineness + 1) * 1.2))  # how far a facet lies within its sphere
    assert shell.thinnest_mm == pytest.approx(1, abs=sagitta)
    assert shell.median_mm == pytest.approx(1, abs=sagitta)
    assert shell.share_below(1 + 2 * sagitta) > 0.98


@pytest.mark.parametrize("around", [24, 96, 384])
def test_a_tubes_wall_and_its_ends(around):
    """Wall 2 mm between facets; of the area 2 pi (10 + 8) 30 + 2 pi (100 - 64), the ends are a fifteenth."""
    measured = walls(tube(8, 10, 30, around))
    flat = np.cos(np.pi / around)
    ends = (100 - 64) * np.sin(2 * np.pi / around) / (2 * np.pi / around)
    assert measured.thinnest_mm == pytest.approx(2 * flat, rel=ROUNDING)
    assert measured.median_mm == pytest.approx(2 * flat, rel=ROUNDING)
    share = 1 - ends / (ends + 18 * 30 * np.sin(np.pi / around) / (np.pi / around))
    assert measured.share_below(15) == pytest.approx(share, abs=SAMPLING)


def test_a_thin_rib_on_a_plate_is_found_with_its_place_and_its_share():
    """Of the rib 2 x 10 x 3 mm2 are 0.3 mm thick; bare are 2 x 1200 + 2 x 70 x 4 + 2 x 10.3 x 3 mm2, its foot aside."""
    measured = walls(plate_with_rib())
    assert measured.thinnest_mm == pytest.approx(0.3, rel=ROUNDING)
    assert measured.share_below(0.6) == pytest.approx(60 / (2400 + 560 + 61.8), abs=0.003)
    place = np.array(measured.places[0].at)
    assert ((place >= (12 - 1e-6, 20 - 1e-6, 4)) & (place <= (22 + 1e-6, 20.3 + 1e-6, 7))).all()


def test_a_rib_of_a_thousandth_of_the_area_is_found():
    plate = finer(together(box(100, 100, 10), box(4, 0.25, 4, at=(30, 60, 9))), 3)
    assert walls(plate).thinnest_mm == pytest.approx(0.25, rel=ROUNDING)


def test_the_waist_of_an_hourglass_is_measured_at_its_waist():
    """A tube of 1 mm inside whose wall rises from 0.5 mm by z squared / 8: nowhere else is it so thin."""
    z = np.linspace(-4, 4, 161)
    waist = walls(revolved([*zip(1 + z**2 / 8, z, strict=True), (0.5, 4), (0.5, -4)], 128)).places[0]
    assert waist.thickness_mm == pytest.approx(0.5, rel=2e-3)
    assert abs(waist.at[2]) < 0.1


@pytest.mark.parametrize(("around", "across"), [(48, 16), (128, 48)])
def test_a_torus_is_as_thick_as_its_wire(around, across):
    assert walls(torus(10, 2, around, across)).median_mm == pytest.approx(2, rel=0.03)
    assert walls(torus(10, 2, around, across)).thinnest_mm == pytest.approx(2, rel=0.05)


def test_a_bowl_is_as_thick_as_its_shell():
    assert walls(bowl(9, 10)).median_mm == pytest.approx(1, rel=0.01)


def test_overlapping_bodies_are_one_piece():
    """A bar of 10 x 2 x 3 mm and one of 2 x 10 x 2 mm through its middle, what is buried left out.

    2 mm thick are 2 (30 - 4) mm2 of the one and 2 x 16 + 2 x 16 of the other; 3 mm are 40, 10 mm are 12 and 8.
    """
    cross = walls(together(box(10, 2, 3), box(2, 10, 2, at=(4, -4, 0.5))))
    assert cross.thinnest_mm == pytest.approx(2, rel=ROUNDING)
    assert cross.share_below(2.5) == pytest.approx(116 / 176, abs=SAMPLING)
    assert cross.share_below(9.9) == pytest.approx(156 / 176, abs=SAMPLING)


def test_a_thin_plate_within_a_thick_body_is_no_wall():
    assert walls(together(box(10, 10, 10), box(4, 4, 0.1, at=(3, 3, 5)))).thinnest_mm == pytest.approx(10)


def test_bodies_that_touch_are_one_piece():
    tower = walls(together(box(10, 10, 1), box(10, 10, 1, at=(0, 0, 1))))
    assert tower.thinnest_mm == pytest.approx(2)


def test_bodies_with_a_gap_are_two():
    tower = walls(together(box(10, 10, 1), box(10, 10, 1, at=(0, 0, 1.01))))
    assert tower.thinnest_mm == pytest.approx(1)


def test_a_body_twice_in_the_same_place_is_as_thick_as_once():
    assert walls(together(box(5, 4, 3), box(5, 4, 3))).thinnest_mm == pytest.approx(3)


def test_a_body_turned_inside_out_is_as_thick_all_the_same():
    assert walls(turned(box(5, 4, 3))).thinnest_mm == pytest.approx(3)
    beside = walls(together(box(5, 4, 3), turned(box(5, 4, 2, at=(20, 0, 0)))))
    assert beside.thinnest_mm == pytest.approx(2)


def test_a_box_without_a_lid_is_measured_where_a_ray_leaves_it():
    vertices, faces = box(10, 8, 6)
    open_box = walls((vertices, faces[4:]))  # without floor and lid
    assert open_box.thinnest_mm == pytest.approx(8)


@pytest.mark.parametrize("sharp", [cone(5, 8), cone(5, 5), cone(5, 6, sides=64), cone(5, 4, sides=3)])
def test_the_edges_of_pyramids_and_cones_are_no_thin_walls(sharp):
    """Flanks rise by 50 to 66 degrees: whatever is near the rim is an edge, and the tip is blunter than 45 degrees."""
    measured = walls(finer(sharp, 2))
    assert measured.rays == 0
    assert measured.thinnest_mm > 0.8
    assert measured.share_below(0.8) == 0


def test_the_brink_of_a_flat_cone_is_no_thin_place():
    """Its flank rises by 22 degrees: rays meet walls that thin out to nothing, and no place is the thinnest."""
    measured = walls(finer(cone(5, 2, sides=64), 2))
    assert measured.rays > 10_000
    assert measured.thinnest_mm > 0.4


def test_the_brink_of_a_wedge_does_not_hide_a_thin_wall():
    wedge = prism([[0, 0], [20, 0], [0, 10]], 10)
    fin = box(3, 0.5, 4, at=(2, 4, 8))
    assert walls(together(wedge, fin)).thinnest_mm == pytest.approx(0.5, rel=ROUNDING)


def test_a_tetrahedron_has_no_wall_and_is_told_as_bulk():
    regular = solid([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], [[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    measured = walls(moved(regular, scale=5))
    assert measured.rays == 0
    assert len(measured.places) == 1
    assert measured.thinnest_mm == pytest.approx(measured.median_mm)
    assert 1 < measured.median_mm < 5 * 8**0.5 * (2 / 3) ** 0.5  # its height


def test_a_fin_on_a_pyramid_does_not_make_the_pyramid_thin():
    """Area without an opposite wall counts as bulk: else the fin would be all there is."""
    pyramid = together(cone(10, 10), box(4, 0.4, 4, at=(-2, -0.2, 8)))
    measured = walls(pyramid)
    assert measured.thinnest_mm == pytest.approx(0.4, rel=ROUNDING)
    assert measured.share_below(1) < 0.15
    assert measured.median_mm > 2


@pytest.mark.parametrize(
    "flat",
    [
        solid([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]),
        solid([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 1]]),
        solid([[1, 1, 1]] * 3, [[0, 1, 2]]),
        solid([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1, 2]]),
        solid([[0, 0, 0]], np.empty((0, 3))),
    ],
)
def test_what_has_no_inside_has_no_walls(flat):
    assert measure_walls(*flat) is None


def test_places_are_apart_thinnest_first_and_few():
    measured = walls(plate_with_rib())
    at = np.array([place.at for place in measured.places])
    apart = np.linalg.norm(at[:, None] - at, axis=2)[np.triu_indices(len(at), 1)]
    assert 2 <= len(at) <= PLACES
    assert (apart >= APART * 40 * 0.999).all()
    assert [place.thickness_mm for place in measured.places] == sorted(p.thickness_mm for p in measured.places)


def test_the_distribution_rises_and_ends_at_one():
    thickness, share = np.array(walls(plate_with_rib()).distribution).T
    assert (np.diff(thickness) > 0).all()
    assert (np.diff(share) >= 0).all()
    assert share[-1] == 1


def test_shares_of_a_box_are_those_of_its_sides():
    """12 x 5 x 2 mm: 120 of 188 mm2 have the 2 mm below them, 48 the 5 mm, 20 the 12 mm."""
    measured = walls(box(12, 5, 2))
    below = [measured.share_below(limit) for limit in (2, 3, 5, 6, 12, 13)]
    assert below == pytest.approx([0, 120 / 188, 120 / 188, 168 / 188, 168 / 188, 1], abs=0.001)


def test_the_order_of_faces_and_corners_changes_nothing():
    vertices, faces = finer(plate_with_rib(), 3)
    shuffle = np.random.default_rng(7)
    renamed, order = shuffle.permutation(len(vertices)), shuffle.permutation(len(faces))
    other = np.empty_like(vertices)
    other[renamed] = vertices
    rolled = np.array([np.roll(face, shift) for face, shift in zip(faces, order % 3, strict=True)])
    alike(walls((other, renamed[rolled][order].astype(np.int32))), walls((vertices, faces)))


@pytest.mark.parametrize("body", [plate_with_rib(), finer(torus(10, 2), 3), tube(8, 10, 30)])
def test_the_number_of_threads_changes_nothing(body):
    assert measure_walls(*body, threads=1) == measure_walls(*body, threads=3)


@pytest.mark.parametrize("by", [(1e5, -3e4, 7.0), (0.1, 0.2, 0.3)])
def test_where_a_model_stands_changes_nothing_but_the_places(by):
    body = finer(plate_with_rib(), 2)
    there, here = walls(moved(body, by)), walls(body)
    alike(here, there, places=False)
    for one, other in zip(here.places, there.places, strict=True):
        assert np.subtract(other.at, by) == pytest.approx(one.at, abs=1e-3)


def test_float32_changes_next_to_nothing():
    vertices, faces = moved(finer(torus(10, 2, 96, 48), 1), rotation=rotation((1, 2, 3, 4)))
    alike(walls((vertices, faces)), walls((vertices.astype(np.float32).astype(float), faces)), SAMPLING, places=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: sum(part * part for part in q) > 0.1))
def test_turning_a_model_changes_what_sampling_leaves_open(quaternion):
    """A few rays fall to the other side of a border; a share of 0.3 % of the area is the standard error."""
    body = finer(plate_with_rib(), 2)
    alike(walls(body), walls(moved(body, rotation=rotation(quaternion))), SAMPLING, places=False)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.floats(1e-6, 1e6))
def test_thickness_grows_with_the_model(scale):
    body = plate_with_rib()
    small, large = walls(body), walls(moved(body, scale=scale))
    assert large.thinnest_mm == pytest.approx(small.thinnest_mm * scale, rel=1.1e-3)
    assert large.median_mm == pytest.approx(small.median_mm * scale, rel=1.1e-3)
    assert large.share_below(0.6 * scale) == pytest.approx(small.share_below(0.6), abs=0.002)


def by_brute_force(vertices, faces, start, outward):
    """Thickness at a point by all triangles' planes in numpy (Moeller and Trumbore), and whether it is a wall."""
    a, b, c = (vertices[corner] for corner in faces.T)
    direction, e1, e2 = -outward, b - a, c - a
    across = np.cross(direction, e2)
    determinant = np.einsum("ij,ij->i", e1, across)
    with np.errstate(all="ignore"):
        away = start - a
        u = np.einsum("ij,ij->i", away, across) / determinant
        q = np.cross(away, e1)
        v = q @ direction / determinant
        distance = np.einsum("ij,ij->i", e2, q) / determinant
        met = (u > 0) & (v > 0) & (u + v < 1) & (np.abs(distance) > 1e-7)
    normals = np.cross(e1, e2)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turns = np.where(normals @ direction > 0, -1, 1)  # how the number of bodies changes
    if turns[met & (distance < 0)].sum() > 0:
        return 0.0, False
    ahead = np.flatnonzero(met & (distance > 0))
    ahead = ahead[np.argsort(distance[ahead])]
    ends = np.flatnonzero(1 + np.cumsum(turns[ahead]) == 0)
    if not len(ends):
        return 0.0, False
    last = ahead[ends[0]]
    return float(distance[last]), bool(normals[last] @ outward <= OPPOSITE)


SOLIDS = [box(1, 1, 1), box(2, 0.3, 1), sphere(0.8, 1), cone(1, 2, 7), torus(1, 0.4, 9, 5)]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, len(SOLIDS) - 1), min_size=1, max_size=4), st.integers(0, 2**32))
def test_rays_find_what_brute_force_finds(kinds, seed):
    """Bodies through each other, moved and turned at random so that no faces coincide; a ray may graze an edge."""
    chance = np.random.default_rng(seed)
    bodies = [moved(SOLIDS[kind], chance.uniform(-1, 1, 3), rotation(chance.normal(size=4))) for kind in kinds]
    vertices, faces = together(*bodies)
    placed = _place(vertices, faces, 1)
    _sample(placed, faces, keys := np.empty(len(faces), np.uint64), 200, 1)
    tree = build(placed.points, faces, keys)
    corners = placed.points[faces[chance.integers(0, len(faces), 200)]]
    at = np.einsum("ij,ijk->ik", chance.dirichlet((1, 1, 1), 200), corners)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    thickness, cosine = np.zeros(200), np.ones(200)
    rays.shoot((*tree,), at, normals, thickness, cosine, 0, 200)
    told = [by_brute_force(placed.points, faces, *ray) for ray in zip(at, normals, strict=True)]
    same = np.isclose(thickness, [expected for expected, _ in told], rtol=1e-5, atol=1e-6)
    same &= (cosine <= OPPOSITE) == np.array([wall for _, wall in told])
    assert (~same).sum() <= 1


def test_rays_that_meet_edges_and_corners_exactly_are_not_lost():
    """A grid of facets on both sides of a plate, mirrored: each ray from a facet's centre meets no edge by chance."""
    plate = finer(box(8, 8, 1), 3)
    at = np.array([[x, y, 1.0] for x in np.arange(0.5, 8, 0.5) for y in np.arange(0.5, 8, 0.5)])
    placed = _place(*plate, 1)
    starts = (at - placed.centre) / placed.half_mm
    _sample(placed, plate[1], keys := np.empty(len(plate[1]), np.uint64), 200, 1)
    tree, thickness, cosine = build(placed.points, plate[1], keys), np.zeros(len(at)), np.ones(len(at))
    rays.shoot((*tree,), starts, np.tile((0.0, 0.0, 1.0), (len(at), 1)), thickness, cosine, 0, len(at))
    assert thickness * placed.half_mm == pytest.approx(np.ones(len(at)))


def test_a_speck_far_away_neither_blinds_nor_slows():
    body = finer(torus(10, 2, 96, 48), 2)
    clock = time.process_time()
    alone = walls(body)
    alone_s = time.process_time() - clock
    clock = time.process_time()
    with_speck = walls(together(body, box(0.1, 0.1, 0.1, at=(1e6, 1e6, 1e6))))
    assert time.process_time() - clock < 5 * alone_s + 0.5
    assert with_speck.median_mm == pytest.approx(alone.median_mm, rel=2e-3)


def test_huge_triangles_among_very_many_tiny_ones_stay_quick():
    body = together(moved(finer(sphere(1, 4), 3), by=(50, 50, 52)), box(100, 100, 50))
    clock = time.process_time()
    assert walls(body).median_mm == pytest.approx(50)
    assert time.process_time() - clock < 3


def test_needles_across_the_whole_box_stay_quick():
    """20,000 triangles that all cross the middle: no tree helps, so fewer rays are shot."""
    shuffle = np.random.default_rng(3)
    ends = shuffle.normal(size=(20_000, 3))
    corners = np.stack((ends, -ends, ends + shuffle.normal(size=ends.shape) * 0.01), axis=1)
    clock = time.process_time()
    measure_walls(*solid(corners, np.arange(60_000)))
    assert time.process_time() - clock < 20


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "median_mm", "thinnest_mm"),
    [
        ("mit_ringshowcase_ring.stl", (1.5, 3.5), (0.05, 1)),
        ("gpl3_guacanati_pendant.stl", (4.9, 5.1), (0.001, 1)),
        ("gpl3_guacanati_pendant3.stl", (4.9, 5.1), (0.3, 1)),
        ("mit_franout_bracelet.stl", (1, 2), (0, 0.5)),
    ],
)
def test_real_pieces_are_as_thick_as_they_look(data_root, name, median_mm, thinnest_mm):
    mesh = trimesh.load(data_root / "meshes/jewelry" / name, force="mesh")
    measured = walls((np.ascontiguousarray(mesh.vertices, float), np.ascontiguousarray(mesh.faces, np.int32)))
    assert median_mm[0] < measured.median_mm < median_mm[1]
    assert thinnest_mm[0] < measured.thinnest_mm < thinnest_mm[1]
    assert measured.rays > 10_000

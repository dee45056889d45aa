"""A picture shows the model as it is, and its marks are where the model's places are."""

import io

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mes.models.mesh import Mesh, build
from mes.models.picture import render
from mes.models.picture_marks import MARK_COLOUR, hidden, mark
from mes.models.picture_view import UnknownView, View

CUBE = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
CUBE_FACES = np.array(
    [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4),
     (1, 5, 7), (1, 7, 3)]
)  # fmt: skip
NEAREST, FARTHEST = (1.0, 0.0, 1.0), (0.0, 1.0, 0.0)
"""Corners of the cube: seen from above, from its front and a little from the right."""


def sphere(rings: int, turn: float = 0.0) -> Mesh:
    """A ball of radius 1 with about 4 rings² triangles."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings + 1), np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False))
    points = np.stack((np.sin(polar) * np.cos(around + turn), np.sin(polar) * np.sin(around + turn), np.cos(polar)), 2)
    rows = np.arange(2 * rings)[:, None] * (rings + 1) + np.arange(rings)[None]
    after = (rows + rings + 1) % (2 * rings * (rings + 1))
    faces = np.concatenate([np.stack((rows, rows + 1, after), 2), np.stack((after, rows + 1, after + 1), 2)])
    return build(points.reshape(-1, 3), faces.reshape(-1, 3), "stl")


def cube(scale: float = 1.0, offset: float = 0.0) -> Mesh:
    return build(CUBE * scale + offset, CUBE_FACES, "stl")


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def view(png: bytes) -> View:
    return View.of_text(Image.open(io.BytesIO(png)).info)


def test_a_picture_shows_the_model_on_a_transparent_ground():
    drawn = pixels(render(cube(1e-3, 1e6), 128))
    assert drawn.shape == (128, 128, 4)
    assert (drawn[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()
    solid = drawn[drawn[:, :, 3] == 255]
    assert 4000 < len(solid) < 12000
    red, green, blue = solid[:, :3].mean(axis=0)
    assert red > green > blue


def test_a_ball_is_a_disc_of_its_size():
    covered = pixels(render(sphere(100)))[:, :, 3].sum() / 255
    assert covered == pytest.approx(np.pi * (640 * 0.88 / 2) ** 2, rel=2e-3)


def test_a_ball_is_smooth_however_finely_it_is_cut():
    coarse, fine = (pixels(render(sphere(rings))) for rings in (60, 300))  # 300: above the limit of smoothing
    assert len(sphere(300).faces) > 300_000
    solid = (coarse[:, :, 3] == 255) & (fine[:, :, 3] == 255)
    assert np.abs(coarse - fine)[solid].mean() < 1.5
    steps = np.abs(np.diff(coarse[320, 100:540, 0]))
    assert steps.max() < 12


def test_edges_of_a_cut_stay_sharp():
    drawn = pixels(render(cube()))
    tones = np.unique(drawn[drawn[:, :, 3] == 255][:, :3], axis=0, return_counts=True)[1]
    assert sorted(tones)[-3:] == pytest.approx([tones.sum() / 3] * 3, rel=0.6)
    assert sum(sorted(tones)[-3:]) > 0.98 * tones.sum()


def test_what_is_nearer_is_drawn_whatever_the_order_of_faces():
    ring = sphere(40)
    shuffled = Mesh(
        ring.vertices, np.ascontiguousarray(ring.faces[np.random.default_rng(1).permutation(len(ring.faces))]),
        None, None, "stl",
    )  # fmt: skip
    assert (np.abs(pixels(render(ring)) - pixels(render(shuffled))) > 3).any(axis=2).sum() < 50


def test_distance_from_the_origin_changes_nothing():
    assert (np.abs(pixels(render(cube())) - pixels(render(cube(1.0, 1e6)))) > 2).any(axis=2).sum() < 50


def test_both_sides_of_a_surface_are_drawn():
    inside_out = build(CUBE, CUBE_FACES[:, ::-1], "stl")
    assert (np.abs(pixels(render(cube())) - pixels(render(inside_out))) > 2).any(axis=2).sum() < 50


def test_a_picture_of_a_sliver_seen_edge_on_is_empty_rather_than_an_error():
    points = np.array([(0, 0, 0), (0, 0, 1), (np.sin(0.1), 0, 0)], float)
    turned = points @ np.array([[-np.sin(np.radians(35)), np.cos(np.radians(35)), 0], [0, 0, 0], [0, 0, 1]])
    assert render(build(turned, np.array([(0, 1, 2)]), "obj"), 64).startswith(b"\x89PNG")


def test_a_picture_knows_where_places_are():
    png = render(cube(10.0, 500.0))
    seen = view(png)
    assert View.of_text(seen.text()) == seen
    near, far, middle = (seen.spot(tuple(500.0 + 10.0 * np.array(at))) for at in (NEAREST, FARTHEST, (0.5, 0.5, 0.5)))
    assert (middle.x, middle.y) == pytest.approx((320, 320))
    assert (near.hidden, far.hidden, middle.hidden) == (False, True, True)
    alpha = pixels(png)[:, :, 3]
    corners = [seen.spot(tuple(500.0 + 10.0 * corner)) for corner in CUBE]
    rows, columns = np.nonzero(alpha)
    assert min(spot.x for spot in corners) == pytest.approx(columns.min(), abs=1)
    assert max(spot.x for spot in corners) == pytest.approx(columns.max() + 1, abs=1)
    assert min(spot.y for spot in corners) == pytest.approx(rows.min(), abs=1)
    assert max(spot.y for spot in corners) == pytest.approx(rows.max() + 1, abs=1)


def test_marks_are_on_their_places_and_hollow_behind_the_piece():
    png = render(cube())
    marked = pixels(mark(png, [NEAREST, FARTHEST]))
    near, far = view(png).spot(NEAREST), view(png).spot(FARTHEST)
    assert hidden(png, [NEAREST, FARTHEST]) == [False, True]
    assert tuple(marked[round(near.y), round(near.x)]) == (*MARK_COLOUR, 255)
    assert tuple(marked[round(far.y), round(far.x)]) == (255, 255, 255, 255)
    changed = (marked != pixels(png)).any(axis=2).sum()
    assert 1_000 < changed < 4_000


def test_many_marks_do_not_cover_each_other():
    places = [(1.0, 0.01 * step, 1.0) for step in range(8)]
    png = render(cube())
    discs = (pixels(mark(png, places)) == (*MARK_COLOUR, 255)).all(axis=2).sum()
    alone = (pixels(mark(png, places[:1])) == (*MARK_COLOUR, 255)).all(axis=2).sum()
    assert discs > 6 * alone


def test_a_place_outside_the_picture_is_no_error():
    assert mark(render(cube()), [(1e6, -1e6, 3.0)]).startswith(b"\x89PNG")


@pytest.mark.parametrize("chunk", [None, "{}", "[]", "no json", '{"size": 640, "origin": [0]}'])
def test_a_picture_that_does_not_know_its_view_is_not_marked(chunk):
    text = PngImagePlugin.PngInfo()
    if chunk is not None:
        text.add_text("mes:view", chunk)
        text.add_text("mes:depth", "")
    out = io.BytesIO()
    Image.new("RGBA", (8, 8)).save(out, "PNG", pnginfo=text)
    with pytest.raises(UnknownView):
        mark(out.getvalue(), [(0.0, 0.0, 0.0)])

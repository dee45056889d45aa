"""Proves that levers name true savings: volumes against solids whose walls are known, prices against real quotes."""

from dataclasses import replace
from decimal import Decimal
from math import pi

import pytest

from mes.pricing.costs.cost_model import CannotPrice
from mes.pricing.costs.levers import Lever, hollowed_by, price_with_levers, thinner_by
from mes.pricing.costs.single_prices import price_one
from mes.pricing.geometry import Geometry, ThinPlace, Walls, scaled
from tests.prices import CARD, measured, options

MIN_WALL_MM = 0.6  # of gold


def walls(*found: tuple[float, float]) -> Walls:
    """Walls of these thicknesses (mm) and shares of the area, each told as a step."""
    steps, known = [], 0.0
    for thickness, share in sorted(found):
        steps += [(thickness, known), (thickness * (1 + 1e-9), known + share)]
        known += share
    return Walls(tuple(steps), (ThinPlace(found[0][0], (0.0, 0.0, 0.0)),), 20_000)


def levers_of(geometry: Geometry, **wishes: object) -> dict[str, Lever]:
    return {lever.code: lever for lever in price_with_levers(geometry, options(**wishes), CARD)[1]}


def solid(volume_mm3: float, area_mm2: float) -> Geometry:
    return measured(volume_mm3, area_mm2)


def thinner(body: Geometry, found: Walls, step_mm: float) -> float:
    return thinner_by(body, found, step_mm, MIN_WALL_MM)


def test_a_thinner_plate_loses_a_slice() -> None:
    # 30 x 20 x 2 mm: 1200 mm2 of faces, 200 mm2 of rims, which are no walls; 0.5 mm less of 600 mm2
    assert thinner(solid(1200, 1400), walls((2.0, 12 / 14), (20.0, 2 / 14)), 0.5) == pytest.approx(300)


def test_a_thinner_tube_loses_a_tube() -> None:
    # 10 mm outside, 8 mm inside, 15 mm long, walls of 1 mm; thinner by 0.2 mm around the same middle: 9.8 and 8.2 mm
    volume, area = pi / 4 * (10**2 - 8**2) * 15, pi * (10 + 8) * 15
    gone = volume - pi / 4 * (9.8**2 - 8.2**2) * 15
    assert thinner(solid(volume, area), walls((1.0, 1.0)), 0.2) == pytest.approx(gone)


def test_a_thinner_hollow_sphere_loses_a_shell() -> None:
    # 20 mm outside, walls of 1 mm; thinner by 0.2 mm around the same middle: 19.8 and 18.2 mm
    volume, area = pi / 6 * (20**3 - 18**3), pi * (20**2 + 18**2)
    gone = volume - pi / 6 * (19.8**3 - 18.2**3)
    assert thinner(solid(volume, area), walls((1.0, 1.0)), 0.2) == pytest.approx(gone, rel=1e-3)


def test_a_thinner_wire_loses_its_skin() -> None:
    # 2.5 mm thick, 100 mm long, thinner by 0.5 mm
    volume, area = pi / 4 * 2.5**2 * 100, pi * 2.5 * 100
    assert thinner(solid(volume, area), walls((2.5, 1.0)), 0.5) == pytest.approx(volume - pi / 4 * 2**2 * 100)


def test_walls_that_would_become_too_thin_stay() -> None:
    # half of the area has walls of 1 mm, half of 0.7 mm, which gold cannot give 0.2 mm of
    assert thinner(solid(425, 1000), walls((0.7, 0.5), (1.0, 0.5)), 0.2) == pytest.approx(1000 * 0.5 * 0.2 / 2)


@pytest.mark.parametrize(
    ("thick_mm", "area_mm2", "volume_mm3", "hollow_mm3"),
    [
        (20.0, pi * 20**2, pi / 6 * 20**3, pi / 6 * 18**3),  # a ball of 20 mm; its core is one of 18 mm
        (10.0, 6 * 10**2, 10**3, 8**3),  # a cube
        (6.0, pi * 6 * 1000, pi / 4 * 6**2 * 1000, pi / 4 * 4**2 * 1000),  # a long rod
        (5.0, 2 * 1000**2, 1000**2 * 5, 1000**2 * 3),  # a wide plate
    ],
)
def test_what_is_thick_is_hollowed_to_its_shell(
    thick_mm: float, area_mm2: float, volume_mm3: float, hollow_mm3: float
) -> None:
    assert hollowed_by(solid(volume_mm3, area_mm2), walls((thick_mm, 1.0)), 1.0) == pytest.approx(hollow_mm3)


def test_a_thin_plate_beside_a_ball_is_not_hollowed() -> None:
    ball, plate = pi / 6 * 10**3, 600.0 * 2  # the ball's core is 8 mm thick
    area = pi * 10**2 + 1200
    found = walls((2.0, 1200 / area), (10.0, pi * 10**2 / area))
    assert hollowed_by(solid(ball + plate, area), found, 1.0) == pytest.approx(pi / 6 * 8**3)


def test_thin_walls_are_not_hollowed() -> None:
    assert hollowed_by(solid(1000, 1200), walls((3.9, 1.0)), 1.0) == 0.0


PLATE = measured(1200.0, 1400.0, 30.0, 20.0, 2.0, walls=walls((2.0, 12 / 14), (20.0, 2 / 14)))


def test_a_lever_costs_what_the_changed_piece_costs() -> None:
    price, found = price_with_levers(PLATE, options(), CARD)
    thinner = next(lever for lever in found if lever.code == "thinner_walls")

    cheaper = price_one(replace(PLATE, volume_mm3=900.0), options(), CARD)  # 0.5 mm, a quarter of the wall

    assert price == price_one(PLATE, options(), CARD)
    assert thinner.price_change == cheaper.total - price.total
    assert thinner.mass_change_g == pytest.approx(-0.3 * 15.45)
    assert thinner.label == f"0.5 mm thinner walls: -4.6 g, {thinner.price_change:,.2f} USD"


def test_the_best_lever_comes_first_and_each_saves_at_least_a_hundredth() -> None:
    price, found = price_with_levers(PLATE, options(rush=True, finish="plated"), CARD)
    saved = [
        -lever.price_change / (price.unit_price if lever.code == "quantity_break" else price.total) for lever in found
    ]

    assert len(found) == len({lever.code for lever in found}) <= 5
    assert saved == sorted(saved, reverse=True)
    assert min(saved) >= Decimal("0.01")


def test_each_wish_that_costs_more_is_named() -> None:
    small = measured(50.0, 300.0, 8.0, 8.0, 8.0)  # little metal: the work decides

    found = levers_of(small, material="silver925", finish="plated", quantity=3, rush=True)

    assert found.keys() == {"simpler_finish", "quantity_break", "no_rush"}
    assert found["simpler_finish"].label.startswith("polished in place of plated: -")
    calm = price_one(small, options(material="silver925", finish="plated", quantity=3), CARD)
    hasty = price_one(small, options(material="silver925", finish="plated", quantity=3, rush=True), CARD)
    five = price_one(small, options(material="silver925", finish="plated", quantity=5, rush=True), CARD)
    assert found["no_rush"].price_change == calm.total - hasty.total
    assert found["quantity_break"].price_change == five.unit_price - hasty.unit_price
    assert found["quantity_break"].label.endswith("USD per piece")


def test_a_smaller_size_is_told_only_where_its_walls_can_be_cast() -> None:
    thin = replace(PLATE, walls=walls((0.62, 12 / 14), (20.0, 2 / 14)))

    assert "smaller" in levers_of(PLATE)
    assert "smaller" not in levers_of(thin)  # 0.62 x 0.95 = 0.589 mm, gold needs 0.6
    assert "thinner_walls" not in levers_of(thin)


def test_levers_hold_for_the_size_that_is_asked() -> None:
    asked, drawn = levers_of(PLATE, longest_side_mm=60.0), levers_of(scaled(PLATE, 60.0))

    assert asked == drawn
    assert asked["smaller"].label.startswith("5% smaller, 57.0 mm long: -")


@pytest.mark.parametrize("changes", [{"walls": None}, {"closed": False}])
def test_a_shape_that_is_not_known_gives_no_levers(changes: dict[str, object]) -> None:
    assert levers_of(replace(PLATE, **changes)).keys() <= {"simpler_finish", "quantity_break", "no_rush"}  # type: ignore[arg-type]


def test_a_piece_at_the_minimum_has_no_levers() -> None:
    tiny = measured(5.0, 20.0, 3.0, 2.0, 1.0, walls=walls((1.0, 1.0)))

    assert "thinner_walls" not in levers_of(tiny, material="silver925", tier="b2b")


def test_what_has_no_price_has_no_levers_either() -> None:
    with pytest.raises(CannotPrice):
        price_with_levers(replace(PLATE, volume_mm3=0.0), options(), CARD)

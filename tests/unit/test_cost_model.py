"""Proves the cost model against prices made by hand and against the laws that every price obeys."""

from dataclasses import dataclass, replace
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.pricing import cost_model, rounding
from mes.pricing.cost_model import (
    ITEM_SCHEMA,
    PROBLEMS,
    RESULT,
    BadItems,
    CannotPrice,
    Price,
    breakdown,
    price,
    price_one,
)
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Cut, Finish, ItemOptions, Setting, SuppliedBy, Tier, parse
from mes.pricing.rate_card import RateCard
from mes.pricing.rate_cards import load_sample
from mes.pricing.rate_frame import rate_frame

# Metal prices that make 100, 10 and 50 USD per gram of pure gold, silver and platinum.
CARD = RateCard.model_validate(
    {
        "name": "hand",
        "valid_from": date(2020, 1, 1),
        "metals": {"gold": "3110.34768", "silver": "311.034768", "platinum": "1555.17384"},
        "alloys": {"silver925": "0.5", "gold585": 1, "gold750": 2, "platinum950": 20},
        "casting": {
            "loss": "0.02",
            "sprue_ratio": "0.5",
            "sprue_loss": "0.1",
            "investment_per_litre": 2,
            "flask_diameter_mm": 100,
            "flask_height_mm": 130,
            "flask_fill": "0.5",
            "clearance_mm": 2,
            "per_flask": 60,
        },
        "wax": {
            "price_per_gram": "0.5",
            "density_g_cm3": "0.9",
            "printer_per_hour": 10,
            "layer_mm": "0.05",
            "seconds_per_layer": "1.8",
            "mm3_per_hour": 10_000,
        },
        "finishing": {
            "per_hour": 60,
            "minutes_per_piece": 5,
            "minutes_per_cm2": {"polished": 2, "satin": 1, "sandblasted": "0.5", "plated": "2.5"},
            "plating_per_cm2": "1.5",
        },
        "settings": [
            {"setting": "prong", "up_to_mm": 3, "each": 4},
            {"setting": "prong", "up_to_mm": 6, "each": 9},
            {"setting": "bezel", "up_to_mm": 3, "each": 8},
        ],
        "stones": [
            {"cut": "round", "up_to_mm": 3, "each": "0.25"},
            {"cut": "round", "up_to_mm": 6, "each": "1.25"},
        ],
        "engraving": {"setup": 10, "per_character": "0.75"},
        "handling": {"setup_model": 12, "setup_line": 4, "quality_control": "2.5", "packing": "3.5"},
        "terms": {
            "quantity_breaks": [{"min_quantity": 5, "factor": "0.9"}, {"min_quantity": 10, "factor": "0.8"}],
            "rush_factor": "1.5",
            "minimum_piece": 20,
            "minimum_line": 50,
            "margin": {"retail": "0.4", "b2b": "0.1", "vip": "0.25"},
            "quote_valid_days": 14,
        },
    }
)
RATES = rate_frame([CARD])


@dataclass(frozen=True)
class Measured:
    volume_mm3: float = 1000.0
    area_mm2: float = 1200.0
    extent_x_mm: float = 10.0
    extent_y_mm: float = 20.0
    extent_z_mm: float = 30.0

    @property
    def extents_mm(self) -> tuple[float, float, float]:
        return self.extent_x_mm, self.extent_y_mm, self.extent_z_mm


BLOCK = Measured()


def in_cents(amount: Decimal) -> Decimal:
    """Half up, as invoices do."""
    return amount.quantize(Decimal("0.01"), rounding=ROUND_HALF_UP)


def options(**wishes: Any) -> ItemOptions:
    return parse({"material": "gold750", "finish": "polished", "quantity": 1, **wishes})


def stone(**wishes: Any) -> dict[str, Any]:
    return {"cut": "round", "size_mm": 2.5, "count": 3, "setting": "prong", "supplied_by": "workshop", **wishes}


def amount(made: Price, *codes: str) -> Decimal:
    return sum((line.amount for line in made.lines if line.code in codes), Decimal(0))


def row_of(geometry: Measured, wishes: ItemOptions, card: RateCard = CARD) -> dict[str, Any]:
    return {
        **wishes.model_dump(mode="json", exclude={"engraving"}),
        **{name: getattr(geometry, name) for name in Measured.__dataclass_fields__},
        "rate_card": card.version,
        "engraving_characters": wishes.engraving_characters,
    }


# Every figure was worked out by hand: amount = quantity (6 decimals) x rate, half up to the cent.
# The flask of 100 x 130 mm holds pi/4 x 100^2 x 130 x 0.5 = 510,508.806 mm3 of pieces with their clearance.
BY_HAND = {
    "gold block, retail": (
        BLOCK,
        options(),
        {
            "metal": "1158.75",  # 1 cm3 x 15.45 = 15.45 g x 0.75 = 11.5875 g x 100
            "alloy": "7.73",  # 15.45 x 0.25 = 3.8625 g x 2 = 7.725, a tie that goes up
            "casting_loss": "34.99",  # 15.45 x 1.5 x 0.02 = 0.4635 g x (0.75 x 100 + 0.25 x 2 = 75.5) = 34.99425
            "sprue_loss": "58.32",  # 15.45 x 0.5 x 0.1 = 0.7725 g x 75.5 = 58.32375
            "wax_print": "2.00",  # 10 / 0.05 = 200 layers x 1.8 s = 360 s, 1000 / 10000 h = 360 s: 0.2 h x 10
            "wax": "0.68",  # 1 cm3 x 1.5 x 0.9 = 1.35 g x 0.5 = 0.675, a tie that goes up
            "investment": "0.05",  # 14 x 24 x 34 = 11424 mm3 / 0.5 = 0.022848 l x 2 = 0.045696
            "flask": "1.34",  # 11424 / 510508.806 = 0.022378 x 60 = 1.34268
            "finishing": "29.00",  # 12 cm2 x 2 + 5 = 29 min = 0.483333 h x 60 = 28.99998
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "2.50",
            "packing": "3.50",
            "margin": "525.94",  # material 1259.79 + work 55.07 = 1314.86 x 0.4 = 525.944
        },
        "1840.80",
        "1840.80",
    ),
    "small silver, b2b, lifted to the line's minimum": (
        Measured(100, 150, 5, 6, 8),
        options(material="silver925", finish="satin", tier="b2b"),
        {
            "metal": "9.58",  # 0.1 cm3 x 10.36 = 1.036 g x 0.925 = 0.9583 g x 10
            "alloy": "0.04",  # 1.036 x 0.075 = 0.0777 g x 0.5 = 0.03885
            "casting_loss": "0.29",  # 1.036 x 1.5 x 0.02 = 0.03108 g x (9.25 + 0.0375 = 9.2875) = 0.288656
            "sprue_loss": "0.48",  # 1.036 x 0.5 x 0.1 = 0.0518 g x 9.2875 = 0.481093
            "wax_print": "0.60",  # 100 layers x 1.8 s + 36 s = 216 s = 0.06 h x 10
            "wax": "0.07",  # 0.1 x 1.5 x 0.9 = 0.135 g x 0.5 = 0.0675
            "investment": "0.00",  # 9 x 10 x 12 = 1080 mm3 / 0.5 = 0.00216 l x 2 = 0.00432
            "flask": "0.13",  # 1080 / 510508.806 = 0.002116 x 60 = 0.12696
            "finishing": "6.50",  # 1.5 cm2 x 1 + 5 = 6.5 min = 0.108333 h x 60 = 6.49998
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "2.50",
            "packing": "3.50",
            "margin": "3.97",  # material 10.39 + work 29.30 = 39.69 x 0.1 = 3.969
            "minimum": "6.34",  # 50 - 39.69 - 3.97
        },
        "50.00",
        "50.00",
    ),
    "ten plated platinum pieces at half size, b2b, rush": (
        BLOCK,
        options(material="platinum950", finish="plated", quantity=10, tier="b2b", rush=True, longest_side_mm=15.0),
        {
            "metal": "1229.06",  # 1 cm3 / 8 x 20.7 x 10 = 25.875 g x 0.95 = 24.58125 g x 50 = 1229.0625
            "alloy": "25.88",  # 25.875 x 0.05 = 1.29375 g x 20 = 25.875, a tie that goes up
            "casting_loss": "37.65",  # 25.875 x 1.5 x 0.02 = 0.77625 g x (47.5 + 1 = 48.5) = 37.648125
            "sprue_loss": "62.75",  # 25.875 x 0.5 x 0.1 = 1.29375 g x 48.5 = 62.746875
            "wax_print": "6.25",  # 100 layers x 1.8 s + 45 s = 225 s x 10 = 0.625 h x 10
            "wax": "0.84",  # 0.125 x 10 x 1.5 x 0.9 = 1.6875 g x 0.5 = 0.84375
            "investment": "0.10",  # 9 x 14 x 19 = 2394 mm3 x 10 / 0.5 = 0.04788 l x 2 = 0.09576
            "flask": "2.81",  # 23940 / 510508.806 = 0.046894 x 60 = 2.81364
            "finishing": "125.00",  # 3 cm2 x 10 x 2.5 + 50 = 125 min = 2.083333 h x 60 = 124.99998
            "plating": "45.00",  # 30 cm2 x 1.5
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "25.00",
            "packing": "35.00",
            "quantity_break": "-51.20",  # work 256.00 x -0.2
            "rush": "102.40",  # 204.80 x 0.5
            "margin": "166.25",  # material 1355.34 + 256.00 - 51.20 + 102.40 = 1662.54 x 0.1 = 166.254
        },
        "1828.79",
        "182.88",
    ),
    "five engraved gold pieces, sandblasted, vip": (
        Measured(400, 800, 2, 20, 20),
        options(
            material="gold585",
            finish="sandblasted",
            quantity=5,
            tier="vip",
            engraving={"text": "AB C", "side": "inside"},
        ),
        {
            "metal": "1529.19",  # 0.4 x 13.07 x 5 = 26.14 g x 0.585 = 15.2919 g x 100
            "alloy": "10.85",  # 26.14 x 0.415 = 10.8481 g x 1
            "casting_loss": "46.20",  # 26.14 x 1.5 x 0.02 = 0.7842 g x (58.5 + 0.415 = 58.915) = 46.201143
            "sprue_loss": "77.00",  # 26.14 x 0.5 x 0.1 = 1.307 g x 58.915 = 77.001905
            "wax_print": "3.00",  # 40 layers x 1.8 s + 144 s = 216 s x 5 = 0.3 h x 10
            "wax": "1.35",  # 0.4 x 5 x 1.5 x 0.9 = 2.7 g x 0.5
            "investment": "0.07",  # 6 x 24 x 24 = 3456 mm3 x 5 / 0.5 = 0.03456 l x 2 = 0.06912
            "flask": "2.03",  # 17280 / 510508.806 = 0.033849 x 60 = 2.03094
            "finishing": "45.00",  # 8 cm2 x 5 x 0.5 + 25 = 45 min = 0.75 h x 60
            "engraving_setup": "10.00",
            "engraving": "11.25",  # 3 characters x 5 = 15 x 0.75
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "12.50",
            "packing": "17.50",
            "quantity_break": "-11.87",  # work 118.70 x -0.1
            "margin": "442.52",  # material 1663.24 + 118.70 - 11.87 = 1770.07 x 0.25 = 442.5175
        },
        "2212.59",
        "442.52",
    ),
    "two silver pieces with stones, retail": (
        BLOCK,
        options(
            material="silver925", quantity=2, stones=[stone(), stone(size_mm=4.0, count=1, supplied_by="customer")]
        ),
        {
            "metal": "191.66",  # 10.36 x 2 = 20.72 g x 0.925 = 19.166 g x 10
            "alloy": "0.78",  # 20.72 x 0.075 = 1.554 g x 0.5 = 0.777
            "casting_loss": "5.77",  # 20.72 x 1.5 x 0.02 = 0.6216 g x 9.2875 = 5.77311
            "sprue_loss": "9.62",  # 20.72 x 0.5 x 0.1 = 1.036 g x 9.2875 = 9.62185
            "wax_print": "4.00",  # 720 s x 2 = 0.4 h x 10
            "wax": "1.35",  # 2 x 1.5 x 0.9 = 2.7 g x 0.5
            "investment": "0.09",  # 11424 mm3 x 2 / 0.5 = 0.045696 l x 2 = 0.091392
            "flask": "2.69",  # 22848 / 510508.806 = 0.044755 x 60 = 2.6853
            "finishing": "58.00",  # 58 min = 0.966667 h x 60 = 58.00002
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "5.00",
            "packing": "7.00",
            "stone_setting": "42.00",  # 2 x 3 of at most 3 mm x 4 = 24, and 2 x 1 of at most 6 mm x 9 = 18
            "stones": "1.50",  # 2 x 3 x 0.25; the customer's own cost nothing
            "margin": "138.18",  # material 209.33 + work 136.13 = 345.46 x 0.4 = 138.184
        },
        "483.64",
        "241.82",
    ),
    "silver at double size, retail": (
        BLOCK,
        options(material="silver925", finish="satin", longest_side_mm=60.0),
        {
            "metal": "766.64",  # 8 cm3 x 10.36 = 82.88 g x 0.925 = 76.664 g x 10
            "alloy": "3.11",  # 82.88 x 0.075 = 6.216 g x 0.5 = 3.108
            "casting_loss": "23.09",  # 82.88 x 1.5 x 0.02 = 2.4864 g x 9.2875 = 23.09244
            "sprue_loss": "38.49",  # 82.88 x 0.5 x 0.1 = 4.144 g x 9.2875 = 38.4874
            "wax_print": "10.00",  # 400 layers x 1.8 s + 2880 s = 3600 s = 1 h x 10
            "wax": "5.40",  # 8 x 1.5 x 0.9 = 10.8 g x 0.5
            "investment": "0.27",  # 24 x 44 x 64 = 67584 mm3 / 0.5 = 0.135168 l x 2 = 0.270336
            "flask": "7.94",  # 67584 / 510508.806 = 0.132386 x 60 = 7.94316
            "finishing": "53.00",  # 48 cm2 x 1 + 5 = 53 min = 0.883333 h x 60 = 52.99998
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "2.50",
            "packing": "3.50",
            "margin": "371.98",  # material 831.33 + work 98.61 = 929.94 x 0.4 = 371.976
        },
        "1301.92",
        "1301.92",
    ),
    "four tiny silver pieces, lifted to the minimum per piece": (
        Measured(20, 40, 2, 3, 4),
        options(material="silver925", finish="sandblasted", quantity=4, tier="b2b"),
        {
            "metal": "7.67",  # 0.02 x 10.36 x 4 = 0.8288 g x 0.925 = 0.76664 g x 10
            "alloy": "0.03",  # 0.8288 x 0.075 = 0.06216 g x 0.5
            "casting_loss": "0.23",  # 0.8288 x 1.5 x 0.02 = 0.024864 g x 9.2875 = 0.230924
            "sprue_loss": "0.38",  # 0.8288 x 0.5 x 0.1 = 0.04144 g x 9.2875 = 0.384874
            "wax_print": "0.88",  # 40 layers x 1.8 s + 7.2 s = 79.2 s x 4 = 0.088 h x 10
            "wax": "0.05",  # 0.02 x 4 x 1.5 x 0.9 = 0.108 g x 0.5 = 0.054
            "investment": "0.01",  # 6 x 7 x 8 = 336 mm3 x 4 / 0.5 = 0.002688 l x 2 = 0.005376
            "flask": "0.16",  # 1344 / 510508.806 = 0.002633 x 60 = 0.15798
            "finishing": "20.80",  # 0.4 cm2 x 4 x 0.5 + 20 = 20.8 min = 0.346667 h x 60 = 20.80002
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "10.00",
            "packing": "14.00",
            "margin": "7.02",  # material 8.31 + work 61.90 = 70.21 x 0.1 = 7.021
            "minimum": "2.77",  # 4 x 20 - 70.21 - 7.02
        },
        "80.00",
        "20.00",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_price_equals_the_one_made_by_hand(case: str) -> None:
    geometry, wishes, lines, total, unit_price = BY_HAND[case]

    made = price_one(geometry, wishes, CARD)

    assert {line.code: amount(made, line.code) for line in made.lines} == {
        code: Decimal(value) for code, value in lines.items()
    }
    assert (made.total, made.unit_price, made.currency) == (Decimal(total), Decimal(unit_price), "USD")


def test_every_line_names_its_driver_quantity_unit_and_rate() -> None:
    first, *others = price_one(BLOCK, options(), CARD).lines

    assert (first.driver, first.quantity, first.unit, first.rate) == (
        "11.59 g pure gold", Decimal("11.5875"), "g", Decimal(100),
    )  # fmt: skip
    assert all(line.label and line.driver and line.unit for line in others)


# Geometry and options that a shop sends.
lengths = st.floats(0.5, 120)
shares = st.floats(0.01, 1)


@st.composite
def measured(draw: st.DrawFn) -> Measured:
    """A body that fits its bounding box."""
    x, y, z = draw(lengths), draw(lengths), draw(lengths)
    return Measured(x * y * z * draw(shares), 2 * (x * y + y * z + z * x) * draw(shares), x, y, z)


stones = st.builds(
    stone,
    cut=st.just("round"),
    size_mm=st.floats(0.5, 3),
    count=st.integers(1, 200),
    setting=st.sampled_from(["prong", "bezel"]),
    supplied_by=st.sampled_from([source.value for source in SuppliedBy]),
)
wished = st.builds(
    options,
    material=st.sampled_from(list(MATERIALS)),
    finish=st.sampled_from([finish.value for finish in Finish]),
    quantity=st.integers(1, 200),
    tier=st.sampled_from([tier.value for tier in Tier]),
    rush=st.booleans(),
    longest_side_mm=st.none() | st.floats(1, 200),
    stones=st.lists(stones, max_size=3),
    engraving=st.none() | st.just({"text": "for ever", "side": "inside"}),
)


@settings(max_examples=100, deadline=None)
@given(measured(), wished)
def test_lines_are_quantity_times_rate_and_sum_to_the_total(geometry: Measured, wishes: ItemOptions) -> None:
    made = price_one(geometry, wishes, CARD)

    assert sum(line.amount for line in made.lines) == made.total
    assert all(line.amount == in_cents(line.quantity * line.rate) for line in made.lines)
    assert made.unit_price == in_cents(made.total / wishes.quantity)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(measured(), wished), min_size=1, max_size=12))
def test_a_price_in_bulk_equals_the_single_one(items: list[tuple[Measured, ItemOptions]]) -> None:
    other = CARD.model_copy(
        update={"name": "other", "engraving": CARD.engraving.model_copy(update={"setup": Decimal(99)})}
    )
    cards = [CARD, other]
    rows = [row_of(*item, cards[index % 2]) for index, item in enumerate(items)]

    priced = price(pl.DataFrame(rows, schema=ITEM_SCHEMA), rate_frame(cards))

    for index, (item, row) in enumerate(zip(items, priced.iter_rows(named=True), strict=True)):
        assert Price(row["total"], row["unit_price"], row["currency"], breakdown(row)) == price_one(
            *item, cards[index % 2]
        )


def test_slices_of_a_large_table_are_priced_like_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row_of(geometry, wishes) for geometry, wishes, *_ in BY_HAND.values()] * 300
    table = pl.DataFrame(rows, schema=ITEM_SCHEMA)
    monkeypatch.setattr(cost_model, "_ROWS_AT_ONCE", 1_001)  # slices that are planned, and one that is not

    totals = price(table.lazy(), RATES, detail=False)["total"].to_list()

    assert totals == [Decimal(total) for *_, total, _ in BY_HAND.values()] * 300


METAL = ("metal", "alloy", "casting_loss", "sprue_loss")


@settings(max_examples=100, deadline=None)
@given(measured(), wished, st.floats(1, 10))
def test_more_volume_never_costs_less_metal(geometry: Measured, wishes: ItemOptions, factor: float) -> None:
    larger = replace(geometry, volume_mm3=geometry.volume_mm3 * factor)

    before, after = price_one(geometry, wishes, CARD), price_one(larger, wishes, CARD)

    assert all(amount(after, code) >= amount(before, code) for code in METAL)
    assert after.total >= before.total


@settings(max_examples=100, deadline=None)
@given(measured(), st.sampled_from(list(MATERIALS)), st.floats(5, 100).map(lambda side: round(side, 4)))
def test_doubling_the_size_takes_eight_times_the_metal(geometry: Measured, material: str, side: float) -> None:
    rows = [row_of(geometry, options(material=material, longest_side_mm=size)) for size in (side, 2 * side)]

    small, large = price(pl.DataFrame(rows, schema=ITEM_SCHEMA), RATES)["mass_g"]

    assert large == pytest.approx(8 * small, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(measured(), wished)
def test_no_price_lies_below_the_minimum(geometry: Measured, wishes: ItemOptions) -> None:
    assert price_one(geometry, wishes, CARD).total >= max(50, 20 * wishes.quantity)


def test_the_rush_factor_changes_work_and_not_metal() -> None:
    calm, rush = price_one(BLOCK, options(), CARD), price_one(BLOCK, options(rush=True), CARD)

    assert amount(rush, "rush") == Decimal("27.54")  # work 55.07 x 0.5 = 27.535
    assert amount(rush, *METAL) == amount(calm, *METAL)


@pytest.mark.parametrize(("tier", "margin"), [("retail", "525.94"), ("vip", "328.72"), ("b2b", "131.49")])
def test_each_tier_has_its_margin(tier: str, margin: str) -> None:
    assert amount(price_one(BLOCK, options(tier=tier), CARD), "margin") == Decimal(margin)  # of 1314.86


@pytest.mark.parametrize(
    ("quantity", "rate"), [(1, None), (4, None), (5, "-0.1"), (9, "-0.1"), (10, "-0.2"), (500, "-0.2")]
)
def test_a_quantity_break_starts_with_its_first_piece(quantity: int, rate: str | None) -> None:
    breaks = [
        line.rate for line in price_one(BLOCK, options(quantity=quantity), CARD).lines if line.code == "quantity_break"
    ]

    assert breaks == ([Decimal(rate)] if rate else [])


def test_a_card_without_quantity_breaks_prices_many_pieces() -> None:
    card = CARD.model_copy(update={"terms": CARD.terms.model_copy(update={"quantity_breaks": ()})})

    assert amount(price_one(BLOCK, options(quantity=10), card), "quantity_break") == 0


def test_set_ups_are_paid_once_for_all_pieces_of_an_item() -> None:
    made = price_one(BLOCK, options(quantity=7), CARD)

    assert amount(made, "setup_model", "setup_line") == Decimal("16.00")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rate_card": "unknown"}, "no_rate_card"),
        ({"material": "tin"}, "no_rate_card"),
        ({"quantity": 0}, "bad_quantity"),
        ({"quantity": None}, "bad_quantity"),
        ({"finish": "rusty"}, "unknown_finish"),
        ({"tier": None}, "unknown_tier"),
        ({"volume_mm3": None}, "bad_geometry"),
        ({"volume_mm3": -1.0}, "bad_geometry"),
        ({"volume_mm3": 1e30}, "bad_geometry"),
        ({"area_mm2": float("nan")}, "bad_geometry"),
        ({"area_mm2": float("inf")}, "bad_geometry"),
        ({"extent_x_mm": 0.0}, "bad_geometry"),
        ({"extent_y_mm": None}, "bad_geometry"),
        ({"extent_z_mm": 1001.0}, "bad_geometry"),
        ({"longest_side_mm": -3.0}, "bad_geometry"),
        ({"longest_side_mm": 1e9}, "bad_geometry"),
        ({"stones": [stone(size_mm=7.0)]}, "no_stone_rate"),
        ({"stones": [stone(), stone(count=0)]}, "no_stone_rate"),
        ({"stones": [stone(setting="pave")]}, "no_stone_rate"),
    ],
)
def test_a_row_without_a_price_says_why_and_harms_no_other(changes: dict[str, Any], problem: str) -> None:
    good = row_of(BLOCK, options())

    priced = price(pl.DataFrame([good, {**good, **changes}, good], schema=ITEM_SCHEMA), RATES).select(RESULT)

    assert priced["problem"].to_list() == [None, problem, None]
    assert priced["total"].to_list() == [Decimal("1840.80"), None, Decimal("1840.80")]
    assert problem in PROBLEMS


def test_an_item_without_a_price_is_refused_with_a_cure() -> None:
    with pytest.raises(CannotPrice, match="check that it is closed") as refused:
        price_one(replace(BLOCK, volume_mm3=0.0), options(), CARD)

    assert (refused.value.code, refused.value.http_status) == ("cannot_price", 422)


def test_a_customers_own_stone_needs_no_price_of_ours() -> None:
    made = price_one(BLOCK, options(stones=[stone(cut="pear", supplied_by="customer")]), CARD)

    assert [line.code for line in made.lines if "stone" in line.code] == ["stone_setting"]


def test_columns_that_pricing_does_not_know_pass_through_in_order() -> None:
    rows = pl.DataFrame([row_of(BLOCK, options())] * 3, schema=ITEM_SCHEMA).with_columns(item_id=pl.Series([7, 3, 5]))

    assert price(rows, RATES, detail=False)["item_id"].to_list() == [7, 3, 5]


def test_an_empty_table_stays_empty() -> None:
    assert price(pl.DataFrame(schema=ITEM_SCHEMA), RATES).height == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadItems, match="lacks columns: volume_mm3"):
        price(pl.DataFrame(schema=ITEM_SCHEMA).drop("volume_mm3"), RATES)


def test_a_column_of_another_type_is_named() -> None:
    table = pl.DataFrame([row_of(BLOCK, options())], schema=ITEM_SCHEMA).with_columns(quantity=pl.lit("many"))
    with pytest.raises(BadItems, match="another type"):
        price(table, RATES)


six_decimals = st.integers(-(10**15), 10**15).map(lambda units: Decimal(units).scaleb(-6))


@given(st.lists(st.tuples(six_decimals, six_decimals), min_size=1, max_size=50))
def test_polars_rounds_products_like_python_half_up(pairs: list[tuple[Decimal, Decimal]]) -> None:
    table = pl.DataFrame(pairs, schema={"units": pl.Decimal(38, 6), "rate": pl.Decimal(18, 6)}, orient="row")

    rounded = table.select(rounding.amount(pl.col("units"), pl.col("rate")))["units"].to_list()

    assert rounded == [(units * rate).quantize(Decimal("0.01"), ROUND_HALF_UP) for units, rate in pairs]


@pytest.mark.parametrize(
    ("wishes", "words"),
    [
        (
            {"material": "gold999"},
            "material: unknown value 'gold999'; known are silver925, gold585, gold750, platinum950",
        ),
        ({"finish": "shiny"}, "finish: unknown value 'shiny'; known are polished, satin, sandblasted, plated"),
        ({"quantity": 0}, "quantity: input should be greater than or equal to 1, not 0"),
        ({"quantity": True}, "quantity: input should be a valid integer"),
        ({"longest_side_mm": float("nan")}, "longest_side_mm"),
        ({"longest_side_mm": 2000}, "longest_side_mm: input should be less than or equal to 1000, not 2000"),
        ({"colour": "red"}, "colour: is not known here, remove it or correct its name"),
        ({"stones": [{"cut": "round"}]}, "stones.0.size_mm: is missing, give it"),
        ({"stones": [stone(cut="star")]}, "stones.0.cut: unknown value 'star'; known are round, oval, "),
        ({"engraving": {"text": "a\nb", "side": "inside"}}, "engraving.text: must hold at least one visible"),
        ({"engraving": {"text": "a", "side": "under"}}, "engraving.side: unknown value 'under'; known are inside"),
    ],
)
def test_wrong_options_are_refused_in_words(wishes: dict[str, Any], words: str) -> None:
    with pytest.raises(Exception, match="cannot be used") as refused:
        options(**wishes)

    assert words in str(refused.value)


def test_the_names_of_stones_and_settings_are_those_of_the_shipped_card() -> None:
    card = load_sample()[-1]

    assert {row.cut for row in card.stones} == set(Cut)
    assert {row.setting for row in card.settings} == set(Setting)


def test_the_price_worked_out_in_the_documentation_is_true() -> None:
    card = next(card for card in load_sample() if card.valid_from.year == 2024)
    page = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")

    made = price_one(Measured(420, 610, 21, 21, 6), options(material="gold585"), card)

    assert f"**{made.total}**" in page
    assert all(f"| {line.amount} |" in page for line in made.lines)

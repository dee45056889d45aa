"""Proves the cost model against prices that were worked out on paper, whatever the code does."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from mes.pricing.costs.cost_model import ITEM_SCHEMA, item_of, price
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.costs.single_prices import price_one
from mes.pricing.rates.rate_cards import load_sample
from tests.prices import BLOCK, CARD, DETAILED_CARD, amount, measured, options, printed, stone

# The same block lying askew: its oriented box, the height at which its wax is printed, support and detail are known.
ORIENTED = measured(box_mm=(26.0, 16.0, 6.0), printing=printed(8.0, 500.0), detail=3.0)

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
        measured(100, 150, 5, 6, 8),
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
        measured(400, 800, 2, 20, 20),
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
        measured(20, 40, 2, 3, 4),
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
    "gold ring with stones and an engraving, vip": (
        BLOCK,
        options(
            material="gold585",
            finish="satin",
            tier="vip",
            stones=[stone(), stone(size_mm=3.0, count=1, setting="bezel")],
            engraving={"text": "A B", "side": "inside"},
        ),
        {
            "metal": "764.60",  # 13.07 g x 0.585 = 7.64595 g x 100 = 764.595, a tie that goes up
            "alloy": "5.42",  # 13.07 x 0.415 = 5.42405 g x 1
            "casting_loss": "23.10",  # 13.07 x 1.5 x 0.02 = 0.3921 g x 58.915 = 23.100572
            "sprue_loss": "38.50",  # 13.07 x 0.5 x 0.1 = 0.6535 g x 58.915 = 38.500953
            "wax_print": "2.00",  # as the gold block
            "wax": "0.68",
            "investment": "0.05",
            "flask": "1.34",
            "finishing": "17.00",  # 12 cm2 x 1 + 5 = 17 min = 0.283333 h x 60 = 16.99998
            "engraving_setup": "10.00",
            "engraving": "1.50",  # 2 characters x 0.75
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "2.50",
            "packing": "3.50",
            "stone_setting": "20.00",  # 3 in prongs of at most 3 mm x 4 = 12, and 1 in a bezel of at most 3 mm x 8
            "stones": "1.00",  # 3 x 0.25 and 1 x 0.25
            "margin": "226.80",  # material 832.62 with the stones + work 74.57 = 907.19 x 0.25 = 226.7975
        },
        "1133.99",
        "1133.99",
    ),
    "two gold pieces with support and detail": (
        ORIENTED,
        options(quantity=2),
        {
            "metal": "2317.50",  # 15.45 x 2 = 30.9 g x 0.75 = 23.175 g x 100
            "alloy": "15.45",  # 30.9 x 0.25 = 7.725 g x 2
            "casting_loss": "69.99",  # 30.9 x 1.5 x 0.02 = 0.927 g x 75.5 = 69.9885
            "sprue_loss": "116.65",  # 30.9 x 0.5 x 0.1 = 1.545 g x 75.5 = 116.6475
            "wax_print": "3.60",  # 8 / 0.05 = 160 layers x 1.8 s + 360 s = 648 s x 2 = 0.36 h x 10
            "wax": "1.35",  # 2 x 1.5 x 0.9 = 2.7 g x 0.5
            "support_wax": "0.18",  # 0.5 cm3 x 0.9 x 2 = 0.9 g x 0.2
            "investment": "0.05",  # 30 x 20 x 10 = 6000 mm3 x 2 / 0.5 = 0.024 l x 2 = 0.048
            "flask": "1.41",  # 12000 / 510508.806 = 0.023506 x 60 = 1.41036
            "finishing": "67.60",  # 24 cm2 x 2 x (1 + 0.1 x (3 - 1) = 1.2) + 10 = 67.6 min = 1.126667 h x 60
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "5.00",
            "packing": "7.00",
            "margin": "1048.71",  # material 2519.59 + work 102.19 = 2621.78 x 0.4 = 1048.712
        },
        "3670.49",
        "1835.25",  # 1835.245, a tie that goes up
    ),
    "half-size silver with support, and more detail than counts": (
        replace(ORIENTED, detail=9.0),
        options(material="silver925", finish="satin", longest_side_mm=15.0),
        {
            "metal": "11.98",  # 1 cm3 / 8 x 10.36 = 1.295 g x 0.925 = 1.197875 g x 10
            "alloy": "0.05",  # 1.295 x 0.075 = 0.097125 g x 0.5 = 0.048563
            "casting_loss": "0.36",  # 1.295 x 1.5 x 0.02 = 0.03885 g x 9.2875 = 0.360819
            "sprue_loss": "0.60",  # 1.295 x 0.5 x 0.1 = 0.06475 g x 9.2875 = 0.601366
            "wax_print": "0.53",  # 4 / 0.05 = 80 layers x 1.8 s + 45 s = 189 s = 0.0525 h x 10 = 0.525, a tie
            "wax": "0.08",  # 0.125 x 1.5 x 0.9 = 0.16875 g x 0.5 = 0.084375
            "support_wax": "0.01",  # 0.5 cm3 / 8 x 0.9 = 0.05625 g x 0.2 = 0.01125
            "investment": "0.01",  # 17 x 12 x 7 = 1428 mm3 / 0.5 = 0.002856 l x 2 = 0.005712
            "flask": "0.17",  # 1428 / 510508.806 = 0.002797 x 60 = 0.16782
            "finishing": "9.20",  # 3 cm2 x 1 x (1 + 0.1 x (5 - 1) = 1.4) + 5 = 9.2 min = 0.153333 h x 60
            "setup_model": "12.00",
            "setup_line": "4.00",
            "quality_control": "2.50",
            "packing": "3.50",
            "margin": "18.00",  # material 12.99 + work 32.00 = 44.99 x 0.4 = 17.996
        },
        "62.99",
        "62.99",
    ),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_a_price_equals_the_one_made_by_hand(case: str) -> None:
    geometry, wishes, lines, total, unit_price = BY_HAND[case]

    made = price_one(geometry, wishes, DETAILED_CARD)

    assert {line.code: amount(made, line.code) for line in made.lines} == {
        code: Decimal(value) for code, value in lines.items()
    }
    assert (made.total, made.unit_price, made.currency) == (Decimal(total), Decimal(unit_price), "USD")


def test_all_of_them_at_once_cost_the_same() -> None:
    rows = [item_of(geometry, wishes, DETAILED_CARD) for geometry, wishes, *_ in BY_HAND.values()]

    totals = price(pl.DataFrame(rows, schema=ITEM_SCHEMA), rate_frame([DETAILED_CARD]), detail=False)["total"]

    assert totals.to_list() == [Decimal(total) for *_, total, _ in BY_HAND.values()]


def test_a_card_without_rates_for_support_and_detail_prices_by_size_alone() -> None:
    made = price_one(ORIENTED, options(), CARD)

    assert amount(made, "finishing") == Decimal("29.00")  # 12 cm2 x 2 + 5 = 29 min, as without detail
    assert not [line for line in made.lines if line.code == "support_wax"]
    assert amount(made, "wax_print") == Decimal("1.80")  # 160 layers x 1.8 s + 360 s = 648 s = 0.18 h x 10


def test_the_price_worked_out_in_the_documentation_is_true() -> None:
    card = next(card for card in load_sample() if card.valid_from.year == 2024)
    page = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")

    made = price_one(measured(420, 610, 21, 21, 6), options(material="gold585"), card)

    assert f"**{made.total}**" in page
    assert all(f"| {line.amount} |" in page for line in made.lines)

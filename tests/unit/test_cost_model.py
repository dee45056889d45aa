"""Proves the laws that every price obeys, whatever the figures."""

from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.pricing.costs import cost_model, rounding
from mes.pricing.costs.cost_model import (
    ITEM_SCHEMA,
    PROBLEMS,
    RESULT,
    BadItems,
    CannotPrice,
    as_price,
    item_of,
    price,
)
from mes.pricing.costs.rate_frame import rate_frame
from mes.pricing.costs.single_prices import price_few, price_one
from mes.pricing.geometry import Geometry, scaled
from mes.pricing.materials import MATERIALS
from mes.pricing.options import Cut, Finish, ItemOptions, Setting, SuppliedBy, Tier
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import load_sample
from tests.prices import BLOCK, CARD, DETAILED_CARD, amount, in_cents, measured, options, printed, stone

RATES = rate_frame([CARD])


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
def bodies(draw: st.DrawFn) -> Geometry:
    """A body that fits its bounding box, as either kernel measured it."""
    x, y, z = draw(lengths), draw(lengths), draw(lengths)
    volume, area = x * y * z * draw(shares), 2 * (x * y + y * z + z * x) * draw(shares)
    if draw(st.booleans()):
        return measured(volume, area, x, y, z)
    return measured(
        volume,
        area,
        x,
        y,
        z,
        box_mm=tuple(sorted((x, y, z), reverse=True)),
        printing=printed(draw(lengths), volume * draw(shares)),
        detail=draw(st.none() | st.floats(0.5, 300)),
    )


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
@given(bodies(), wished)
def test_lines_are_quantity_times_rate_and_sum_to_the_total(geometry: Geometry, wishes: ItemOptions) -> None:
    made = price_one(geometry, wishes, CARD)

    assert sum(line.amount for line in made.lines) == made.total
    assert all(line.amount == in_cents(line.quantity * line.rate) for line in made.lines)
    assert made.unit_price == in_cents(made.total / wishes.quantity)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(bodies(), wished), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_a_price_in_bulk_equals_the_single_one_in_any_order(
    items: list[tuple[Geometry, ItemOptions]], chance: Any
) -> None:
    cards = [CARD, DETAILED_CARD]
    asked = [(*item, cards[index % 2]) for index, item in enumerate(items)]
    chance.shuffle(asked)

    priced = price(pl.DataFrame([item_of(*one) for one in asked], schema=ITEM_SCHEMA), rate_frame(cards))

    assert [as_price(row) for row in priced.iter_rows(named=True)] == [price_one(*one) for one in asked]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(bodies(), wished), min_size=1, max_size=8))
def test_a_few_at_once_cost_what_each_costs(items: list[tuple[Geometry, ItemOptions]]) -> None:
    rows = price_few(items, DETAILED_CARD)

    assert [as_price(row) for row in rows] == [price_one(*item, DETAILED_CARD) for item in items]


def test_slices_of_a_large_table_are_priced_like_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    wishes = [
        options(quantity=quantity, rush=quantity > 7, stones=[stone()] * (quantity % 3)) for quantity in range(1, 12)
    ]
    table = pl.DataFrame([item_of(BLOCK, wish, CARD) for wish in wishes] * 300, schema=ITEM_SCHEMA)
    monkeypatch.setattr(cost_model, "_ROWS_AT_ONCE", 1_001)  # slices that are planned, and one that is not

    totals = price(table.lazy(), RATES, detail=False)["total"].to_list()

    assert totals == [price_one(BLOCK, wish, CARD).total for wish in wishes] * 300


METAL = ("metal", "alloy", "casting_loss", "sprue_loss")


@settings(max_examples=100, deadline=None)
@given(bodies(), wished, st.floats(1, 10))
def test_more_volume_never_costs_less_metal(geometry: Geometry, wishes: ItemOptions, factor: float) -> None:
    larger = replace(geometry, volume_mm3=geometry.volume_mm3 * factor)

    before, after = price_one(geometry, wishes, CARD), price_one(larger, wishes, CARD)

    assert all(amount(after, code) >= amount(before, code) for code in METAL)
    assert after.total >= before.total


@settings(max_examples=100, deadline=None)
@given(bodies(), st.sampled_from(list(MATERIALS)), st.floats(5, 100).map(lambda side: round(side, 4)))
def test_doubling_the_size_takes_eight_times_the_metal(geometry: Geometry, material: str, side: float) -> None:
    rows = [item_of(geometry, options(material=material, longest_side_mm=size), CARD) for size in (side, 2 * side)]

    small, large = price(pl.DataFrame(rows, schema=ITEM_SCHEMA), RATES)["mass_g"]

    assert large == pytest.approx(8 * small, rel=1e-12)


@settings(max_examples=100, deadline=None)
@given(bodies(), wished, st.integers(1, 100))
def test_more_pieces_never_cost_less_without_a_quantity_break(
    geometry: Geometry, wishes: ItemOptions, more: int
) -> None:
    card = CARD.model_copy(update={"terms": CARD.terms.model_copy(update={"quantity_breaks": ()})})
    larger = wishes.model_copy(update={"quantity": wishes.quantity + more})

    assert price_one(geometry, larger, card).total >= price_one(geometry, wishes, card).total


@settings(max_examples=100, deadline=None)
@given(bodies(), wished)
def test_a_piece_twice_as_large_as_a_model_costs_what_a_model_twice_as_large_does(
    geometry: Geometry, wishes: ItemOptions
) -> None:
    size = round(max(geometry.extents_mm) * 2, 4)
    asked = wishes.model_copy(update={"longest_side_mm": size})
    drawn = wishes.model_copy(update={"longest_side_mm": None})

    made, expected = price_one(geometry, asked, DETAILED_CARD), price_one(scaled(geometry, size), drawn, DETAILED_CARD)

    assert abs(made.total - expected.total) <= Decimal("0.05")  # floats differ in the last bit: a cent on some line


@settings(max_examples=100, deadline=None)
@given(bodies(), wished)
def test_no_price_lies_below_the_minimum(geometry: Geometry, wishes: ItemOptions) -> None:
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
        ({"box_width_mm": 0.0}, "bad_geometry"),
        ({"print_height_mm": float("nan")}, "bad_geometry"),
        ({"support_mm3": -1.0}, "bad_geometry"),
        ({"support_mm3": float("inf")}, "bad_geometry"),
        ({"detail": float("nan")}, "bad_geometry"),
        ({"longest_side_mm": 1e9}, "bad_geometry"),
        ({"stones": [stone(size_mm=7.0)]}, "no_stone_rate"),
        ({"stones": [stone(), stone(count=0)]}, "no_stone_rate"),
        ({"stones": [stone(setting="pave")]}, "no_stone_rate"),
    ],
)
def test_a_row_without_a_price_says_why_and_harms_no_other(changes: dict[str, Any], problem: str) -> None:
    good = item_of(BLOCK, options(), CARD)

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
    rows = pl.DataFrame([item_of(BLOCK, options(), CARD)] * 3, schema=ITEM_SCHEMA).with_columns(
        item_id=pl.Series([7, 3, 5])
    )

    assert price(rows, RATES, detail=False)["item_id"].to_list() == [7, 3, 5]


def test_an_empty_table_stays_empty() -> None:
    assert price(pl.DataFrame(schema=ITEM_SCHEMA), RATES).height == 0


def test_a_missing_column_is_named() -> None:
    with pytest.raises(BadItems, match="lacks columns: volume_mm3"):
        price(pl.DataFrame(schema=ITEM_SCHEMA).drop("volume_mm3"), RATES)


def test_a_column_of_another_type_is_named() -> None:
    table = pl.DataFrame([item_of(BLOCK, options(), CARD)], schema=ITEM_SCHEMA).with_columns(quantity=pl.lit("many"))
    with pytest.raises(BadItems, match="another type"):
        price(table, RATES)


six_decimals = st.integers(-(10**15), 10**15).map(lambda units: Decimal(units).scaleb(-6))


@given(st.lists(st.tuples(six_decimals, six_decimals), min_size=1, max_size=50))
def test_polars_rounds_products_like_python_half_up(pairs: list[tuple[Decimal, Decimal]]) -> None:
    table = pl.DataFrame(pairs, schema={"units": pl.Decimal(38, 6), "rate": rounding.EXACT}, orient="row")

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


def test_a_card_that_lacks_later_rates_keeps_the_version_that_its_quotes_name() -> None:
    now = load_sample()
    then = [lacking(card) for card in now]

    # as the sample's cards were called before there were rates for support wax and detail
    assert [card.version for card in (then[0], then[6], then[-1])] == ["41a08eea92fc", "02b44ff34269", "d2f0733e8ec9"]
    assert RateCard.model_validate_json(then[0].model_dump_json()).version == then[0].version
    assert all(card.version != old.version for card, old in zip(now, then, strict=True))


def lacking(card: RateCard) -> RateCard:
    """The card as it was written before support wax and detail had rates."""
    content = card.model_dump()
    del content["wax"]["support_per_gram"], content["finishing"]["detail_share"], content["finishing"]["detail_most"]
    return RateCard.model_validate(content)


def test_the_names_of_stones_and_settings_are_those_of_the_shipped_card() -> None:
    card = load_sample()[-1]

    assert {row.cut for row in card.stones} == set(Cut)
    assert {row.setting for row in card.settings} == set(Setting)

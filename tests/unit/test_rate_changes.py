"""Proves that people see what a rate card changes, when it would hold, and what looks like a slip."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from mes.pricing.rates import rate_warnings
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import load_sample
from mes.pricing.rates.rate_changes import Change, changes, compare, holding, metal_moves, percent
from mes.pricing.rates.rate_validity import spans, together

SAMPLE = load_sample()[-1]
TODAY = date(2026, 11, 22)


def card(start: str = "2026-01-01", end: str | None = None, **rates: Any) -> RateCard:
    """The sample of 2026 with other dates and, by dotted path with `__` for the dots, other rates."""
    content = SAMPLE.model_dump()
    content |= {"valid_from": date.fromisoformat(start), "valid_to": date.fromisoformat(end) if end else None}
    for path, value in rates.items():
        *parents, last = path.split("__")
        part: dict[str, Any] = content
        for name in parents:
            part = part[name]
        part[last] = value
    return RateCard.model_validate(content)


def said(old: RateCard, new: RateCard) -> Mapping[str, tuple[object, object, object]]:
    return {change.field: (change.old, change.new, change.percent) for change in changes(old, new)}


def kinds(new: RateCard, old: RateCard | None = None) -> list[tuple[str, str]]:
    stored = [old] if old else []
    return [(doubt.kind, doubt.field) for doubt in rate_warnings.of_rates(compare(stored, new, TODAY))]


def test_only_fields_that_differ_are_shown_with_their_move() -> None:
    dearer = card("2026-11-22", metals__gold="4510", terms__quote_valid_days=7)

    # 4510 / 4100 = 1.1; 7 / 14 = 0.5
    assert said(card(), dearer) == {
        "valid_from": (date(2026, 1, 1), date(2026, 11, 22), None),
        "metals.gold": (4100, 4510, Decimal("10.0")),
        "terms.quote_valid_days": (14, 7, Decimal("-50.0")),
    }


def test_amounts_that_are_written_otherwise_are_the_same() -> None:
    assert changes(card(metals__gold="4100"), card(metals__gold="4100.00")) == ()


def test_rows_of_lists_are_told_apart_by_what_they_are_for() -> None:
    rows = SAMPLE.model_dump()["settings"]
    dearer_prong = [{**row, "each": Decimal("4.50")} if row is rows[0] else row for row in rows]
    breaks = [*SAMPLE.model_dump()["terms"]["quantity_breaks"][:-1], {"min_quantity": 100, "factor": "0.8"}]

    assert said(card(), card(settings=dearer_prong, terms__quantity_breaks=breaks)) == {
        # 4.50 / 4.00 = 1.125
        "settings[prong up to 2.5 mm].each": (Decimal("4.00"), Decimal("4.50"), Decimal("12.5")),
        "terms.quantity_breaks[from 50].factor": (Decimal("0.82"), None, None),
        "terms.quantity_breaks[from 100].factor": (None, Decimal("0.8"), None),
    }


def test_a_row_that_only_moves_in_its_list_changes_nothing() -> None:
    stones = SAMPLE.model_dump()["stones"]
    assert changes(card(), card(stones=stones[::-1])) == ()


@pytest.mark.parametrize(
    ("old", "new", "move"),
    [
        (Decimal(3), Decimal(4), "33.3"),
        (Decimal(4), Decimal(3), "-25.0"),
        (Decimal(1000), Decimal("1000.5"), "0.1"),  # 0.05 % rounds half up
        (14, 21, "50.0"),
        (Decimal(0), Decimal(4), None),
        ("a", "b", None),
        (None, Decimal(1), None),
    ],
)
def test_a_move_is_in_percent_to_a_tenth(old: Any, new: Any, move: str | None) -> None:
    assert percent(old, new) == (Decimal(move) if move else None)


def test_a_card_is_compared_with_the_one_that_holds_at_the_same_time() -> None:
    past, present, future = card("2020-01-01"), card("2026-01-01"), card("2027-01-01")
    stored = [past, present, future]

    def against(start: str, end: str | None = None) -> RateCard | None:
        return compare(stored, card(start, end, metals__gold="1"), TODAY).against

    assert against("2019-01-01") == present  # it would cover today
    assert against("2021-01-01", "2022-01-01") == past
    assert against("2026-12-01") == present
    assert against("2028-01-01") == future
    assert against("2018-01-01", "2019-01-01") is None


def test_of_two_cards_for_one_day_the_later_given_holds() -> None:
    first, second = card(metals__gold="1000"), card(metals__gold="2000")
    assert holding([first, second], TODAY) == second
    assert holding([second, first], TODAY) == first
    assert holding([first, second], date(2025, 12, 31)) is None
    assert holding([card(end="2026-11-22")], TODAY) is None  # the end is the first day without it


def test_dated_cards_are_summed_up_by_metal() -> None:
    stored = [card("2026-01-01", metals__gold="2000", metals__silver="20")]
    months = [
        card("2025-12-01", "2026-01-01", metals__gold="1000", metals__silver="20"),  # nothing held then
        card("2026-01-01", "2026-02-01", metals__gold="1900", metals__silver="20"),
        card("2026-02-01", "2026-03-01", metals__gold="2000", metals__silver="20"),
        card("2026-03-01", "2026-04-01", metals__gold="2500", metals__silver="25"),
    ]
    gold, silver, platinum = metal_moves([compare(stored, month, TODAY) for month in months])

    assert (gold.first, gold.last) == (Decimal(1000), Decimal(2500))
    assert (gold.moved, gold.least, gold.most) == (2, Decimal("-5.0"), Decimal("25.0"))
    assert (silver.moved, silver.least, silver.most) == (1, Decimal("25.0"), Decimal("25.0"))
    assert (platinum.moved, platinum.least, platinum.most) == (0, None, None)


def test_the_card_that_began_last_holds_until_it_ends() -> None:
    long, short = card("2020-01-01"), card("2026-03-01", "2026-06-01")
    assert [(span.start, span.end, span.card) for span in spans([long, short])] == [
        (date(2020, 1, 1), date(2026, 3, 1), long),
        (date(2026, 3, 1), date(2026, 6, 1), short),
        (date(2026, 6, 1), None, long),
    ]


def test_days_without_a_card_are_spans_too() -> None:
    first, second = card("2020-01-01", "2021-01-01"), card("2022-01-01", "2023-01-01")
    assert [(span.start, span.card) for span in spans([second, first])] == [
        (date(2020, 1, 1), first),
        (date(2021, 1, 1), None),
        (date(2022, 1, 1), second),
        (date(2023, 1, 1), None),
    ]
    assert spans([]) == []


def test_spans_agree_with_the_rule_for_a_single_day() -> None:
    cards = [
        *load_sample(),
        card("2016-01-01", "2018-06-01", metals__gold="1"),
        card("2016-01-01", "2016-02-01", metals__gold="2"),
        card("2012-05-01", "2012-05-02"),
        card("2030-01-01", "2031-01-01"),
    ]
    held = spans(cards)
    days = [date(year, month, day) for year in range(2010, 2033) for month in (1, 2, 5, 6) for day in (1, 2)]
    for day in days:
        span = next(span for span in held if span.start <= day and (span.end is None or day < span.end))
        assert span.card == holding(cards, day)


def test_a_known_card_keeps_its_place_and_takes_its_end_over() -> None:
    first, second = card(metals__gold="1000"), card(metals__gold="2000")
    ended = first.model_copy(update={"valid_to": date(2027, 1, 1)})
    assert together([first, second], [ended]) == [ended, second]
    assert together([first], [second]) == [first, second]


@pytest.mark.parametrize(
    ("rates", "expected"),
    [
        ({"metals__gold": "5330"}, [("metal_move", "metals.gold")]),  # 5330 / 4100 = 1.3
        ({"metals__gold": "5325"}, []),
        ({"metals__gold": "2870"}, [("metal_move", "metals.gold")]),  # 0.7
        ({"metals__gold": "131.8"}, [("metal_move", "metals.gold")]),  # 4100 / 31.1, a price per gram
        ({"metals__silver": "500"}, [("decimal_point", "metals.silver")]),
        (
            {"metals__silver": "4200"},
            [("metal_move", "metals.silver"), ("order_of_metals", "metals"), ("order_of_metals", "metals")],
        ),
        ({"finishing__per_hour": "4.2"}, [("decimal_point", "finishing.per_hour")]),
        ({"finishing__per_hour": "60"}, []),
        ({"terms__margin__retail": "4"}, [("unusual_rate", "terms.margin.retail")]),
        ({"terms__margin__retail": "2"}, []),
        ({"wax__density_g_cm3": "10.36"}, [("unusual_rate", "wax.density_g_cm3")]),
        ({"casting__loss": "0.35"}, [("unusual_rate", "casting.loss")]),
        (
            {"casting__flask_height_mm": "13"},
            [("decimal_point", "casting.flask_height_mm"), ("unusual_rate", "casting.flask_height_mm")],
        ),
    ],
)
def test_suspicious_rates_are_named(rates: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert kinds(card("2026-11-22", **rates), card()) == expected


def test_a_doubt_says_what_moved_and_what_to_look_at() -> None:
    per_gram = rate_warnings.of_rates(compare([card()], card("2026-11-22", metals__gold="131.8"), TODAY))
    # 131.8 / 4100 = 0.0321
    assert per_gram[0].message == (
        "metals.gold moves from 4100 to 131.8 USD per troy ounce, by -96.8 %. "
        "Is it a price per gram? A troy ounce has 31.1034768 g."
    )
    margin = rate_warnings.of_rates(compare([card()], card("2026-11-22", terms__margin__vip="4"), TODAY))
    assert margin[0].message == "terms.margin.vip is 4, where 0 to 2 is usual: it is a share: 0.4 adds 40 %."


def test_the_first_card_is_looked_at_as_a_whole() -> None:
    assert kinds(SAMPLE) == []
    assert kinds(card(metals__silver="5000", wax__layer_mm="32")) == [
        ("unusual_rate", "wax.layer_mm"),
        ("order_of_metals", "metals"),
        ("order_of_metals", "metals"),
    ]


def test_what_is_in_force_already_is_no_news() -> None:
    odd = card(terms__margin__retail="4")
    assert kinds(card("2026-11-22", terms__margin__retail="4", metals__gold="4200"), odd) == []


def words(stored: list[RateCard], *cards: RateCard) -> list[tuple[str, str]]:
    return [(doubt.kind, doubt.message) for doubt in rate_warnings.of_validity(stored, list(cards))]


def test_a_card_that_follows_one_without_an_end_is_no_overlap() -> None:
    assert words([card("2020-01-01")], card("2026-11-22")) == []
    assert words([], *load_sample()) == []


def test_a_gap_in_validity_is_named() -> None:
    ((kind, message),) = words([card("2020-01-01", "2026-01-01")], card("2026-02-01"))
    assert kind == "gap"
    assert message.startswith("No card holds from 2026-01-01 until 2026-02-01")

    ((kind, message),) = words([card("2020-01-01", "2026-01-01")], card("2026-01-01", "2027-01-01"))
    assert kind == "gap"
    assert message.startswith("No card holds from 2027-01-01 on: what is ordered then has no price.")


def test_a_gap_elsewhere_is_not_this_cards_affair() -> None:
    assert words([card("2010-01-01", "2011-01-01"), card("2012-01-01")], card("2026-11-22")) == []


def test_overlaps_that_hide_a_card_are_named() -> None:
    def only(stored: list[RateCard], new: RateCard) -> str:
        ((kind, message),) = words(stored, new)
        assert kind == "overlap"
        return message

    other = card(metals__gold="1000")
    assert "which begins on the same day" in only([other], card())
    assert "From 2026-01-01 on" in only([other], card("2025-01-01"))
    assert "When card" in only([other], card("2026-06-01", "2026-07-01"))


def test_a_card_that_another_replaced_does_not_come_back_by_loading_it_again() -> None:
    first, replaced_by = card(metals__gold="1000"), card(metals__gold="2000")
    ((kind, message),) = words([first, replaced_by], first)
    assert kind == "overlap"
    assert "would hold on no day" in message


def test_hundreds_of_cards_are_one_warning_of_a_kind() -> None:
    stored = [card("2020-01-01")]
    months = [card(f"2021-{month:02}-01", f"2021-{month + 1:02}-01", metals__gold="9000") for month in range(1, 12)]
    doubts = [doubt for month in months for doubt in rate_warnings.of_rates(compare(stored, month, TODAY))]

    (only,) = rate_warnings.grouped(doubts)
    assert only.message.endswith("The same kind of doubt holds for 10 more cards.")
    assert len(doubts) == 11


def test_a_change_of_what_is_no_number_has_no_move() -> None:
    assert Change("name", "a", "b").percent is None

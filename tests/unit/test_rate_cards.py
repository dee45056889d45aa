"""Proves that rate cards are read whole or refused in words, and that a version stands for what a price depends on."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from mes.pricing.materials import MATERIALS
from mes.pricing.options import Finish, Tier
from mes.pricing.rates.rate_card import AlloyPrices, FinishMinutes, Margins
from mes.pricing.rates.rate_cards import (
    SAMPLE_FILE,
    BadRateCard,
    NoRateCard,
    RateCard,
    as_yaml,
    load_file,
    load_sample,
    valid_at,
    with_metals,
)

HEADER = "month,gold_usd_ozt,silver_usd_ozt,platinum_usd_ozt\n"


def written(folder: Path, text: str, name: str = "card.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def sample_with(old: str, new: str) -> str:
    text = SAMPLE_FILE.read_text()
    assert old in text
    return text.replace(old, new, 1)


def test_the_sample_covers_2010_until_open_end_without_gaps() -> None:
    cards = load_sample()

    assert (cards[0].valid_from, cards[-1].valid_to) == (date(2010, 1, 1), None)
    assert [card.valid_to for card in cards[:-1]] == [card.valid_from for card in cards[1:]]
    assert len({card.version for card in cards}) == len(cards)


def test_every_material_finish_and_tier_has_its_rate() -> None:
    assert set(AlloyPrices.model_fields) == set(MATERIALS)
    assert set(FinishMinutes.model_fields) == {finish.value for finish in Finish}
    assert set(Margins.model_fields) == {tier.value for tier in Tier}


def test_prices_per_gram_follow_the_troy_ounce() -> None:
    card = next(card for card in load_sample() if card.valid_from.year == 2024)

    # 2386 / 31.1034768 = 76.7116814...; 0.585 x 76.711681 + 0.415 x 0.45 = 45.063083...
    assert card.metal_per_gram("gold585").quantize(Decimal("0.0001")) == Decimal("45.0631")
    # 28.3 / 31.1034768 = 0.909866...; 0.925 x 0.909866 + 0.075 x 0.02 = 0.843126...
    assert card.metal_per_gram("silver925").quantize(Decimal("0.0001")) == Decimal("0.8431")


def test_a_version_changes_with_any_rate_and_not_with_how_it_is_written() -> None:
    card = load_sample()[0]
    dearer = card.model_copy(update={"engraving": card.engraving.model_copy(update={"setup": Decimal("8.01")})})
    rewritten = card.model_copy(update={"engraving": card.engraving.model_copy(update={"setup": Decimal("8.000")})})

    assert dearer.version != card.version
    assert rewritten.version == card.version


def test_a_version_survives_storage_and_the_end_of_its_card() -> None:
    card = load_sample()[-1]

    assert RateCard.model_validate_json(card.model_dump_json()).version == card.version
    assert RateCard.model_validate({**card.model_dump(), "valid_to": date(2030, 1, 1)}).version == card.version


@pytest.mark.parametrize(
    ("when", "year"),
    [
        (datetime(2016, 12, 31, 23, 59, tzinfo=UTC), 2016),
        (datetime(2017, 1, 1, tzinfo=UTC), 2017),
        (datetime(2031, 5, 5, tzinfo=UTC), 2026),
    ],
)
def test_an_order_is_priced_by_the_card_of_its_time(when: datetime, year: int) -> None:
    assert valid_at(load_sample(), when).valid_from.year == year


def test_a_day_without_a_card_is_named() -> None:
    with pytest.raises(NoRateCard, match=r"load one that covers it.*2009-12-31"):
        valid_at(load_sample(), datetime(2009, 12, 31, tzinfo=UTC))


def test_of_two_cards_that_begin_on_one_day_the_last_holds() -> None:
    first = load_sample()[-1]
    second = with_metals(first, {"gold": "1"}, first.valid_from)

    assert valid_at([first, second], datetime(2026, 5, 1, tzinfo=UTC)) == second
    assert valid_at([second, first], datetime(2026, 5, 1, tzinfo=UTC)) == first


@settings(max_examples=50, deadline=None)
@given(
    name=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=100)
    | st.sampled_from(["2024", "null", "yes", "1e3", "2024-01-01", "# 1", "a: b", " a"]),
    gold=st.decimals("0.000001", 1_000_000, places=6),
    loss=st.decimals(0, "0.999999", places=6),
    valid_to=st.none() | st.dates(date(2027, 1, 1), date(2999, 1, 1)),
)
def test_a_card_that_is_written_is_read_again(name: str, gold: Decimal, loss: Decimal, valid_to: date | None) -> None:
    content = load_sample()[-1].model_dump() | {"name": name, "valid_to": valid_to}
    content["metals"]["gold"], content["casting"]["loss"] = gold, loss
    card = RateCard.model_validate(content)

    with TemporaryDirectory() as folder:
        (again,) = load_file(written(Path(folder), as_yaml(card)))

    assert (again, again.version) == (card, card.version)


def test_other_market_prices_make_another_card_with_the_same_rates() -> None:
    card = load_sample()[-1]
    moved = with_metals(card, {"gold": "2400.50"}, date(2026, 11, 22))

    assert (moved.metals.gold, moved.metals.silver, moved.valid_from) == (
        Decimal("2400.5"),
        card.metals.silver,
        date(2026, 11, 22),
    )
    assert (moved.terms, moved.valid_to) == (card.terms, card.valid_to)


@pytest.mark.parametrize("price", ["-1", "0", "dear", "1e9", "nan", "1.0000001"])
def test_a_market_price_that_cannot_be_is_refused(price: str) -> None:
    with pytest.raises(BadRateCard, match=r"metals\.gold: .*Correct them; nothing was stored"):
        with_metals(load_sample()[-1], {"gold": price}, date(2026, 11, 22))


def test_one_card_is_read_from_a_file_of_its_own(tmp_path: Path) -> None:
    card = load_sample()[3]
    path = written(tmp_path, yaml.safe_dump(card.model_dump(mode="json")))

    assert load_file(path) == [card]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("per_flask: 65.00", "per_flask: -1", "casting.per_flask: input should be greater than or equal to 0"),
        ("per_flask: 65.00", "per_flask: .nan", "casting.per_flask"),
        ("per_flask: 65.00", "per_flask: cheap", "casting.per_flask: input should be a valid decimal, not 'cheap'"),
        (
            "per_flask: 65.00",
            "per_flasks: 65.00",
            "casting.per_flasks: is not known here, remove it or correct its name",
        ),
        ("per_flask: 65.00", "", "casting.per_flask: is missing, give it"),
        ("per_flask: 65.00", "loss: 0.02", "loss is given twice"),
        ("platinum950: 15.00", "", "alloys.platinum950: is missing"),
        ("factor: 0.90", "factor: 0.99", "quantity_breaks must rise"),
        ("setting: prong, up_to_mm: 5", "setting: prong, up_to_mm: 2.5", "settings names a setting and size twice"),
        ("setting: prong", "setting: glue", "unknown value 'glue'; known are prong, bezel"),
        ("from: 2012-01-01", "from: 2010-06-01", "2010-06-01 does not follow 2011-01-01; sort by date"),
        ("gold: 1670", "gold: 0", "metal_prices.2.gold: input should be greater than 0"),
        ("name: sample", "name: sample\n  valid_from: 2010-01-01", "valid_from must not stand here"),
        ("currency: USD", "currency: EUR", "currency: input should be 'USD'"),
        ("base:", "base: [", "is not valid YAML"),
    ],
)
def test_a_wrong_card_is_refused_with_file_line_and_cure(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = written(tmp_path, sample_with(old, new))

    with pytest.raises(BadRateCard) as refused:
        load_file(path)

    message = str(refused.value)
    assert message.startswith(f"{path}: ")
    assert words in message
    assert "line " in message
    assert "Correct the file and load it again" in message


def test_the_line_named_is_the_one_at_fault(tmp_path: Path) -> None:
    text = sample_with("per_flask: 65.00", "per_flask: -1")
    line = next(number for number, content in enumerate(text.splitlines(), start=1) if "per_flask: -1" in content)

    with pytest.raises(BadRateCard, match=f"line {line}: .*per_flask"):
        load_file(written(tmp_path, text))


def test_monthly_prices_make_one_card_per_month_until_the_next(tmp_path: Path) -> None:
    path = written(
        tmp_path, f"{HEADER}2020M01,1560.5,18,987\n2020M02,1597,17.9,960\n2020-04-01,1683,15,755\n", "london.csv"
    )

    first, second, last = load_file(path)

    assert (first.name, first.valid_from, first.valid_to) == ("london", date(2020, 1, 1), date(2020, 2, 1))
    assert (first.metals.gold, second.metals.silver, last.metals.platinum) == (
        Decimal("1560.5"),
        Decimal("17.9"),
        Decimal(755),
    )
    assert (second.valid_to, last.valid_to) == (date(2020, 4, 1), None)
    assert first.casting == load_sample()[-1].casting


def test_a_workshops_own_card_lends_its_other_rates_to_monthly_prices(tmp_path: Path) -> None:
    own = with_metals(load_sample()[-1], {"silver": "1"}, date(2015, 1, 1))
    own = own.model_copy(update={"terms": own.terms.model_copy(update={"minimum_line": Decimal(99)})})

    (card,) = load_file(written(tmp_path, f"{HEADER}2020M01,1560.5,18,987\n", "london.csv"), base=own)

    assert card.terms.minimum_line == 99
    assert (card.metals.silver, card.valid_from, card.valid_to) == (Decimal(18), date(2020, 1, 1), None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: column gold_usd_ozt, silver_usd_ozt, platinum_usd_ozt, month (or date) is missing"),
        ("month,gold_usd_ozt\n2020M01,1500\n", "line 1: column silver_usd_ozt, platinum_usd_ozt is missing"),
        (HEADER, "holds no prices below its header"),
        (f"{HEADER}2020M01,1500,..,900\n", "line 2: silver_usd_ozt: input should be a valid decimal, not '..'"),
        (f"{HEADER}2020M01,1500,18,900\n2020M02,1500,18\n", "line 3: platinum_usd_ozt"),
        (f"{HEADER}2020M13,1500,18,900\n", "line 2: month or date"),
        (f"{HEADER}2020M02,1500,18,900\n2020M02,1500,18,900\n", "line 3: 2020-02-01 does not follow 2020-02-01"),
        (f'{HEADER}2020M01,"1500,18,900\n', "is not valid CSV"),
    ],
)
def test_wrong_monthly_prices_are_refused_with_line_and_column(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(BadRateCard) as refused:
        load_file(written(tmp_path, text, "metals.csv"))

    assert words in str(refused.value)
    assert refused.value.http_status == 422


def test_a_file_that_holds_no_card_is_refused(tmp_path: Path) -> None:
    for name, text in [("card.yaml", ""), ("card.yaml", "- 1"), ("card.json", "{}")]:
        with pytest.raises(BadRateCard, match="card"):
            load_file(written(tmp_path, text, name))
    with pytest.raises(BadRateCard, match="Give a readable file"):
        load_file(tmp_path / "absent.yaml")


@pytest.mark.data
def test_the_market_of_sixty_years_makes_a_card_per_month(data_root: Path) -> None:
    cards = load_file(data_root / "metals" / "metals_monthly.csv")

    assert len(cards) == 798
    assert valid_at(cards, datetime(1960, 1, 15, tzinfo=UTC)).metals.gold == 35

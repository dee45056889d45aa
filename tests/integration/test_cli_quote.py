"""`mes quote` explains a price to a person and tells it to a program."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ingest.api import examples
from mes import config
from mes.pricing.costs.cost_lines import HOW, QUANTITY_LINES, TERM_LINES
from mes.runtime.cli import app

Run = Callable[..., str]


@pytest.fixture
def quote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Runs `mes quote` on the documentation's model, by the shipped sample card; gives what it printed."""
    monkeypatch.delenv("MES_DATABASE_URL", raising=False)
    monkeypatch.setenv("MES_HOME", str(tmp_path / "home"))
    config.load.cache_clear()
    file = tmp_path / "pendant.stl"
    file.write_text(examples.STL)

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, ["quote", str(file), "--material", "gold585", *arguments])
        assert result.exit_code == exit_code, result.output
        return result.stdout if exit_code == 0 else result.stderr

    yield run
    config.load.cache_clear()


def test_every_line_has_its_explanation() -> None:
    stones = {"stone_setting", "stones"}
    assert HOW.keys() == {rule.code for rule in (*QUANTITY_LINES, *TERM_LINES)} | stones


def test_the_page_explains_measures_lines_and_levers(quote: Run) -> None:
    page = quote("--explain", "--rush", "--stone", "round 1.5 mm x 8 prong", "--engraving", "For ever")

    for said in ("mass ", "volume ", "14 kt yellow gold", "Pure metal", HOW["metal"], HOW["finishing"], "Total"):
        assert said in page
    assert "8 stone x 4; 8 x round 1.5 mm per piece, prong" in page
    assert "7 character x 0.6; 7 characters per piece" in page
    assert "What would make it cheaper" in page
    assert "without rush: -" in page


def test_the_object_keeps_its_keys_and_gains_levers(quote: Run) -> None:
    said = json.loads(quote("--json", "--rush", "--stone", "round 1.5 mm x 8 prong"))

    keys = {"model_id", "bytes", "format", "geometry", "findings", "rate_card", "price", "unit_price", "breakdown"}
    assert keys | said["geometry"].keys() | {"levers"} == said.keys()
    assert sum(Decimal(line["amount"]) for line in said["breakdown"]) == Decimal(said["price"]["amount"])
    rush = next(lever for lever in said["levers"] if lever["code"] == "no_rush")
    assert Decimal(rush["price_change"]["amount"]) < 0
    assert rush["price_change"]["currency"] == "USD"


def test_levers_are_no_part_of_the_price(quote: Run) -> None:
    said = json.loads(quote("--json"))

    assert {lever["code"] for lever in said["levers"]}.isdisjoint(line["code"] for line in said["breakdown"])


@pytest.mark.parametrize(
    "stone",
    [
        "round 1.5 mm x 8 prong",
        "Round 1.5mm x8 prong workshop",
        '{"cut": "round", "size_mm": 1.5, "count": 8, "setting": "prong"}',
    ],
)
def test_a_stone_is_written_as_people_write_it_or_as_json(quote: Run, stone: str) -> None:
    lines = json.loads(quote("--json", "--stone", stone))["breakdown"]

    assert [line["code"] for line in lines if "stone" in line["code"]] == ["stone_setting", "stones"]
    assert next(line["quantity"] for line in lines if line["code"] == "stones") == "8.000000"


def test_a_customers_own_stones_are_only_set(quote: Run) -> None:
    lines = json.loads(quote("--json", "--stone", "oval 4 mm x 1 bezel customer", "--stone", "round 1 mm x 2 pave"))

    assert [line["code"] for line in lines["breakdown"] if "stone" in line["code"]] == [
        "stone_setting",
        "stone_setting",
        "stones",
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--stone", "a big ruby"), "'a big ruby' is no stone: write it as 'round 1.5 mm x 8 prong'"),
        (("--stone", "star 1.5 mm x 8 prong"), "stones.0.cut: unknown value 'star'"),
        (("--stone", "round 1.5 mm x 0 prong"), "stones.0.count: input should be greater than or equal to 1"),
        (("--engraving", " "), "engraving.text: must hold at least one visible character"),
        (("--engraving", "A", "--engraving-side", "under"), "engraving.side: unknown value 'under'"),
        (("--stone", "round 20 mm x 1 pave"), "no price for one of the stones"),
    ],
)
def test_what_cannot_be_made_is_said_in_words(quote: Run, arguments: tuple[str, ...], words: str) -> None:
    assert words in quote(*arguments, exit_code=2)

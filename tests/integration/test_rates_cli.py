"""People see what a rate card changes, and by how much prices move, before `mes rates` activates it."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from typer.testing import CliRunner

from mes import config
from mes.clock import utc_now
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import SAMPLE_FILE, as_yaml, with_metals
from mes.runtime.cli import app
from mes.runtime.location import libpq_url
from tests.callers import add_model
from tests.integration.test_rates import add_item
from tests.orders import add_order

SAMPLE = rate_cards.load_sample()[-1]
TODAY = utc_now().date()
Run = Callable[..., str]


@pytest.fixture
def rates(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `mes rates` without a terminal; gives what it printed."""
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(database_url))
    config.load.cache_clear()

    def run(*arguments: object, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, ["rates", *map(str, arguments)])
        assert result.exit_code == exit_code, result.output
        return result.output if exit_code else result.stdout

    return run


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A card of today: silver at 60 in place of 50 USD per troy ounce, bench work at 84 in place of 42 USD an hour."""
    card = with_metals(SAMPLE, {"silver": "60"}, TODAY)
    finishing = card.finishing.model_copy(update={"per_hour": Decimal("84.00")})
    path = tmp_path / "own.yaml"
    path.write_text(as_yaml(card.model_copy(update={"finishing": finishing, "name": "own"})))
    return path


def only(path: Path) -> RateCard:
    (card,) = rate_cards.load_file(path)
    return card


def stored(engine: Engine) -> dict[str, bool]:
    """Versions, and whether they are active."""
    with engine.begin() as conn:
        return {one.card_id: one.activated_at is not None for one in rate_store.everything(conn)}


def line_of(output: str, start: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(start))


def test_without_a_terminal_a_card_is_shown_and_activated(rates: Run, engine: Engine, own: Path) -> None:
    assert rates("load", SAMPLE_FILE).endswith("17 rate cards read, 17 new. Active now.\n")
    with engine.begin() as conn:
        add_model(conn)
        add_item(conn, add_order(conn))

    shown = rates("load", own)

    assert line_of(shown, "metals.silver") == ["metals.silver", "50.0", "60", "+20.0", "%"]
    assert line_of(shown, "finishing.per_hour")[-2:] == ["+100.0", "%"]
    assert "metals.gold" not in shown
    # by hand (see test_rates): 15 min of finishing cost 10.50 more: cost 55.06 + 10.50, margin of 45 % 29.50
    assert line_of(shown, "silver925")[-2:] == ["75.11", "95.06"]
    assert "1 open order is not approved yet: 0 with a price, 1 without." in shown
    assert shown.endswith("1 rate card read, 1 new. Active now.\n")
    assert stored(engine)[only(own).version]
    assert rates("load", own).endswith("1 rate card read, 0 new. All of it was active already.\n")


def test_a_draft_waits_until_it_is_activated(rates: Run, engine: Engine, own: Path) -> None:
    rates("load", SAMPLE_FILE)
    version = only(own).version
    assert "metals.silver" in rates("load", own, "--draft")
    assert not stored(engine)[version]
    assert line_of(rates("list"), version)[1] == "draft"
    assert line_of(rates("list"), SAMPLE.version)[1:3] == ["in", "force"]

    assert "metals.silver" in rates("activate", version, "--yes")
    assert line_of(rates("list"), version)[1:3] == ["in", "force"]
    assert line_of(rates("list"), SAMPLE.version)[1] == "active"
    assert "active already" in rates("activate", version)


def test_a_draft_is_discarded_and_an_active_card_is_not(rates: Run, engine: Engine, own: Path) -> None:
    rates("load", SAMPLE_FILE)
    rates("load", own, "--draft")
    assert rates("discard", only(own).version) == "1 draft discarded.\n"
    assert only(own).version not in stored(engine)
    assert "This rate card is active" in rates("discard", SAMPLE.version, exit_code=2)
    assert "No rate card with this id" in rates("activate", "0123456789ab", exit_code=2)
    assert "give one of them" in rates("load", own, "--yes", "--draft", exit_code=2)


def test_doubts_are_shown_whether_or_not_anybody_is_asked(rates: Run) -> None:
    rates("load", SAMPLE_FILE)
    shown = rates("metals", "--gold", "2400", "--yes")
    # 2400 / 4100 = 0.5854
    assert "! metals.gold moves from 4100 to 2400 USD per troy ounce, by -41.5 %." in shown


def test_market_prices_are_a_copy_of_the_card_in_force(rates: Run, engine: Engine) -> None:
    rates("load", SAMPLE_FILE)
    day = TODAY + timedelta(days=9)
    rates("metals", "--gold", "4200", "--platinum", "1600.50", "--from", day, "--yes")
    with engine.begin() as conn:
        made = rate_store.every(conn)[-1]
    assert made == with_metals(SAMPLE, {"gold": "4200", "platinum": "1600.50"}, day)

    assert "Give at least one" in rates("metals", exit_code=2)
    assert "write it as 2026-03-31" in rates("metals", "--gold", "1", "--from", "soon", exit_code=2)
    assert "metals.gold: input should be greater than 0" in rates("metals", "--gold", "-5", exit_code=2)
    assert "load one that covers it" in rates("metals", "--gold", "35", "--from", "1960-01-01", exit_code=2)


def test_a_card_that_is_shown_can_be_loaded_again(rates: Run, engine: Engine, tmp_path: Path) -> None:
    rates("load", SAMPLE_FILE)
    before = stored(engine)
    for version in before:
        (tmp_path / "again.yaml").write_text(rates("show", version))
        assert "0 new. All of it was active already." in rates("load", tmp_path / "again.yaml")
    assert stored(engine) == before


def test_versions_and_files_are_compared(rates: Run, engine: Engine, own: Path) -> None:
    rates("load", SAMPLE_FILE)
    older = rate_cards.load_sample()[-2]  # gold 3440, silver 40, platinum 1280

    between = rates("diff", older.version, own)
    # 60 / 40; 4100 / 3440 = 1.1919
    assert line_of(between, "metals.silver")[-2:] == ["+50.0", "%"]
    assert line_of(between, "metals.gold")[-2:] == ["+19.2", "%"]
    assert line_of(rates("diff", own), "metals.silver")[-2:] == ["+20.0", "%"]  # against what is in force
    assert line_of(rates("diff", older.version), "metals.gold")[1:3] == ["4100", "3440"]
    assert own.name not in "".join(stored(engine))
    assert only(own).version not in stored(engine)
    assert "There is no file absent.yaml" in rates("diff", "absent.yaml", exit_code=2)


def test_machines_get_the_same_as_json(rates: Run, own: Path) -> None:
    rates("load", SAMPLE_FILE)
    found: dict[str, Any] = json.loads(rates("load", own, "--json"))

    (card,) = found["cards"]
    silver = next(change for change in card["changes"] if change["field"] == "metals.silver")
    assert silver == {"field": "metals.silver", "old": "50.0", "new": "60", "percent": "20.0"}
    assert (found["outcome"], found["read"], found["new"]) == ("activated", 1, 1)
    assert (found["in_force"], card["against"]) == (only(own).version, SAMPLE.version)
    assert {moves["material"] for moves in found["price_moves"]["materials"]} == {
        "silver925",
        "gold585",
        "gold750",
        "platinum950",
    }
    states = {one["version"]: one["state"] for one in json.loads(rates("list", "--json"))}
    assert (states[only(own).version], states[SAMPLE.version]) == ("in force", "active")


def test_a_wrong_file_changes_nothing(rates: Run, engine: Engine, own: Path) -> None:
    own.write_text(own.read_text().replace("silver: 60", "silver: -60"))
    assert "metals.silver: input should be greater than 0" in rates("load", own, exit_code=2)
    assert stored(engine) == {}


@pytest.mark.data
def test_monthly_prices_take_their_other_rates_from_the_card_in_force(
    rates: Run, engine: Engine, own: Path, data_root: Path
) -> None:
    rates("load", SAMPLE_FILE)
    rates("load", own)
    path = data_root / "metals" / "metals_monthly.csv"
    result = CliRunner().invoke(app, ["rates", "load", str(path), "--draft"])

    assert result.exit_code == 0, result.output
    assert f'all other rates are those of card {only(own).version} "own", which is in force' in result.stderr
    # since 2010 the sample has a card: the months before are news, 1960 to 2009
    assert (
        "798 cards, from 1960-01-01 to open end: 600 for times that no card holds, 198 that change rates"
        in result.stdout
    )
    assert line_of(result.stdout, "gold ")[:4] == ["gold", "35", "4228", "198"]
    assert "798 rate cards read, 798 new." in result.stdout
    with engine.begin() as conn:
        drafts = rate_store.drafts(conn)
    assert {draft.card.finishing.per_hour for draft in drafts} == {84}


def ask(database_url: str, answer: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `mes rates` with a terminal on which somebody types `answer`."""
    program = "from mes.runtime.cli import app; app()"
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{answer}\n".encode())
        return subprocess.run(
            [sys.executable, "-c", program, "rates", *arguments],
            env={**os.environ, "MES_DATABASE_URL": libpq_url(database_url)},
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(keyboard)
        os.close(terminal)


@pytest.mark.slow
def test_on_a_terminal_a_person_decides(rates: Run, engine: Engine, database_url: str, own: Path) -> None:
    rates("load", SAMPLE_FILE)

    refused = ask(database_url, "n", "load", str(own))
    assert refused.returncode == 1
    assert "metals.silver" in refused.stdout
    assert "Activate 1 card?" in refused.stderr
    assert refused.stdout.endswith("Nothing was stored.\n")
    assert only(own).version not in stored(engine)

    agreed = ask(database_url, "y", "load", str(own), "--json")
    assert agreed.returncode == 0, agreed.stderr
    assert json.loads(agreed.stdout)["outcome"] == "activated"
    assert "metals.silver" in agreed.stderr
    assert stored(engine)[only(own).version]

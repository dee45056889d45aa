"""`mes drift` compares, lists, repairs and accepts, and says by its exit status whether anything is open."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import Result
from sqlalchemy import Engine
from typer.testing import CliRunner

from mes import config
from mes.orders import placing, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.runtime.cli import app
from mes.runtime.location import libpq_url
from tests.callers import SHOP, add_model, new_order
from tests.statements import known_there, states


@pytest.fixture
def shop(engine: Engine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """An order of which the shop has missed the price, and one that it has otherwise."""
    with engine.begin() as conn:
        add_model(conn)
        first = placing.place(conn, SHOP, new_order("S-1")).order_id
        placing.place(conn, SHOP, new_order("S-2"))
        heard = known_there(conn)
        service.transition(conn, first, Status.PRICE_CALCULATED, Actor(System.MES, "pricing"))
    states(tmp_path, heard[0], heard[1] | {"status": "PACKAGING"})
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(database_url))
    monkeypatch.setenv("MES_DRIFT_SETTLE_MINUTES", "0")
    monkeypatch.setenv("MES_SHOP_STATEMENT_URL", str(tmp_path))
    config.load.cache_clear()
    yield engine
    config.load.cache_clear()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["drift", *arguments])


def test_a_difference_from_the_check_to_the_end(shop: Engine, tmp_path: Path) -> None:
    checked = run("check", "--all")
    assert checked.exit_code == 1, checked.output
    assert "shop: 2 orders stated, 2 of ours compared, 2 of 2 buckets differ; 1 repairs begun" in checked.output
    listed = json.loads(run("list", "--json").output)
    assert [(each["external_id"], each["state"]) for each in listed] == [("S-2", "person"), ("S-1", "open")]
    wrong, missed = (str(each["drift_id"]) for each in listed)
    assert "S-1  behind_there" in run("list").output
    assert run("repair", missed).exit_code == 0
    refused = run("repair", wrong)
    assert refused.exit_code == 2
    assert run("accept", wrong, "--reason", "agreed by telephone").exit_code == 0
    assert "S-2" in run("list", "--accepted").output
    with shop.begin() as conn:
        states(tmp_path, *(known_there(conn)))
    checked = run("check", "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.output)[0]["closed"] == 2
    assert "No difference is open." in run("list").output


def test_nothing_to_compare_with_is_said(shop: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MES_SHOP_STATEMENT_URL")
    config.load.cache_clear()
    assert run("check").exit_code == 2
    assert run("check", "--system", "erp").exit_code == 2

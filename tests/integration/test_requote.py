"""Every frozen quote comes out to the cent again, whoever asked for it; one that was tampered with says where."""

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import Connection, Engine, text
from typer.testing import CliRunner

from ingest.api import examples
from mes import config
from mes.callers.model import Scope
from mes.pricing.geometry import KERNEL_VERSION
from mes.pricing.quotes import order_quotes, requote
from mes.pricing.quotes.requote import Difference, NoSuchQuote
from mes.runtime.cli import app
from mes.runtime.location import libpq_url
from tests.api_server import Api, new_key, on_database, serving, settings_on, with_model
from tests.callers import MODEL, add_model
from tests.orders import add_order

WISHES: tuple[dict[str, object], ...] = (
    {},
    {"material": "platinum950", "finish": "plated", "quantity": 12, "rush": True},
    {"longest_side_mm": 17.25, "engraving": {"text": "For ever", "side": "inside"}},
    {"stones": [{"cut": "round", "size_mm": 1.5, "count": 8, "setting": "prong", "supplied_by": "workshop"}] * 2},
    {"finish": "sandblasted", "tier": "vip", "quantity": 50},
)


@pytest.fixture
def api(database_url: str, tmp_path: Path) -> Iterator[Api]:
    """The API in this process, on a free port; a rate card is loaded."""
    settings = settings_on(database_url, tmp_path)
    with serving(settings) as url, on_database(database_url) as engine:
        running = Api(url, engine, settings, [])
        yield running
        for client in running.clients:
            client.close()


@pytest.fixture
def shop(api: Api) -> httpx.Client:
    """The shop, which has uploaded the documentation's model."""
    return with_model(api.client(api.key("web shop", Scope.SHOP)))


def ask(client: httpx.Client, **wishes: object) -> UUID:
    """A quote for the documentation's model."""
    request = {"model_id": examples.MODEL_ID, "material": "gold585", "finish": "polished", "quantity": 1} | wishes
    answer = client.post("/v1/quotes", json=request, headers=new_key())
    assert answer.status_code == 200, answer.text
    return UUID(answer.json()["quote_id"])


def test_what_a_shop_was_quoted_comes_out_again(shop: httpx.Client, api: Api) -> None:
    asked = [ask(shop, **wishes) for wishes in WISHES]
    with api.engine.begin() as conn:
        recomputed = [requote.recompute(conn, quote_id) for quote_id in asked]
    assert [(found.same, found.now == found.total) for found in recomputed] == [(True, True)] * len(WISHES)


def add_item(conn: Connection, order_id: UUID, line: int, **options: object) -> None:
    values: dict[str, object] = {"material": "silver925", "finish": "polished", "quantity": 1, "size": None}
    values |= {"stones": None, "engraving": None} | options
    conn.execute(
        text("""
            insert into ops.order_items
                (order_id, line, model_id, material, finish, quantity, longest_side_mm, stones, engraving)
            values (:order_id, :line, :model, :material, :finish, :quantity, :size, cast(:stones as jsonb),
                cast(:engraving as jsonb))
        """),
        {"order_id": order_id, "line": line, "model": MODEL, **values},
    )


def test_what_orders_cost_comes_out_again_superseded_or_not(marts_engine: Engine) -> None:
    stone = {"cut": "round", "size_mm": 2, "count": 5, "setting": "prong", "supplied_by": "customer"}
    with marts_engine.begin() as conn:
        add_model(conn)
        for number, (tier, rush) in enumerate([("retail", False), ("b2b", True), ("vip", False)]):
            order_id = add_order(conn, f"S-{number}", tier=tier, rush=rush)
            add_item(conn, order_id, 1, quantity=11, size=12.3456)
            add_item(conn, order_id, 2, material="gold750", finish="plated", stones=json.dumps([stone, stone]))
            add_item(conn, order_id, 3, engraving=json.dumps({"text": "A & B", "side": "inside"}))
    with marts_engine.begin() as conn:
        order_quotes.quote_items(conn)
        conn.execute(text("update ops.order_items set quantity = 3, quote_id = null where line = 1"))
    with marts_engine.begin() as conn:
        order_quotes.quote_items(conn)
        rows = conn.execute(text("select quote_id, superseded_by is null as current from ops.quotes")).all()
        recomputed = [requote.recompute(conn, row.quote_id) for row in rows]
    assert sorted(row.current for row in rows) == [False] * 3 + [True] * 9
    assert [found.differences for found in recomputed] == [()] * 12


@pytest.mark.parametrize(
    ("tampering", "differences"),
    [
        ("total = total + 0.01", [("total", "amount")]),
        ("breakdown = jsonb_set(breakdown, '{0,amount}', '\"1.00\"')", [("metal", "amount")]),
        ("breakdown = jsonb_set(breakdown, '{0,unit}', '\"kg\"')", [("metal", "unit")]),
        ("breakdown = breakdown - 0", [("metal", "amount")]),
        ("breakdown = breakdown || (breakdown -> 0)", [("metal 2", "amount")]),
        ("finish = 'rusty'", [("quote", "price")]),
        ("quantity = 2, breakdown = '[]'", [("metal", "amount")]),
    ],
)
def test_what_was_tampered_with_is_named(
    shop: httpx.Client, api: Api, tampering: str, differences: list[tuple[str, str]]
) -> None:
    quote_id = ask(shop)
    api.change(f"update ops.quotes set {tampering}")
    with api.engine.begin() as conn:
        found = requote.recompute(conn, quote_id)
    named = [(difference.line, difference.figure) for difference in found.differences]
    assert named[: len(differences)] == differences
    assert len(named) == len(differences) or "quantity" in tampering


def test_a_changed_measure_is_named_by_what_it_changes(shop: httpx.Client, api: Api) -> None:
    quote_id = ask(shop)
    api.change("update ops.geometries set measures = jsonb_set(measures, '{area_mm2}', '1000')")
    with api.engine.begin() as conn:
        found = requote.recompute(conn, quote_id)
    assert {difference.line for difference in found.differences} == {"finishing", "margin", "total"}


def test_changed_rates_are_named(shop: httpx.Client, api: Api) -> None:
    quote_id = ask(shop)
    api.change("update ops.rate_cards set card = jsonb_set(card, '{casting,per_flask}', '\"66\"')")
    with api.engine.begin() as conn:
        (changed,) = requote.recompute(conn, quote_id).differences
    assert changed.line == "quote"
    assert "was changed" in (changed.now or "")


def test_a_card_and_words_that_were_put_better_change_nothing(shop: httpx.Client, api: Api) -> None:
    quote_id = ask(shop)
    api.change("update ops.quotes set breakdown = jsonb_set(breakdown, '{0,label}', '\"Fine metal\"')")
    api.change("update ops.rate_cards set valid_to = now()")
    with api.engine.begin() as conn:
        assert requote.recompute(conn, quote_id).same


def test_a_quote_that_does_not_exist_is_refused(conn: Connection) -> None:
    with pytest.raises(NoSuchQuote):
        requote.recompute(conn, uuid4())


def test_both_sides_of_a_difference_are_told(shop: httpx.Client, api: Api) -> None:
    quote_id = ask(shop)
    api.change("update ops.quotes set total = 1")
    with api.engine.begin() as conn:
        found = requote.recompute(conn, quote_id)
    assert found.differences == (Difference("total", "amount", "1.00", str(found.now)),)


@pytest.fixture
def mes(api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[CliRunner]:
    """Runs commands on the API's database and object store."""
    monkeypatch.setenv("MES_DATABASE_URL", libpq_url(database_url))
    monkeypatch.setenv("MES_HOME", str(api.settings.home))
    config.load.cache_clear()
    yield CliRunner()
    config.load.cache_clear()


def test_the_command_says_that_a_quote_comes_out_to_the_cent(shop: httpx.Client, mes: CliRunner) -> None:
    quote_id = ask(shop)
    words, as_json = mes.invoke(app, ["requote", str(quote_id)]), mes.invoke(app, ["requote", str(quote_id), "--json"])
    assert (words.exit_code, as_json.exit_code) == (0, 0), words.output
    assert "It recomputes to the cent." in words.stdout
    said = json.loads(as_json.stdout)
    assert (said["same"], said["differences"], said["kernel_version"]) == (True, [], KERNEL_VERSION)


def test_the_command_measures_the_stored_model_again(shop: httpx.Client, mes: CliRunner) -> None:
    done = mes.invoke(app, ["requote", str(ask(shop)), "--measure"])
    assert done.exit_code == 0, done.output
    assert "measured again" in done.stdout


def test_the_command_names_what_comes_out_otherwise(shop: httpx.Client, mes: CliRunner, api: Api) -> None:
    quote_id = ask(shop)
    api.change("update ops.quotes set total = 1")
    done = mes.invoke(app, ["requote", str(quote_id)])
    assert done.exit_code == 1
    assert "total, amount: frozen 1.00, now " in done.stdout


def test_the_command_refuses_an_unknown_quote(mes: CliRunner) -> None:
    done = mes.invoke(app, ["requote", str(uuid4())])
    assert (done.exit_code, "No quote has this id" in done.stderr) == (2, True)

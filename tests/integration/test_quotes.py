"""Orders get their quotes, and move or wait accordingly."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from mes.orders import repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.pricing import quotes, rate_cards, rate_store
from mes.pricing.geometry import KERNEL_VERSION
from tests.orders import PLACED_AT, add_order

MODEL = "a" * 64
PERSON = Actor(System.MES, "Ada")
STONE = {"cut": "round", "size_mm": 2.0, "count": 5, "setting": "prong", "supplied_by": "workshop"}


def _model(conn: Connection, *, closed: bool = True, facing: str = "outward", volume: float = 1000.0) -> None:
    conn.execute(
        text("insert into ops.models (model_id, bytes, format, file_name) values (:id, 1, 'stl', 'cube.stl')"),
        {"id": MODEL},
    )
    conn.execute(
        text("""
            insert into ops.geometries (model_id, kernel_version, triangles, volume_mm3, area_mm2,
                extent_x_mm, extent_y_mm, extent_z_mm, bodies, closed, open_edges, facing)
            values (:id, :kernel, 12, :volume, 600, 10, 10, 10, 1, :closed, :open_edges, :facing)
        """),
        {
            "id": MODEL,
            "kernel": KERNEL_VERSION,
            "volume": volume,
            "closed": closed,
            "open_edges": 0 if closed else 3,
            "facing": facing,
        },
    )


def _item(conn: Connection, order_id: UUID, line: int = 1, **options: object) -> None:
    values = {"material": "silver925", "finish": "polished", "quantity": 1, "size": None, "stones": None} | options
    conn.execute(
        text("""
            insert into ops.order_items (order_id, line, model_id, material, finish, quantity, longest_side_mm, stones)
            values (:order_id, :line, :model, :material, :finish, :quantity, :size, cast(:stones as jsonb))
        """),
        {"order_id": order_id, "line": line, "model": MODEL, **values},
    )


def _quote(engine: Engine) -> quotes.Quoted:
    with engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        return quotes.quote_items(conn)


def test_a_submitted_order_is_priced_and_moves_on(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        order_id = add_order(conn)
        _item(conn, order_id)
        _item(conn, order_id, 2, material="gold750", quantity=3)
    quoted = _quote(marts_engine)
    assert (quoted.quotes, quoted.priced_orders, quoted.held_orders) == (2, 1, 0)
    with marts_engine.begin() as conn:
        order = repository.get(conn, order_id)
        rows = conn.execute(text("select * from ops.quotes order by line")).all()
    assert (order.status, order.version) == (Status.PRICE_CALCULATED, 2)
    for row in rows:
        assert sum(Decimal(line["amount"]) for line in row.breakdown) == row.total
        assert {"code", "label", "driver", "quantity", "unit", "rate", "amount"} == set(row.breakdown[0])
        assert row.valid_until > PLACED_AT
    # 1 cm3 of 925 silver at 10.36 g/cm3 holds 9.583 g of pure silver
    metal = next(line for line in rows[0].breakdown if "silver" in line["driver"])
    assert Decimal(metal["quantity"]) == pytest.approx(Decimal("9.583"), abs=Decimal("0.001"))


def test_pricing_again_changes_nothing(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        _item(conn, add_order(conn))
    _quote(marts_engine)
    again = _quote(marts_engine)
    assert (again.quotes, again.priced_orders) == (0, 0)


@pytest.mark.parametrize(
    ("geometry", "reason"),
    [({"closed": False}, "open at 3 edges"), ({"facing": "inward"}, "inside out"), ({"volume": 0.0}, "no price")],
)
def test_a_doubtful_price_holds_an_open_order(marts_engine: Engine, geometry: dict[str, object], reason: str) -> None:
    with marts_engine.begin() as conn:
        _model(conn, **geometry)  # type: ignore[arg-type]
        order_id = add_order(conn, status=Status.MANUFACTURING_APPROVED)
        _item(conn, order_id)
    assert _quote(marts_engine).held_orders == 1
    with marts_engine.begin() as conn:
        order = repository.get(conn, order_id)
    assert order.held
    assert reason in (order.hold_reason or "")


def test_a_finished_order_is_quoted_but_never_held(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn, closed=False)
        order_id = add_order(conn, status=Status.CLOSED)
        _item(conn, order_id)
    quoted = _quote(marts_engine)
    assert (quoted.quotes, quoted.held_orders) == (1, 0)
    with marts_engine.begin() as conn:
        assert repository.get(conn, order_id).version == 1


def test_each_order_is_priced_by_the_card_valid_when_it_was_placed(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        for year in (2012, 2018):
            _item(conn, add_order(conn, str(year), placed_at=datetime(year, 5, 1, tzinfo=UTC)), material="gold585")
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        used = conn.execute(
            text("""
                select orders.external_id, extract(year from rate_cards.valid_from)::int, quotes.total
                from ops.quotes join ops.orders using (order_id) join ops.rate_cards using (rate_card_id) order by 1
            """)
        ).all()
    assert [(row[0], row[1]) for row in used] == [("2012", 2012), ("2018", 2018)]
    # gold stood at 1,670 USD/ozt on average in 2012 and at 1,269 in 2018
    assert used[0][2] > used[1][2]


def test_an_order_from_before_the_first_card_waits_with_a_reason(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        order_id = add_order(conn, placed_at=datetime(2001, 1, 1, tzinfo=UTC))
        _item(conn, order_id)
    quoted = _quote(marts_engine)
    assert (quoted.quotes, quoted.held_orders, quoted.problems) == (0, 1, {"no_rate_card": 1})
    with marts_engine.begin() as conn:
        assert "mes rates load" in (repository.get(conn, order_id).hold_reason or "")


def test_a_changed_item_is_priced_again_and_said(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        order_id = add_order(conn)
        _item(conn, order_id)
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        conn.execute(text("update ops.order_items set material = 'gold750', quote_id = null"))
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        events = repository.events(conn, order_id)
        kept = conn.execute(text("select superseded_by is not null as old from ops.quotes order by created_at")).all()
    assert [event.type for event in events] == ["SUBMITTED", "PRICE_CALCULATED", "repriced"]
    assert Decimal(events[-1].data["total"]["to"]) > Decimal(events[-1].data["total"]["from"])  # type: ignore[index]
    assert [row.old for row in kept] == [True, False]


def test_stones_and_engraving_count(marts_engine: Engine) -> None:
    stones = [STONE]
    with marts_engine.begin() as conn:
        _model(conn)
        order_id = add_order(conn)
        _item(conn, order_id, stones=json.dumps(stones))
        _item(conn, order_id, 2)
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        with_stones, without = conn.execute(text("select total from ops.quotes order by line")).scalars()
    assert with_stones > without


def test_the_same_cards_again_are_the_same_rows(conn: Connection) -> None:
    cards = rate_cards.load_sample()
    assert rate_store.load(conn, cards) == len(cards)
    assert rate_store.load(conn, cards) == 0
    assert [card.version for card in rate_store.every(conn)] == [card.version for card in cards]


def test_a_quote_is_valid_for_the_days_that_its_card_says(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        _item(conn, add_order(conn))
    _quote(marts_engine)
    days = rate_cards.valid_at(rate_cards.load_sample(), PLACED_AT).terms.quote_valid_days
    with marts_engine.begin() as conn:
        (until,) = conn.execute(text("select valid_until from ops.quotes")).scalars()
    assert until == PLACED_AT + timedelta(days=days)


def test_as_many_as_are_worth_copying_are_priced_like_few(
    marts_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        for number in range(3):
            _item(conn, add_order(conn, str(number)), stones=json.dumps([STONE]))
    monkeypatch.setattr(quotes, "ROWS_WORTH_COPYING", 1)
    assert _quote(marts_engine).quotes == 3
    with marts_engine.begin() as conn:
        copied = conn.execute(text("select distinct total, breakdown::text, stones::text from ops.quotes")).one()
        conn.execute(text("update ops.order_items set quote_id = null"))
    monkeypatch.setattr(quotes, "ROWS_WORTH_COPYING", 10)
    assert _quote(marts_engine).quotes == 3
    with marts_engine.begin() as conn:
        rows = conn.execute(
            text("select total, breakdown::text, stones::text from ops.quotes where superseded_by is null")
        )
        assert [tuple(row) for row in rows] == [tuple(copied)] * 3


def test_a_price_beyond_what_is_kept_holds_its_order_and_no_other(marts_engine: Engine) -> None:
    """10,000 pieces of 600 mm in platinum: within what may be asked for one by one, some 5 billion tonnes together."""
    with marts_engine.begin() as conn:
        _model(conn)
        huge, usual = add_order(conn, "huge"), add_order(conn, "usual")
        _item(conn, huge, material="platinum950", quantity=10_000, size=600)
        _item(conn, usual)
    assert _quote(marts_engine).problems == {"too_large": 1}
    with marts_engine.begin() as conn:
        assert "larger than any" in (repository.get(conn, huge).hold_reason or "")
        assert repository.get(conn, usual).status is Status.PRICE_CALCULATED


@pytest.mark.parametrize("by_job", [True, False])
def test_an_order_that_was_held_before_its_price_goes_on_once_released(marts_engine: Engine, by_job: bool) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        rate_store.load(conn, rate_cards.load_sample())
        order_id = add_order(conn)
        _item(conn, order_id)
        service.hold(conn, order_id, PERSON, "look at it")
        quotes.quote_items(conn)
        assert repository.get(conn, order_id).status is Status.SUBMITTED
        service.release(conn, order_id, PERSON)
        assert conn.execute(text("select args ->> 'order_id' from procrastinate_jobs")).scalar_one() == str(order_id)
        quotes.quote_items(conn, [order_id] if by_job else None)
        assert repository.get(conn, order_id).status is Status.PRICE_CALCULATED


def test_an_order_priced_while_it_was_being_placed_goes_on_once_submitted(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        rate_store.load(conn, rate_cards.load_sample())
        order_id = add_order(conn, status=Status.INITIATED)
        _item(conn, order_id)
        quotes.quote_items(conn)
        service.transition(conn, order_id, Status.SUBMITTED, Actor(System.SHOP, "shop"))
        assert conn.execute(text("select args ->> 'order_id' from procrastinate_jobs")).scalar_one() == str(order_id)
        quotes.quote_items(conn, [order_id])
        assert repository.get(conn, order_id).status is Status.PRICE_CALCULATED

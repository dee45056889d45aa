"""Orders get their quotes, and move or wait accordingly."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from mes.orders import placing, repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from mes.pricing import geometry_store
from mes.pricing.geometry import KERNEL_VERSION, Fault, Geometry, Printing, ThinPlace, Walls
from mes.pricing.quotes import caller_quotes, order_quotes, quote_rows
from mes.pricing.quotes.caller_quotes import Quote, QuoteRequest
from mes.pricing.rates import rate_cards, rate_store
from tests.callers import SHOP, add_model, new_order
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


def _quote(engine: Engine) -> order_quotes.Quoted:
    with engine.begin() as conn:
        rate_store.load(conn, rate_cards.load_sample())
        return order_quotes.quote_items(conn)


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
    [
        ({"closed": False}, "item 1: 3 edges are open"),
        ({"facing": "inward"}, "inside out"),
        ({"volume": 0.0}, "no price"),
    ],
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
    monkeypatch.setattr(quote_rows, "ROWS_WORTH_COPYING", 1)
    assert _quote(marts_engine).quotes == 3
    with marts_engine.begin() as conn:
        copied = conn.execute(text("select distinct total, breakdown::text, stones::text from ops.quotes")).one()
        conn.execute(text("update ops.order_items set quote_id = null"))
    monkeypatch.setattr(quote_rows, "ROWS_WORTH_COPYING", 10)
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
        order_quotes.quote_items(conn)
        assert repository.get(conn, order_id).status is Status.SUBMITTED
        service.release(conn, order_id, PERSON)
        assert conn.execute(text("select args ->> 'order_id' from procrastinate_jobs")).scalar_one() == str(order_id)
        order_quotes.quote_items(conn, [order_id] if by_job else None)
        assert repository.get(conn, order_id).status is Status.PRICE_CALCULATED


def test_an_order_priced_while_it_was_being_placed_goes_on_once_submitted(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _model(conn)
        rate_store.load(conn, rate_cards.load_sample())
        order_id = add_order(conn, status=Status.INITIATED)
        _item(conn, order_id)
        order_quotes.quote_items(conn)
        service.transition(conn, order_id, Status.SUBMITTED, Actor(System.SHOP, "shop"))
        assert conn.execute(text("select args ->> 'order_id' from procrastinate_jobs")).scalar_one() == str(order_id)
        order_quotes.quote_items(conn, [order_id])
        assert repository.get(conn, order_id).status is Status.PRICE_CALCULATED


def _measured(conn: Connection, **measures: object) -> None:
    """A cube of 10 mm, measured by the kernel of today."""
    conn.execute(
        text("insert into ops.models (model_id, bytes, format, file_name) values (:id, 1, 'stl', 'cube.stl')"),
        {"id": MODEL},
    )
    cube: dict[str, object] = {
        "triangles": 12,
        "volume_mm3": 1000.0,
        "area_mm2": 600.0,
        "extents_mm": (10.0, 10.0, 10.0),
        "bodies": 1,
        "closed": True,
        "open_edges": 0,
        "facing": "outward",
        "box_mm": (10.0, 10.0, 10.0),
        "hull_mm3": 1000.0,
        "detail": 1.4,
        "printing": Printing(10.0, 0.0, 0.0, (0.0, 0.0, 1.0), (100.0,)),
    }
    geometry_store.keep(conn, MODEL, Geometry(**(cube | measures)))  # type: ignore[arg-type]


def _walls(thinnest_mm: float, share: float) -> Walls:
    """A share of the surface has the thinnest wall, the rest 3 mm."""
    places = (ThinPlace(thinnest_mm, (1.0, 2.0, 3.0)),)
    return Walls(((thinnest_mm, share), (thinnest_mm + 0.09, share), (3.0, 1.0)), places, 1000)


@pytest.mark.parametrize(
    ("share", "material", "size", "held"),
    [
        (0.5, "silver925", None, True),  # silver asks 0.8 mm
        (0.5, "gold585", None, False),  # gold 0.6 mm
        (0.5, "silver925", 20, False),  # twice the size, twice the wall
        (0.5, "gold585", 5, True),  # half of it
        (0.001, "silver925", None, False),  # an edge, no wall
    ],
)
def test_walls_of_0_7_mm_hold_an_order_for_which_they_are_too_thin(
    marts_engine: Engine, share: float, material: str, size: float | None, held: bool
) -> None:
    with marts_engine.begin() as conn:
        _measured(conn, walls=_walls(0.7, share))
        order_id = add_order(conn)
        _item(conn, order_id, material=material, size=size)
    assert _quote(marts_engine).held_orders == held
    with marts_engine.begin() as conn:
        order = repository.get(conn, order_id)
    assert (order.status, order.held) == (Status.PRICE_CALCULATED, held)
    assert ("wall under" in (order.hold_reason or "")) == held


def test_a_fault_that_was_healed_for_the_measurement_does_not_hold_an_order(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _measured(conn, facing="inward", faults=(Fault("inverted_bodies", 1, healed=True),))
        _item(conn, add_order(conn))
    assert _quote(marts_engine).held_orders == 0


def test_all_doubts_of_an_order_are_told_item_by_item(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        _measured(conn, walls=_walls(0.3, 0.5), closed=False, open_edges=2, faults=(Fault("open_edges", 2),))
        order_id = add_order(conn)
        _item(conn, order_id)
        _item(conn, order_id, 2, material="gold585")
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        reason = repository.get(conn, order_id).hold_reason or ""
    assert [(reason.count(f"item {line}: 2 edges"), reason.count(f"{line}: 5")) for line in (1, 2)] == [(1, 1), (1, 1)]


def test_prices_are_made_of_what_the_newer_kernel_measures(marts_engine: Engine) -> None:
    """The wax of a piece that is printed lying costs less than that of one that stands."""
    totals = []
    for height in (2.0, 10.0):
        with marts_engine.begin() as conn:
            conn.execute(text("truncate ops.quotes, ops.order_items, ops.geometries, ops.models cascade"))
            _measured(conn, printing=Printing(height, 0.0, 0.0, (0.0, 0.0, 1.0), (100.0,)))
            _item(conn, add_order(conn, str(height)))
        _quote(marts_engine)
        with marts_engine.begin() as conn:
            totals.append(conn.execute(text("select total from ops.quotes")).scalar_one())
    assert totals[0] < totals[1]


def test_an_order_placed_at_a_quote_costs_what_the_quote_says(marts_engine: Engine) -> None:
    """Whatever the rates are by the time it is priced."""
    with marts_engine.begin() as conn:
        model_id = add_model(conn)
        asked = {"model_id": model_id, "material": "gold585", "finish": "polished", "quantity": 1}
        quote = caller_quotes.request(conn, SHOP, QuoteRequest.model_validate(asked))
        assert isinstance(quote, Quote)
        item = {"material": "gold585", "quote_id": str(quote.quote_id)}
        placed = placing.place(conn, SHOP, new_order(item=item))
        dearer = rate_cards.load_sample()[-1]
        dearer = dearer.model_copy(update={"metals": dearer.metals.model_copy(update={"gold": Decimal(9999)})})
        rate_store.load(conn, [dearer])
    with marts_engine.begin() as conn:
        quoted = order_quotes.quote_items(conn, [placed.order_id])
    assert (quoted.quotes, quoted.priced_orders) == (0, 1)
    with marts_engine.begin() as conn:
        kept = conn.execute(text("select quote_id, total from ops.order_items join ops.quotes using (quote_id)")).one()
        assert repository.get(conn, placed.order_id).status is Status.PRICE_CALCULATED
    assert tuple(kept) == (quote.quote_id, quote.total)


def test_a_job_that_comes_twice_decides_nothing_twice(marts_engine: Engine) -> None:
    """Neither tells of a new price again, nor holds what a person has looked at and released."""
    with marts_engine.begin() as conn:
        _model(conn, closed=False)
        order_id = add_order(conn)
        _item(conn, order_id)
    _quote(marts_engine)
    with marts_engine.begin() as conn:
        service.release(conn, order_id, PERSON)
        conn.execute(text("update ops.order_items set material = 'gold750', quote_id = null"))
        order_quotes.quote_items(conn, [order_id])
        service.release(conn, order_id, PERSON)
        before = repository.events(conn, order_id)
        order_quotes.quote_items(conn, [order_id])
        assert repository.events(conn, order_id) == before
    assert [event.type for event in before].count("repriced") == 1

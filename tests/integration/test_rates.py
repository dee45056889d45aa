"""Rate cards are looked at before they count: drafts price nothing, and an activation changes no quote."""

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from mes.orders.life import Status
from mes.pricing import price_moves, rate_proposal
from mes.pricing.price_moves import MaterialMoves
from mes.pricing.quotes import order_quotes
from mes.pricing.rates import rate_cards, rate_store
from mes.pricing.rates.rate_card import RateCard
from mes.pricing.rates.rate_cards import with_metals
from tests.callers import MODEL, add_model
from tests.orders import add_order

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SAMPLE = rate_cards.load_sample()[-1]


def dearer(gold: str, start: date = date(2026, 1, 1)) -> RateCard:
    return with_metals(SAMPLE, {"gold": gold}, start)


def add_item(conn: Connection, order_id: UUID, **options: object) -> None:
    values = {"material": "silver925", "finish": "polished", "quantity": 1, "size": None} | options
    conn.execute(
        text("""
            insert into ops.order_items (order_id, line, model_id, material, finish, quantity, longest_side_mm)
            values (:order_id, 1, :model, :material, :finish, :quantity, :size)
        """),
        {"order_id": order_id, "model": MODEL, **values},
    )


def test_a_draft_is_kept_and_prices_nothing(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE])
    draft = dearer("5000", date(2026, 6, 1))

    assert rate_store.load(conn, [draft], draft=True) == 1
    assert rate_store.load(conn, [draft], draft=True) == 0
    assert [stored.card for stored in rate_store.drafts(conn)] == [draft]
    assert rate_store.id_valid_at(conn, NOW) == SAMPLE.version
    assert rate_store.every(conn) == rate_store.every_if_migrated(conn) == [SAMPLE]
    assert rate_store.by_id(conn, [draft.version]) == {}
    with pytest.raises(rate_store.NoSuchRateCard):
        rate_store.kept(conn, draft.version)


def test_only_drafts_leave_the_store_empty(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE], draft=True)
    assert rate_store.is_empty(conn)
    assert rate_store.id_valid_at(conn, NOW) is None


def test_an_activated_draft_counts_from_then_on(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE])
    draft = dearer("5000", date(2026, 6, 1))
    rate_store.load(conn, [draft], draft=True)

    assert rate_store.activate(conn, draft.version) == 1
    assert rate_store.id_valid_at(conn, NOW) == draft.version
    assert rate_store.drafts(conn) == []
    activated = rate_store.stored(conn, draft.version).activated_at

    assert rate_store.activate(conn, draft.version) == 0
    assert rate_store.stored(conn, draft.version).activated_at == activated


def test_loading_a_draft_again_activates_it(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE], draft=True)
    assert rate_store.load(conn, [SAMPLE]) == 0
    assert rate_store.id_valid_at(conn, NOW) == SAMPLE.version


def test_an_unknown_card_is_named_and_nothing_is_activated(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE], draft=True)
    with pytest.raises(rate_store.NoSuchRateCard, match=r"mes rates list.*rate_card=0123456789ab"):
        rate_store.activate(conn, SAMPLE.version, "0123456789ab")
    assert rate_store.is_empty(conn)


def test_a_draft_can_be_discarded_and_an_active_card_cannot(conn: Connection) -> None:
    draft = dearer("5000", date(2026, 6, 1))
    rate_store.load(conn, [SAMPLE])
    rate_store.load(conn, [draft], draft=True)

    rate_store.discard(conn, draft.version)
    with pytest.raises(rate_store.NoSuchRateCard):
        rate_store.discard(conn, draft.version)
    with pytest.raises(rate_store.NotADraft, match="takes its place"):
        rate_store.discard(conn, SAMPLE.version)
    assert rate_store.every(conn) == [SAMPLE]


def test_a_card_that_a_quote_names_stays_whatever_its_state(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
        add_item(conn, add_order(conn))
        order_quotes.quote_items(conn)
        conn.execute(
            text("update ops.rate_cards set activated_at = null where rate_card_id = :id"), {"id": SAMPLE.version}
        )
        with pytest.raises(rate_store.RateCardInUse):
            rate_store.discard(conn, SAMPLE.version)
        assert rate_store.stored(conn, SAMPLE.version).card == SAMPLE


def test_of_cards_that_overlap_the_one_that_began_last_holds_then_the_one_activated_last(conn: Connection) -> None:
    older, same_day, first = dearer("1", date(2026, 1, 1)), dearer("2", date(2026, 6, 1)), dearer("3", date(2026, 6, 1))
    rate_store.load(conn, [first])
    rate_store.load(conn, [same_day], draft=True)
    rate_store.load(conn, [older])
    assert rate_store.id_valid_at(conn, NOW) == first.version

    rate_store.activate(conn, same_day.version)
    assert rate_store.id_valid_at(conn, NOW) == same_day.version
    assert rate_store.every(conn) == [older, first, same_day]
    assert rate_cards.valid_at(rate_store.every(conn), NOW) == same_day


def test_a_card_takes_another_end_over(conn: Connection) -> None:
    ended = SAMPLE.model_copy(update={"valid_to": date(2026, 11, 22)})
    rate_store.load(conn, [SAMPLE])

    rate_store.load(conn, [ended], draft=True)  # as a draft, it leaves the active card alone
    assert rate_store.every(conn) == [SAMPLE]

    assert rate_store.load(conn, [ended]) == 0
    assert rate_store.every(conn) == [ended]
    assert rate_store.id_valid_at(conn, NOW) is None
    assert rate_store.id_valid_at(conn, NOW - timedelta(days=1)) == SAMPLE.version


def test_the_last_activation_is_known_to_sensors(conn: Connection) -> None:
    assert rate_store.last_activation(conn) is None
    first, second = dearer("1"), dearer("2", date(2020, 1, 1))
    rate_store.load(conn, [second], draft=True)
    rate_store.load(conn, rate_cards.load_sample())
    found = rate_store.last_activation(conn)
    assert found is not None
    assert found[0] == SAMPLE.version  # of those activated at once, the one that begins last

    rate_store.load(conn, [first])
    rate_store.activate(conn, second.version)
    last = rate_store.last_activation(conn)
    assert last is not None
    assert last[0] == second.version
    assert last[1] > found[1]


def test_changes_that_another_activation_made_old_are_refused(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE])
    seen = rate_store.last_activation(conn)
    rate_store.require_unmoved(conn, seen)
    rate_store.load(conn, [dearer("1")])
    with pytest.raises(rate_store.RatesMoved, match="look again"):
        rate_store.require_unmoved(conn, seen)


def test_activations_at_once_come_one_after_the_other(engine: Engine) -> None:
    cards = [dearer(str(gold)) for gold in range(1, 7)]
    with engine.begin() as conn:
        rate_store.load(conn, cards, draft=True)
    done: list[str] = []

    def activate(card: RateCard) -> None:
        with engine.begin() as conn:
            rate_store.activate(conn, card.version)
            done.append(card.version)  # others wait until this one has committed

    threads = [threading.Thread(target=activate, args=(card,)) for card in cards for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    order = list(dict.fromkeys(done))
    with engine.begin() as conn:
        assert [card.version for card in rate_store.every(conn)] == order
        assert rate_store.id_valid_at(conn, NOW) == order[-1]


def test_an_activation_in_the_past_changes_no_quote(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
        add_item(conn, add_order(conn, "quoted"))
        order_quotes.quote_items(conn)
        before = conn.execute(text("select * from ops.quotes")).all()

        rate_store.load(conn, [with_metals(SAMPLE, {"silver": "60"}, date(2026, 2, 1))])
        order_quotes.quote_items(conn)
        assert conn.execute(text("select * from ops.quotes")).all() == before
        assert rate_store.by_id(conn, [before[0].rate_card_id]) == {SAMPLE.version: SAMPLE}

        add_item(conn, add_order(conn, "quoted after"))  # placed on the same day as the first
        order_quotes.quote_items(conn)
        totals = conn.execute(text("select total from ops.quotes order by total")).all()
    assert [row.total for row in totals] == [Decimal("75.11"), Decimal("79.84")]  # by hand, see below


def of(material: str, moves: list[MaterialMoves]) -> MaterialMoves:
    return next(one for one in moves if one.material == material)


def test_prices_move_as_by_hand(conn: Connection) -> None:
    """A cube of 10 mm in silver, one piece, polished, for a retail customer, by the sample card of 2026.

    Mass 10.36 g. Work, whatever the metals cost: 313 layers x 0.9 s + 1000 / 9000 h = 681.7 s at 9.00/h 1.70; wax 1.6 g
    0.72; 14 x 14 x 14 mm of a flask's 357,356 mm3 0.02 + 0.50; 15 min at 42.00/h 10.50; 12 + 4 + 2.50 + 3.50: 35.44.
    Silver at 50 USD/ozt = 1.607537/g: 9.583 g 15.41, alloy 0.02, loss of 0.49728 g at 1.488472 0.74, sprue 0.12432 g
    0.19: 16.36. Cost 51.80, margin 23.31: 75.11 USD.
    Silver at 60 USD/ozt = 1.929045/g: 18.49, 0.02, 0.49728 g at 1.785867 0.89, 0.22: 19.62. Cost 55.06, margin 24.78:
    79.84 USD. 79.84 / 75.11 = 1.0630.
    """
    add_model(conn)
    add_item(conn, add_order(conn))
    pieces = price_moves.reference_pieces(conn)
    moves = price_moves.moves(pieces, SAMPLE, with_metals(SAMPLE, {"silver": "60"}, date(2026, 11, 22)))

    assert pieces.source == "open orders"
    silver, gold = of("silver925", moves), of("gold585", moves)
    (example,) = silver.examples
    assert (silver.pieces, silver.least, silver.median, silver.most) == (
        1,
        Decimal("6.3"),
        Decimal("6.3"),
        Decimal("6.3"),
    )
    assert (example.piece, example.old, example.new) == ("cube.stl", Decimal("75.11"), Decimal("79.84"))
    assert gold.least == gold.most == 0


def test_the_least_middle_and_most_moved_pieces_are_the_examples(conn: Connection) -> None:
    add_model(conn)
    for number, size in enumerate((5, 10, 20, 40, 80)):
        add_item(conn, add_order(conn, str(number)), size=size)
    silver = of(
        "silver925",
        price_moves.moves(
            price_moves.reference_pieces(conn), SAMPLE, with_metals(SAMPLE, {"silver": "60"}, date(2026, 11, 22))
        ),
    )
    assert silver.pieces == 5
    assert [example.percent for example in silver.examples] == [silver.least, silver.median, silver.most]
    # the larger a piece, the more of its price is metal; the price never moves by more than the metal, 20 %
    assert 0 < silver.least < silver.median < silver.most < 20  # type: ignore[operator]
    assert silver.examples[1].old > 75  # 20 mm, the third of five, costs more than the 10 mm above


def test_without_open_orders_the_latest_are_looked_at_and_without_any_built_in_pieces(conn: Connection) -> None:
    add_model(conn)
    assert "built-in" in price_moves.reference_pieces(conn).source
    add_item(conn, add_order(conn, status=Status.CLOSED))
    assert price_moves.reference_pieces(conn).source == "the latest orders"
    assert of("gold750", price_moves.moves(price_moves.reference_pieces(conn), SAMPLE, SAMPLE)).median == 0


def test_a_piece_that_has_no_price_is_left_out(conn: Connection) -> None:
    add_model(conn)
    conn.execute(text("update ops.geometries set volume_mm3 = 0"))
    add_item(conn, add_order(conn))
    moves = price_moves.moves(price_moves.reference_pieces(conn), SAMPLE, SAMPLE)
    assert {(one.pieces, one.median, one.examples) for one in moves} == {(0, None, ())}


def test_orders_that_a_new_price_can_still_reach_are_counted(conn: Connection) -> None:
    for number, status in enumerate(Status):
        add_order(conn, str(number), status=status)
    add_order(conn, "another", status=Status.PRICE_CALCULATED)
    found = price_moves.unapproved(conn)
    assert (found.priced, found.unpriced) == (2, 2)


def test_a_proposal_stores_nothing_and_says_what_would_hold(conn: Connection) -> None:
    rate_store.load(conn, [SAMPLE])
    next_year, today = dearer("4200", date(2027, 1, 1)), dearer("4300", date(2026, 11, 22))

    later = rate_proposal.propose(conn, [next_year], NOW)
    assert (later.shown.card, later.shown.against, later.in_force) == (next_year, SAMPLE, SAMPLE)
    both = rate_proposal.propose(conn, [today, next_year], NOW)
    assert (both.shown.card, both.in_force, both.is_news) == (today, today, True)
    assert rate_store.everything(conn)[0].card == SAMPLE
    assert len(rate_store.everything(conn)) == 1
    assert not rate_proposal.propose(conn, [SAMPLE], NOW).is_news


def test_cards_of_a_database_that_knows_no_drafts_are_read(conn: Connection) -> None:
    rate_store.load(conn, rate_cards.load_sample())
    conn.execute(text("alter table ops.rate_cards drop column activated_at cascade"))
    assert rate_store.every_if_migrated(conn) == rate_cards.load_sample()
    conn.execute(text("drop table ops.rate_cards cascade"))
    assert rate_store.every_if_migrated(conn) == []

"""A program that says that it is ready has priced a piece, where there are rates to price it by."""

from sqlalchemy import Connection

from mes.pricing.costs import single_prices
from mes.pricing.quotes import rehearsal
from mes.pricing.rates import rate_cards, rate_store


def test_the_first_customer_finds_todays_rates_at_hand(conn: Connection) -> None:
    single_prices._rates_of.cache_clear()
    rate_store.load(conn, rate_cards.load_sample())
    rehearsal.rehearse(conn)
    assert single_prices._rates_of.cache_info().currsize == 1
    assert conn.exec_driver_sql("select count(*) from ops.quotes").scalar_one() == 0


def test_a_workshop_that_sets_no_stones_has_rates_all_the_same(conn: Connection) -> None:
    single_prices._rates_of.cache_clear()
    plain = rate_cards.load_sample()[-1].model_copy(update={"settings": (), "stones": ()})
    rate_store.load(conn, [plain])
    rehearsal.rehearse(conn)
    assert single_prices._rates_of.cache_info().currsize == 1


def test_a_workshop_without_rates_is_ready_all_the_same(conn: Connection) -> None:
    rehearsal.rehearse(conn)

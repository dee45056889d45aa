"""No page of the order list reads more than it shows, whatever the filter and however many orders are finished."""

import re
from itertools import product
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text

from mes.lists import counts, open_search, order_list, refresher
from mes.lists.order_list import Filter, Key, Scope
from mes.orders.life import FINISHED_STATUSES, OPEN_STATUSES, Status
from tests.many_orders import BIG_CUSTOMER, CUSTOMERS, add_orders
from tests.plans import Work, work

FINISHED, OPEN = 40_000, 4_000
LOOKED_AT = 400
# a page of 25 shows that there is a next one by a 26th row. The planner may take an index that holds a few more than
# match, where those lie side by side: some times a page, never a share of the list
PAGE_READS = 6 * 26
SOME_READS = 8 * 26
FLAGS = (False, True)
TABS = (
    *(Filter(scope) for scope in (Scope.OPEN, *OPEN_STATUSES)),
    Filter(assigned_to="op3"),
    Filter(unassigned=True),
)
FINISHED_TABS = tuple(Filter(scope) for scope in (*FINISHED_STATUSES, Scope.ALL))


@pytest.fixture(scope="module")
def listed(module_marts_engine: Engine) -> Engine:
    """A long list, most of it finished."""
    with module_marts_engine.begin() as conn:
        add_orders(conn, finished=FINISHED, opened=OPEN)
    return module_marts_engine


@pytest.fixture
def conn(listed: Engine) -> Connection:
    """A transaction that nothing is left of."""
    with listed.connect() as connection, connection.begin() as transaction:
        yield connection
        transaction.rollback()


def _customer(conn: Connection) -> UUID:
    return conn.execute(
        text("select customer_id from ops.customers where external_id = :id"), {"id": BIG_CUSTOMER}
    ).scalar_one()


def _filters(conn: Connection) -> list[Filter]:
    """All that the console offers, without words."""
    tabs = [
        Filter(tab.scope, late=late, held=held, assigned_to=tab.assigned_to, unassigned=tab.unassigned)
        for tab, late, held in product(TABS, FLAGS, FLAGS)
    ]
    customer = _customer(conn)
    of_customer = [
        Filter(scope, late=late, held=held, customer_id=customer)
        for scope, late, held in product((Scope.OPEN, Scope.ALL), FLAGS, FLAGS)
    ]
    all_flagged = [Filter(Scope.ALL, late=late, held=held) for late, held in product(FLAGS, FLAGS)]
    return [*tabs, *FINISHED_TABS, *of_customer, *all_flagged]


def _assert_small(done: Work, chosen: Filter, *, rows: int, pages: int) -> None:
    assert done.rows <= rows, f"{chosen}\n{done.told()}"
    assert done.pages <= pages, f"{chosen}: {done.pages} pages\n{done.told()}"


def test_a_first_page_reads_its_rows_alone(conn: Connection) -> None:
    for chosen in _filters(conn):
        _assert_small(
            work(conn, lambda chosen=chosen: order_list.page(conn, chosen)), chosen, rows=PAGE_READS, pages=SOME_READS
        )


@pytest.mark.parametrize("flag", ["late", "held"])
def test_an_index_of_one_customer_or_status_is_never_read_for_all(conn: Connection, flag: str) -> None:
    """Statistics may take the flagged orders of a long list for one: then any index that holds them looks as good."""
    in_order = conn.execute(
        text(f"""
            select indexname from pg_indexes where schemaname = 'marts' and tablename = 'order_list'
                and indexdef like '%(latest_start_at, order_id) WHERE {flag}'
        """)
    ).scalar_one()
    conn.execute(text(f"drop index marts.{in_order}"))
    chosen = Filter(late=flag == "late", held=flag == "held")
    done = work(conn, lambda: order_list.page(conn, chosen))
    assert not re.search("customer|assigned|status", done.told()), done.told()


def test_a_page_deep_in_the_list_costs_what_the_first_does_both_ways(conn: Connection) -> None:
    for chosen in _filters(conn):
        deep = order_list.page(conn, chosen, rows=500).rows
        key = order_list.key_of(deep[-1], chosen) if deep else None
        if key is None:
            continue
        for turn in ({"after": key}, {"before": key}):
            done = work(conn, lambda chosen=chosen, turn=turn: order_list.page(conn, chosen, **turn))
            _assert_small(done, chosen, rows=PAGE_READS, pages=SOME_READS)


def test_newer_orders_are_counted_up_to_a_hundred(conn: Connection) -> None:
    for chosen in _filters(conn):
        deep = order_list.page(conn, chosen, rows=300).rows
        if not deep:
            continue
        key = order_list.key_of(deep[-1], chosen)
        done = work(conn, lambda chosen=chosen, key=key: order_list.newer(conn, chosen, key))
        _assert_small(done, chosen, rows=6 * order_list.MOST_NEWER, pages=6 * order_list.MOST_NEWER)


@pytest.mark.parametrize(
    "words",
    [("o0000123",), ("engrave",), ("c-17",), ("nothing-like-it",), ("en",), ("customer", "c-0"), ("c-17", "engrave")],
    ids="+".join,
)
def test_words_cost_a_look_at_the_first_rows_and_what_is_rare(
    conn: Connection, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr(open_search, "LOOKED_AT", LOOKED_AT)
    for tab in TABS:
        chosen = Filter(tab.scope, words=words, assigned_to=tab.assigned_to, unassigned=tab.unassigned)
        # the first rows, whether there are more, and those that the index knows: "engrave" is in a seventh of all
        # orders, and in none of most statuses
        most = 2 * LOOKED_AT + OPEN // 7 + SOME_READS
        _assert_small(work(conn, lambda chosen=chosen: order_list.page(conn, chosen)), chosen, rows=most, pages=most)


def test_a_word_in_each_order_reads_a_page_alone(conn: Connection) -> None:
    done = work(conn, lambda: order_list.page(conn, Filter(words=("customer",))))
    _assert_small(done, Filter(words=("customer",)), rows=PAGE_READS, pages=SOME_READS)


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        (("f0000123",), 2 * CUSTOMERS),
        (("f00",), 1_000),  # the beginning of most numbers: the first 200 are looked at
        (("c-17",), 3_500),
        (("customer",), 3_500),
        (("nothing-like-it",), 2 * CUSTOMERS),
        (("customer", "f0000"), 3_500),
    ],
)
def test_words_among_finished_orders_end_at_a_bound(conn: Connection, words: tuple[str, ...], rows: int) -> None:
    for tab in FINISHED_TABS:
        chosen = Filter(tab.scope, words=words)
        _assert_small(
            work(conn, lambda chosen=chosen: order_list.page(conn, chosen)), chosen, rows=rows, pages=4 * rows
        )


def test_counts_read_no_row_of_the_list(conn: Connection) -> None:
    done = work(conn, lambda: (counts.orders(conn, "op3"), counts.waiting(conn, "op3"), counts.queues(conn, ["op3"])))
    assert "order_list" not in done.told()
    assert done.rows < 1_000


def test_a_number_is_found_by_an_index(conn: Connection) -> None:
    done = work(conn, lambda: order_list.find(conn, "F0000123"))
    assert (done.rows, done.pages <= SOME_READS) == (1, True), done.told()


@pytest.mark.parametrize("orders", [1, 1_000])
def test_a_refresh_reads_the_orders_that_changed(conn: Connection, orders: int) -> None:
    newest = list(
        conn.execute(text("select order_id from ops.orders order by order_id desc limit :n"), {"n": orders}).scalars()
    )
    statement = text(f"select * from {refresher.VIEW} where order_id = any(cast(:ids as uuid[]))")
    done = work(conn, lambda: conn.execute(statement, {"ids": newest}).all())
    # the order, its customer, six steps of work; no items here
    assert done.rows <= 10 * orders, done.told()
    assert done.pages <= 20 * orders + 50


def test_what_is_open_costs_the_same_among_many_more_finished(conn: Connection) -> None:
    before = [work(conn, lambda chosen=chosen: order_list.page(conn, chosen)) for chosen in TABS]
    add_orders(conn, finished=FINISHED, prefix="M")
    after = [work(conn, lambda chosen=chosen: order_list.page(conn, chosen)) for chosen in TABS]
    assert [each.rows for each in after] == [each.rows for each in before]
    assert sum(each.pages for each in after) <= 1.2 * sum(each.pages for each in before)


def test_the_hundredth_page_is_reached_by_keys(conn: Connection) -> None:
    chosen, key = Filter(), None
    seen: set[UUID] = set()
    for _ in range(100):
        page = order_list.page(conn, chosen, after=key)
        seen |= {row.order_id for row in page.rows}
        key = order_list.key_of(page.rows[-1], chosen)
    assert len(seen) == 100 * order_list.PAGE_ROWS
    assert isinstance(key, Key)
    done = work(conn, lambda: order_list.page(conn, chosen, after=key))
    _assert_small(done, chosen, rows=PAGE_READS, pages=SOME_READS)
    assert all(row.status is not Status.CLOSED for row in order_list.page(conn, chosen, after=key).rows)

"""The order list shows what was committed, whatever happens between."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Engine, text

from mes.clock import utc_now
from mes.lists import refresher
from mes.orders import repository, service
from mes.orders.life import Status, System
from mes.orders.model import Actor
from tests.listed import differences, drain
from tests.orders import add_order

OPERATOR = Actor(System.MES, "Ada")
CRM = Actor(System.CRM, "sales")


def _work_through(engine: Engine, orders: list[UUID]) -> None:
    for order_id in orders:
        with engine.begin() as conn:
            service.transition(conn, order_id, Status.PRICE_CALCULATED, OPERATOR)
        with engine.begin() as conn:
            service.hold(conn, order_id, OPERATOR, "look")
        with engine.begin() as conn:
            service.release(conn, order_id, OPERATOR)
        with engine.begin() as conn:
            service.transition(conn, order_id, Status.MANUFACTURING_APPROVED, CRM)


def test_a_new_order_and_its_move_appear(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
    drain(marts_engine)
    with marts_engine.begin() as conn:
        service.transition(conn, order_id, Status.PRICE_CALCULATED, OPERATOR)
    assert differences(marts_engine) > 0
    assert drain(marts_engine) == 1
    assert differences(marts_engine) == 0
    with marts_engine.begin() as conn:
        assert refresher.backlog(conn) == 0
        listed = conn.execute(text("select status, version from marts.order_list")).one()
    assert tuple(listed) == ("PRICE_CALCULATED", 2)


def test_a_change_of_a_customer_marks_his_orders(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_order(conn)
    drain(marts_engine)
    with marts_engine.begin() as conn:
        conn.execute(text("update ops.customers set tier = 'vip'"))
    assert drain(marts_engine) == 1
    assert differences(marts_engine) == 0


def test_a_refresh_that_fails_leaves_the_marks(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_order(conn)
        waiting = refresher.backlog(conn)
    connection = marts_engine.connect()
    transaction = connection.begin()
    refresher.refresh_batch(connection)
    transaction.rollback()
    connection.close()
    with marts_engine.begin() as conn:
        assert refresher.backlog(conn) == waiting
    assert drain(marts_engine) == 1


def test_one_order_is_refreshed_by_one_worker_at_a_time(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
    first = marts_engine.connect()
    with first, first.begin():
        assert refresher.refresh_batch(first).orders == 1
        with marts_engine.begin() as conn:
            service.transition(conn, order_id, Status.PRICE_CALCULATED, OPERATOR)
        with marts_engine.begin() as second:
            assert refresher.refresh_batch(second).orders == 0
    assert drain(marts_engine) == 1
    assert differences(marts_engine) == 0


def test_what_i_just_did_is_in_the_list_before_the_refresher_comes(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
        refresher.refresh_now(conn, [order_id])
        assert conn.execute(text("select count(*) from marts.order_list")).scalar_one() == 1
    assert differences(marts_engine) == 0


def test_refreshers_wait_while_dbt_builds_the_list(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        add_order(conn)
    done = threading.Event()

    def refresh() -> None:
        drain(marts_engine)
        done.set()

    with marts_engine.begin() as dbt:
        dbt.execute(text("select pg_advisory_xact_lock(:key)"), {"key": refresher.REFRESH_LOCK})
        waiting = threading.Thread(target=refresh)
        waiting.start()
        assert not done.wait(0.5)
    waiting.join(timeout=10)
    assert done.is_set()
    assert differences(marts_engine) == 0


def test_orders_become_late_when_their_time_comes(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        now = utc_now()
        add_order(conn, "due", placed_at=now - timedelta(days=9), due_in=timedelta(days=8))
        add_order(conn, "not yet", placed_at=now - timedelta(days=9), due_in=timedelta(days=10))
        add_order(conn, "done", placed_at=now - timedelta(days=9), due_in=timedelta(days=8), status=Status.SHIPPED)
        assert refresher.flip_overdue(conn) == 1
        assert refresher.flip_overdue(conn) == 0
    drain(marts_engine)
    with marts_engine.begin() as conn:
        late = conn.execute(text("select external_id from marts.order_list where late")).scalars().all()
    assert late == ["due"]


def test_an_order_that_is_locked_becomes_late_the_next_time(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        placed_at = utc_now() - timedelta(days=9)
        locked, _ = (add_order(conn, number, placed_at=placed_at, due_in=timedelta(days=8)) for number in "ab")
    with marts_engine.begin() as other, marts_engine.begin() as conn:
        repository.lock(other, locked)
        conn.execute(text("set local lock_timeout = '5s'"))
        assert refresher.flip_overdue(conn) == 1
    with marts_engine.begin() as conn:
        assert refresher.flip_overdue(conn) == 1


def test_the_list_equals_the_view_after_workers_and_writers_raced(marts_engine: Engine) -> None:
    """Three refreshers against four writers of the same thirty orders; then what is left is merged."""
    with marts_engine.begin() as conn:
        orders = [add_order(conn, f"S-{number}") for number in range(30)]
    writing = threading.Event()
    writing.set()

    def refresh() -> None:
        while writing.is_set():
            with marts_engine.begin() as conn:
                refresher.refresh_batch(conn, limit=7)

    with ThreadPoolExecutor(7) as pool:
        refreshing = [pool.submit(refresh) for _ in range(3)]
        for done in [pool.submit(_work_through, marts_engine, orders[part::4]) for part in range(4)]:
            done.result()
        writing.clear()
        for done in refreshing:
            done.result()
    drain(marts_engine)
    assert differences(marts_engine) == 0

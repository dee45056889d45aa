"""The order list is true in the end, whoever dies, and is whole while dbt fills it anew."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from sqlalchemy import Engine, text

from ingest.loops import Refresh
from mes.db import engine as engines
from mes.lists import refresher
from mes.orders import repository, service
from mes.orders.life import System
from mes.orders.model import Actor
from mes.runtime.location import libpq_url
from tests.listed import assert_counted, differences, drain
from tests.many_orders import add_orders
from tests.orders import add_order

REPOSITORY = Path(__file__).resolve().parents[2]
OPERATOR = Actor(System.MES, "Ada")
KILLS = 50
_FORK = multiprocessing.get_context("fork")


def _refresh_for_ever(url: str) -> None:
    step = Refresh(engines.connect(url, application="doomed")).step
    while True:
        step()


@contextmanager
def _writing(engine: Engine, orders: list[UUID]) -> Iterator[None]:
    """Somebody holds, releases and notes orders all the time."""
    stopping = threading.Event()
    failures: list[Exception] = []

    def write() -> None:
        chance = random.Random(7)
        try:
            while not stopping.is_set():
                _change(engine, chance.choice(orders), chance.randrange(1_000_000))
        except Exception as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stopping.set()
        writer.join(timeout=30)
    assert not failures, failures


def _change(engine: Engine, order_id: UUID, number: int) -> None:
    with engine.begin() as conn:
        order = repository.lock(conn, order_id)
        if order.held:
            service.release(conn, order_id, OPERATOR)
        elif number % 3:
            service.hold(conn, order_id, OPERATOR, f"look {number}")
        else:
            operator = "Ada" if number % 2 else "Ben"
            conn.execute(
                text("update ops.orders set note = :note, assigned_to = :operator where order_id = :order_id"),
                {"note": f"note {number}", "operator": operator, "order_id": order_id},
            )


def test_a_refresher_that_is_killed_at_any_point_loses_no_change(marts_engine: Engine) -> None:
    chance = random.Random(42)
    with marts_engine.begin() as conn:
        orders = [add_order(conn, f"S-{number}") for number in range(40)]
    url = marts_engine.url.render_as_string(hide_password=False)
    with _writing(marts_engine, orders):
        for _ in range(KILLS // 2):
            doomed = [_FORK.Process(target=_refresh_for_ever, args=(url,), daemon=True) for _ in range(2)]
            for process in doomed:
                process.start()
            time.sleep(chance.uniform(0.02, 0.25))
            for process in doomed:
                os.kill(process.pid or 0, signal.SIGKILL)
                process.join(timeout=10)
    drain(marts_engine)
    assert differences(marts_engine) == 0
    assert_counted(marts_engine)
    with marts_engine.begin() as conn:
        assert conn.execute(text("select max(version) from marts.order_list")).scalar_one() > 2


def test_a_list_that_is_filled_anew_is_never_empty_nor_behind(marts_engine: Engine, tmp_path: Path) -> None:
    with marts_engine.begin() as conn:
        add_orders(conn, finished=5_000, opened=500)
        orders = [add_order(conn, f"S-{number}") for number in range(40)]
    drain(marts_engine)
    stopping = threading.Event()
    seen: list[int] = []
    merged_meanwhile: list[int] = []

    def refresh() -> None:
        step = Refresh(marts_engine).step
        while not stopping.is_set():
            step()
            with marts_engine.begin() as conn:
                seen.append(conn.execute(text("select count(*) from marts.order_list")).scalar_one())
                merged_meanwhile.append(conn.execute(text("select count(*) from ops.merged_orders")).scalar_one())
            time.sleep(0.02)  # dbt has work to do on the same two cores

    thread = threading.Thread(target=refresh)
    with _writing(marts_engine, orders):
        thread.start()
        _build_anew(marts_engine, tmp_path)
        stopping.set()
        thread.join(timeout=30)
    drain(marts_engine)
    assert set(seen) == {5_540}
    assert max(merged_meanwhile) > 0, "nothing was refreshed while dbt built"
    assert differences(marts_engine) == 0
    assert_counted(marts_engine)


def test_what_is_searched_and_counted_is_made_anew_when_it_is_made_otherwise(
    marts_engine: Engine, tmp_path: Path
) -> None:
    """As after an update of the project that changes neither the list nor its view."""
    with marts_engine.begin() as conn:
        add_orders(conn, finished=20, opened=30)
    drain(marts_engine)
    with marts_engine.begin() as conn:
        conn.execute(text("comment on function marts.keep_open_search() is 'of before'"))
        conn.execute(text("comment on function marts.count_order_list() is 'of before'"))
        conn.execute(text("delete from marts.open_search"))
        conn.execute(text("delete from ops.list_counts"))
    assert differences(marts_engine) == 30
    _build(marts_engine, tmp_path, "--merge")
    assert differences(marts_engine) == 0
    assert_counted(marts_engine)


def test_a_deleted_order_leaves_the_list(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
    drain(marts_engine)
    with marts_engine.begin() as conn:
        conn.execute(text("delete from ops.orders where order_id = :order_id"), {"order_id": order_id})
    drain(marts_engine)
    assert differences(marts_engine) == 0
    assert_counted(marts_engine)


def test_my_change_waits_a_moment_for_dbt_rather_than_stay_unseen(marts_engine: Engine) -> None:
    with marts_engine.begin() as conn:
        order_id = add_order(conn)
    merging = marts_engine.connect()
    merging.begin()
    merging.execute(text("select pg_advisory_xact_lock(:key)"), {"key": refresher.REFRESH_LOCK})
    threading.Timer(0.3, merging.close).start()
    with marts_engine.begin() as conn:
        refresher.refresh_now(conn, [order_id])
        assert conn.execute(text("select count(*) from marts.order_list")).scalar_one() == 1


def _build_anew(engine: Engine, home: Path) -> None:
    _build(engine, home, "--full")


def _build(engine: Engine, home: Path, how: str) -> None:
    url = libpq_url(engine.url.render_as_string(hide_password=False))
    environment = {**os.environ, "MES_DATABASE_URL": url, "MES_HOME": str(home)}
    argv = [sys.executable, "-m", "pipelines.build_read_models", how]
    subprocess.run(argv, cwd=REPOSITORY, env=environment, check=True, stdin=subprocess.DEVNULL, timeout=240)

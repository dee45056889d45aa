"""Workers price what is submitted, take over from those that are killed, and share the work."""

import ctypes
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from procrastinate.exceptions import ConnectorException
from sqlalchemy import Engine, text

from ingest import worker
from ingest.api import examples
from mes.jobs import queue
from mes.jobs.names import Priority
from mes.models import measuring, pending, uploads
from mes.models.store import ObjectStore
from mes.observability.database_gauges import DatabaseGauges
from mes.orders import placing, placing_many, repository
from mes.orders.life import Status
from mes.orders.placing import Placed
from mes.people import users
from mes.people.model import Role
from tests.callers import SHOP, add_model, new_order
from tests.faults import clock
from tests.processes import running, running_worker

LIMIT_S = 30.0


def _place(engine: Engine, number: str, **changes: object) -> UUID:
    with engine.begin() as conn:
        return placing.place(conn, SHOP, new_order(number, **changes)).order_id


def _eventually(holds: Callable[[], bool]) -> float:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > LIMIT_S:
            raise AssertionError("it did not come about in time")
        time.sleep(0.05)
    return time.monotonic() - began


def _priced(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(conn.execute(text("select count(*) from ops.orders where status = 'PRICE_CALCULATED'")).scalar_one())


def _listed(engine: Engine) -> tuple[object, ...]:
    with engine.begin() as conn:
        row = conn.execute(text("select status, assigned_to, total is not null from marts.order_list")).one_or_none()
        return tuple(row or ())


def _events(engine: Engine, order_id: UUID) -> list[str]:
    with engine.begin() as conn:
        return [event.type for event in repository.events(conn, order_id)]


def test_a_submitted_order_is_priced_given_to_an_operator_and_listed(marts_engine: Engine, tmp_path: Path) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
        users.create(conn, "Vera", Role.OPERATOR, "a good long password")
    with running_worker(marts_engine.url.render_as_string(hide_password=False), tmp_path):
        order_id = _place(marts_engine, "S-1")
        _eventually(lambda: _listed(marts_engine) == ("PRICE_CALCULATED", "Vera", True))
    with marts_engine.begin() as conn:
        order = repository.get(conn, order_id)
    assert (order.status, order.version) == (Status.PRICE_CALCULATED, 3)
    assert _events(marts_engine, order_id) == ["SUBMITTED", "PRICE_CALCULATED", "assigned"]


def test_a_worker_ends_whichever_of_its_threads_gets_the_signal(marts_engine: Engine, tmp_path: Path) -> None:
    # as the kernel does it when SIGTERM comes just after SIGCONT: the main thread is not woken
    url = marts_engine.url.render_as_string(hide_password=False)
    with running_worker(url, tmp_path, "refresh") as running_one:
        pid = running_one.process.pid
        other = max(int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir())
        assert other != pid
        assert ctypes.CDLL(None).tgkill(pid, other, int(signal.SIGTERM)) == 0
        assert running_one.process.wait(LIMIT_S) == 0


def test_a_doubtful_order_waits_for_a_person(marts_engine: Engine, tmp_path: Path) -> None:
    with marts_engine.begin() as conn:
        add_model(conn, closed=False)
    with running_worker(marts_engine.url.render_as_string(hide_password=False), tmp_path, "pricing"):
        order_id = _place(marts_engine, "S-1")
        _eventually(lambda: len(_events(marts_engine, order_id)) == 3)
    assert _events(marts_engine, order_id) == ["SUBMITTED", "PRICE_CALCULATED", "held"]


@pytest.mark.slow
def test_a_killed_workers_job_is_done_by_another(marts_engine: Engine, tmp_path: Path) -> None:
    """The first one has the job in its hands when it is killed: it waits for a table that is locked."""
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        add_model(conn)
    with ExitStack() as stack:
        first = stack.enter_context(running_worker(url, tmp_path / "first", "pricing"))
        with marts_engine.connect() as other, other.begin():
            other.execute(text("lock table ops.quotes in share mode"))
            order_id = _place(marts_engine, "S-1")
            _eventually(lambda: _doing(marts_engine) == 1)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        stack.enter_context(running_worker(url, tmp_path / "second", "pricing"))
        _eventually(lambda: _priced(marts_engine) == 1)
    assert _events(marts_engine, order_id) == ["SUBMITTED", "PRICE_CALCULATED"]


def test_a_killed_workers_job_is_taken_up_in_time_by_one_whose_clock_is_an_hour_ahead(
    marts_engine: Engine, tmp_path: Path
) -> None:
    library = clock.build(tmp_path)
    if library is None:
        pytest.skip("there is no C compiler, by which a program's clock is set wrong")
    ahead = clock.ProgramClock(tmp_path / "clock", library)
    ahead.set_wrong(3_600)
    with marts_engine.begin() as conn:
        add_model(conn)
    url = marts_engine.url.render_as_string(hide_password=False)
    argv = ["-m", "ingest.worker", "--roles", "pricing"]
    with ExitStack() as stack:
        first = stack.enter_context(running_worker(url, tmp_path / "first", "pricing"))
        with marts_engine.connect() as other, other.begin():
            other.execute(text("lock table ops.quotes in share mode"))
            _place(marts_engine, "S-1")
            _eventually(lambda: _doing(marts_engine) == 1)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        stack.enter_context(running(argv, url, tmp_path / "second", MES_WORKER_PORT="{port}", **ahead.environment))
        _eventually(lambda: _priced(marts_engine) == 1)


def test_a_worker_ends_in_time_though_its_job_waits(marts_engine: Engine, tmp_path: Path) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
    url = marts_engine.url.render_as_string(hide_password=False)
    with (
        running_worker(url, tmp_path, "pricing") as running,
        marts_engine.connect() as other,
        other.begin(),
    ):
        other.execute(text("lock table ops.quotes in share mode"))
        _place(marts_engine, "S-1")
        _eventually(lambda: _doing(marts_engine) == 1)
        running.process.terminate()
        running.process.wait(timeout=LIMIT_S)  # the lock is still held


def test_an_order_that_cannot_be_priced_is_held_and_others_go_on(marts_engine: Engine, tmp_path: Path) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
    poison = _place(marts_engine, "poison")
    with marts_engine.begin() as conn:  # what no caller could have said
        conn.execute(text("update ops.order_items set engraving = '[]'"))
    _place(marts_engine, "good")
    with running_worker(marts_engine.url.render_as_string(hide_password=False), tmp_path, "pricing"):
        _eventually(lambda: _priced(marts_engine) == 1)
        _eventually(lambda: _events(marts_engine, poison) == ["SUBMITTED", "held"])
    with marts_engine.begin() as conn:
        assert "could not be computed" in (repository.get(conn, poison).hold_reason or "")


def test_orders_that_came_together_are_priced_by_few_jobs_though_one_of_them_cannot_be(
    marts_engine: Engine, tmp_path: Path
) -> None:
    with marts_engine.begin() as conn:
        add_model(conn)
        together = placing_many.place_many(conn, SHOP, [new_order(f"B-{number}") for number in range(25)])
        poison = next(placed.order_id for placed in together if isinstance(placed, Placed))
        conn.execute(text("update ops.order_items set engraving = '[]' where order_id = :id"), {"id": poison})
        jobs = conn.execute(text("select jsonb_array_length(args -> 'order_ids') from procrastinate_jobs order by id"))
        assert sorted(jobs.scalars()) == [5, 10, 10]
    url = marts_engine.url.render_as_string(hide_password=False)
    samples = [sample for family in DatabaseGauges(url).collect() for sample in family.samples]
    queued = {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == "mes_queue_jobs"}
    assert queued["pricing", "waiting"] == 25
    with running_worker(url, tmp_path, "pricing"):
        _eventually(lambda: _priced(marts_engine) == 24)
        _eventually(lambda: _events(marts_engine, poison) == ["SUBMITTED", "held"])


def test_a_role_goes_on_however_often_it_failed() -> None:
    tries, stopping = 0, threading.Event()

    def fail() -> bool:
        nonlocal tries
        tries += 1
        if tries == 1_100:
            stopping.set()
        raise ConnectorException

    worker.run(worker.Role("refresh", fail, 1e-9), stopping, lambda: None)
    assert tries == 1_100


def _doing(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(conn.execute(text("select count(*) from procrastinate_jobs where status = 'doing'")).scalar_one())


@pytest.mark.slow
def test_two_workers_price_sixty_orders_once_each(marts_engine: Engine, tmp_path: Path) -> None:
    url = marts_engine.url.render_as_string(hide_password=False)
    with marts_engine.begin() as conn:
        add_model(conn)
    with running_worker(url, tmp_path / "first"), running_worker(url, tmp_path / "second"):
        for number in range(60):
            _place(marts_engine, f"S-{number}")
        _eventually(lambda: _priced(marts_engine) == 60)
        _eventually(lambda: _left(marts_engine) == 0)
    with marts_engine.begin() as conn:
        events = conn.execute(
            text(
                "select count(*), count(distinct (order_id, sequence)), count(distinct (order_id, type)) "
                "from ops.order_events"
            )
        ).one()
        quotes = conn.execute(text("select count(*) from ops.quotes")).scalar_one()
        differing = conn.execute(
            text("""
                select count(*) from marts.order_list_live full join marts.order_list as listed using (order_id)
                where listed.version is distinct from order_list_live.version
            """)
        ).scalar_one()
    assert tuple(events) == (120, 120, 120)
    assert quotes == 60
    assert differing == 0


def _left(engine: Engine) -> int:
    with engine.begin() as conn:
        return int(
            conn.execute(
                text("select (select count(*) from ops.dirty_orders) + (select count(*) from procrastinate_jobs)")
            ).scalar_one()
        )


@pytest.mark.slow
def test_who_waits_goes_before_what_nobody_waits_for(marts_engine: Engine, tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    ids = [_stored(store, tmp_path, number) for number in range(4)]
    with marts_engine.begin() as conn:
        for model_id in ids[:3]:
            queue.measure_model(conn, model_id, Priority.BACKFILL)
        queue.measure_model(conn, ids[3])
    with running_worker(_url(marts_engine), tmp_path, "pricing"):
        _eventually(lambda: _left(marts_engine) == 0)
    with marts_engine.begin() as conn:
        measured = conn.execute(text("select model_id from ops.geometries order by measured_at")).scalars().all()
    assert measured == [ids[3], *ids[:3]]


@pytest.mark.slow
def test_orders_are_priced_while_a_model_takes_its_time(marts_engine: Engine, tmp_path: Path) -> None:
    model_id = _stored(ObjectStore(str(tmp_path / "objects")), tmp_path, 1)
    with marts_engine.begin() as conn:
        add_model(conn)
        queue.measure_model(conn, model_id)
    with ExitStack() as stack:
        other = stack.enter_context(marts_engine.connect())
        measuring.take_turn(other, model_id)  # as another process that measures it
        stack.enter_context(running_worker(_url(marts_engine), tmp_path, "pricing"))
        _eventually(lambda: _doing(marts_engine) == 1)
        _place(marts_engine, "S-1")
        _eventually(lambda: _priced(marts_engine) == 1)
        assert _known(marts_engine, model_id) == 0
        measuring.end_turn(other, model_id)
        _eventually(lambda: _known(marts_engine, model_id) == 1)


@pytest.mark.slow
def test_a_model_that_a_killed_worker_measured_is_measured_by_another(marts_engine: Engine, tmp_path: Path) -> None:
    store = ObjectStore(str(tmp_path / "objects"))
    model_id = _stored(store, tmp_path, 1)
    with marts_engine.begin() as conn:
        pending.remember(conn, SHOP, model_id, 100)
    with ExitStack() as stack:
        with marts_engine.connect() as other, other.begin():
            other.execute(text("lock table ops.models in share mode"))  # it measures, and cannot keep it
            first = stack.enter_context(running_worker(_url(marts_engine), tmp_path, "pricing"))
            _eventually(lambda: _doing(marts_engine) == 1)
            first.process.send_signal(signal.SIGKILL)
            first.process.wait()
        stack.enter_context(running_worker(_url(marts_engine), tmp_path, "pricing"))
        _eventually(lambda: _left(marts_engine) == 0)
    with marts_engine.begin() as conn:
        assert uploads.get(conn, SHOP, model_id).geometry.triangles == 4
        assert pending.get(conn, SHOP, model_id) is None


def _url(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def _stored(store: ObjectStore, folder: Path, number: int) -> str:
    """A model whose bytes are there, and nothing else."""
    file = folder / "model.obj"
    file.write_text(f"# {number}\n{examples.OBJ}")
    return store.put_model(file).sha256


def _known(engine: Engine, model_id: str) -> int:
    with engine.begin() as conn:
        found = conn.execute(text("select count(*) from ops.geometries where model_id = :id"), {"id": model_id})
        return int(found.scalar_one())

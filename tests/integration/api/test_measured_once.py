"""A model is measured once, however many send it at the same time, and to however many processes."""

import asyncio
import signal
import threading
import time
from collections import Counter
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from math import cos, pi, sin
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from sqlalchemy import Engine

from ingest.api.uploads import Bench
from ingest.measuring import Outcome
from mes.callers.model import Scope
from mes.db import query
from mes.models import measuring
from mes.models.errors import NotAMesh
from tests.api_server import Api, on_database, wait_for
from tests.processes import Program, running_api

LIMIT_S = 60.0
Result = TypeVar("Result")


def ball(rings: int) -> bytes:
    """A closed OBJ that takes a while: a ball of about 4 x `rings` squared triangles."""
    around = 2 * rings
    lines = ["v 0 0 10", "v 0 0 -10"]
    for ring in range(1, rings):
        tilt = pi * ring / rings
        for step in range(around):
            turn = 2 * pi * step / around
            lines.append(f"v {10 * sin(tilt) * cos(turn):.6f} {10 * sin(tilt) * sin(turn):.6f} {10 * cos(tilt):.6f}")
    for step in range(around):
        after = (step + 1) % around
        lines.append(f"f 1 {3 + step} {3 + after}")
        last = 3 + (rings - 2) * around
        lines.append(f"f 2 {last + after} {last + step}")
        for ring in range(rings - 2):
            here, below = 3 + ring * around, 3 + (ring + 1) * around
            lines.append(f"f {here + step} {below + step} {below + after}")
            lines.append(f"f {here + step} {below + after} {here + after}")
    return "\n".join(lines).encode()


def measured(*programs: Program) -> int:
    """How often a model was measured, as the programs logged it."""
    return sum(program.log.read_text().count("model measured") for program in programs)


def client_of(program: Program, key: str) -> httpx.Client:
    return httpx.Client(
        base_url=program.url, headers={"authorization": f"Bearer {key}"}, timeout=LIMIT_S, trust_env=False
    )


@pytest.mark.slow
def test_twenty_uploads_to_two_processes_are_one_measurement(database_url: str, tmp_path: Path) -> None:
    model = ball(60)
    with (
        on_database(database_url) as engine,
        running_api(database_url, tmp_path, MES_LOG_LEVEL="INFO") as one,
        running_api(database_url, tmp_path, MES_LOG_LEVEL="INFO") as two,
    ):
        api = Api(one.url, engine, None, [])  # type: ignore[arg-type]
        keys = [api.key(name, Scope.PARTNER) for name in ("first", "second")]
        clients = [client_of(program, key) for program in (one, two) for key in keys]

        def send(number: int) -> httpx.Response:
            return clients[number % 4].post("/v1/models", content=model)

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(send, range(20)))
        assert Counter(answer.status_code for answer in answers) == {201: 2, 200: 18}
        assert len({answer.content for answer in answers}) == 1
        assert measured(one, two) == 1
        for client in clients:
            client.close()


@pytest.mark.slow
def test_when_the_one_who_measures_is_killed_the_next_one_does(database_url: str, tmp_path: Path) -> None:
    model = ball(300)
    with (
        on_database(database_url) as engine,
        running_api(database_url, tmp_path, MES_UPLOAD_PATIENCE_S="60") as one,
        running_api(database_url, tmp_path, MES_UPLOAD_PATIENCE_S="60", MES_LOG_LEVEL="INFO") as two,
    ):
        key = Api(one.url, engine, None, []).key("first", Scope.PARTNER)  # type: ignore[arg-type]
        with client_of(one, key) as doomed, client_of(two, key) as patient, ThreadPoolExecutor(2) as pool:
            lost = pool.submit(doomed.post, "/v1/models", content=model)
            wait_for(lambda: turns(engine) == 1)
            one.process.send_signal(signal.SIGSTOP)  # it keeps its turn for as long as it lives
            answer = pool.submit(patient.post, "/v1/models", content=model)
            time.sleep(1.0)
            assert (answer.done(), measured(two)) == (False, 0)
            one.process.send_signal(signal.SIGKILL)
            assert answer.result(LIMIT_S).status_code == 201
            assert isinstance(lost.exception(LIMIT_S), httpx.TransportError)
        assert measured(two) == 1


def turns(engine: Engine) -> int:
    """How many models are being measured, by whomever."""
    with engine.begin() as conn:
        return query.number(
            conn,
            """
                select count(*) from pg_locks join pg_database on pg_database.oid = pg_locks.database
                where locktype = 'advisory' and granted and datname = current_database()
            """,
        )


def test_a_turn_is_one_connections_alone(engine: Engine) -> None:
    with engine.connect() as ours, engine.connect() as theirs:
        assert measuring.take_turn(ours, "a" * 64)
        assert not measuring.take_turn(theirs, "a" * 64)
        assert measuring.take_turn(theirs, "b" * 64)
        measuring.end_turn(ours, "a" * 64)
        assert measuring.take_turn(theirs, "a" * 64)


def test_a_load_waits_for_its_turns_and_gives_them_back_with_its_transaction(engine: Engine) -> None:
    done = threading.Event()

    def load() -> None:
        with engine.begin() as conn:
            measuring.await_turns(conn, ["b" * 64, "a" * 64])
            done.set()

    with engine.connect() as ours:
        measuring.take_turn(ours, "a" * 64)
        loading = threading.Thread(target=load)
        loading.start()
        assert not done.wait(0.3)
        measuring.end_turn(ours, "a" * 64)
        loading.join(LIMIT_S)
    assert done.is_set()
    assert turns(engine) == 0


class Attempts:
    """Stands for measuring, which takes a while and is counted."""

    def __init__(self, *outcomes: Outcome | Exception, takes_s: float = 0.1) -> None:
        self.outcomes, self.takes_s, self.made = list(outcomes), takes_s, 0

    def __call__(self, _seconds: float) -> Outcome:
        self.made += 1
        time.sleep(self.takes_s)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def in_a_loop(work: Coroutine[None, None, Result]) -> Result:
    """What comes of it in a loop and thread of its own: a browser of an earlier test may run one in this thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def room(tmp_path: Path, patience_s: float = 10.0) -> Bench:
    return Bench(tmp_path, 1_000_000, patience_s)


async def everyone(bench: Bench, attempts: Attempts, senders: int = 20) -> list[object]:
    return await asyncio.gather(*(bench.measure("m", attempts) for _ in range(senders)), return_exceptions=True)


def test_all_who_wait_in_a_process_get_what_one_attempt_gave(tmp_path: Path) -> None:
    attempts = Attempts(Outcome.MEASURED)
    assert in_a_loop(everyone(room(tmp_path), attempts)) == [True] * 20
    assert attempts.made == 1


def test_a_refusal_is_for_all_who_wait(tmp_path: Path) -> None:
    attempts = Attempts(NotAMesh())
    refusals = in_a_loop(everyone(room(tmp_path), attempts))
    assert {type(refusal) for refusal in refusals} == {NotAMesh}
    assert attempts.made == 1


def test_one_who_waits_for_another_process_looks_again(tmp_path: Path) -> None:
    attempts = Attempts(Outcome.TAKEN, Outcome.TAKEN, Outcome.MEASURED, takes_s=0)
    assert in_a_loop(everyone(room(tmp_path), attempts)) == [True] * 20
    assert attempts.made == 3


def test_patience_ends(tmp_path: Path) -> None:
    began = time.monotonic()
    assert in_a_loop(everyone(room(tmp_path, 0.5), Attempts(Outcome.TAKEN, takes_s=0))) == [False] * 20
    assert 0.3 < time.monotonic() - began < 5


def test_nobody_waits_longer_than_he_has_patience_for_one_who_measures(tmp_path: Path) -> None:
    async def two() -> list[bool]:
        slow, hasty = room(tmp_path, 10), room(tmp_path, 0.2)
        hasty._running = slow._running  # the same process, with less patience
        first = asyncio.create_task(slow.measure("m", Attempts(Outcome.MEASURED, takes_s=1)))
        await asyncio.sleep(0)
        return [await hasty.measure("m", Attempts(Outcome.MEASURED)), await first]

    assert in_a_loop(two()) == [False, True]


def test_when_the_first_one_goes_away_the_next_one_measures(tmp_path: Path) -> None:
    async def leave() -> tuple[bool, int]:
        bench, attempts = room(tmp_path), Attempts(Outcome.TAKEN, Outcome.MEASURED, takes_s=0)
        first = asyncio.create_task(bench.measure("m", attempts))
        second = asyncio.create_task(bench.measure("m", attempts))
        await asyncio.sleep(0.02)  # the first one has looked once, and sleeps
        first.cancel()
        return await second, attempts.made

    assert in_a_loop(leave()) == (True, 2)

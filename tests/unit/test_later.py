"""What is done a moment later is done once, in order and in its own context, whatever becomes of the rest."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from mes.observability import later, logs
from mes.observability.later import Later

THREADS, EACH, AT_ONCE = 8, 500, 10

pytestmark = pytest.mark.usefixtures("restored_logging")


def test_all_is_handed_on_without_asking() -> None:
    handed_on, all_there = list[int](), threading.Event()

    def hand_on(numbers: Sequence[int]) -> None:
        handed_on.extend(numbers)
        if len(handed_on) == AT_ONCE - 1:
            all_there.set()

    taken = Later[int]("test", hand_on, AT_ONCE)
    for number in range(AT_ONCE - 1):
        taken.put(number)
    assert all_there.wait(10)
    assert handed_on == list(range(AT_ONCE - 1))


def test_so_many_are_handed_on_at_once() -> None:
    handed_on = list[Sequence[int]]()
    taken = Later[int]("test", handed_on.append, AT_ONCE)
    began = time.monotonic()
    for number in range(AT_ONCE):
        taken.put(number)
    assert [number for part in handed_on for number in part] == list(range(AT_ONCE)) or time.monotonic() - began > 0.1


def test_of_many_threads_each_is_handed_on_once() -> None:
    handed_on = list[tuple[int, int]]()
    taken = Later[tuple[int, int]]("test", handed_on.extend, AT_ONCE)

    def put(thread: int) -> None:
        for number in range(EACH):
            taken.put((thread, number))

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(put, range(THREADS)))
    taken.flush()
    assert len(handed_on) == THREADS * EACH
    for thread in range(THREADS):
        assert [number for of, number in handed_on if of == thread] == list(range(EACH))


def test_what_is_asked_for_is_done_together() -> None:
    done = list[Sequence[int]]()
    for number in range(3):
        later.do(done.append, number)
        later.do(fail, number)
    later.flush()
    assert done in ([[0, 1, 2]], [[0], [1, 2]], [[0, 1], [2]])  # a moment may end between them


def test_work_that_fails_is_logged_and_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    done = list[Sequence[str]]()
    later.flush()
    later.do(fail, "one")
    later.do(done.append, "after")
    later.flush()
    assert done == [["after"]]
    assert "of no use" in capsys.readouterr().err


def fail(_: object) -> None:
    raise ValueError("of no use")

"""What is done a moment later is done once, in order, whatever becomes of the rest."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from mes.observability import later, logs

THREADS, EACH = 8, 500

pytestmark = pytest.mark.usefixtures("restored_logging")


def test_all_is_done_without_asking() -> None:
    done, all_done = list[int](), threading.Event()

    def note(numbers: Sequence[int]) -> None:
        done.extend(numbers)
        if len(done) == EACH:
            all_done.set()

    for number in range(EACH):
        later.do(note, number)
    assert all_done.wait(10)
    assert done == list(range(EACH))


def test_of_many_threads_all_is_done_once_without_asking() -> None:
    done = list[tuple[int, int]]()

    def ask(thread: int) -> None:
        for number in range(EACH):
            later.do(note, (thread, number))

    def note(pairs: Sequence[tuple[int, int]]) -> None:
        done.extend(pairs)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, range(THREADS)))
    end = time.monotonic() + 10
    while len(done) < THREADS * EACH and time.monotonic() < end:
        time.sleep(0.01)
    for thread in range(THREADS):
        assert [number for of, number in done if of == thread] == list(range(EACH))


def test_what_is_asked_for_is_done_together() -> None:
    done = list[Sequence[int]]()
    later.flush()
    for number in range(3):
        later.do(done.append, number)
        later.do(fail, number)
    later.flush()
    assert [number for numbers in done for number in numbers] == [0, 1, 2]
    assert len(done) <= 2  # a moment may end between them


def test_work_that_fails_is_logged_and_takes_no_other_with_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("api")
    done = list[Sequence[str]]()
    later.flush()
    later.do(fail, "one")
    later.do(done.append, "after")
    later.flush()
    assert done == [["after"]]
    assert "of no use" in capsys.readouterr().err


def test_what_is_done_may_ask_for_more() -> None:
    done = list[str]()

    def again(_: object) -> None:
        later.do(done.extend, "again")

    later.do(again, None)
    later.flush()
    assert "".join(done) == "again"


def test_who_asks_for_what_is_done_does_not_wait_for_ever() -> None:
    begun, end = threading.Event(), threading.Event()

    def stick(_: object) -> None:
        begun.set()
        end.wait(30)

    later.do(stick, None)
    assert begun.wait(10)
    later.flush(within_s=0.05)
    assert not end.is_set()
    end.set()
    later.flush()


def fail(_: object) -> None:
    raise ValueError("of no use")

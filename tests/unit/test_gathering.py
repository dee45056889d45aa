"""Requests that come while others are worked on go on together, and none of them hurts another."""

import asyncio
import threading
from collections.abc import Callable, Sequence

import pytest

from ingest.api import gathering
from ingest.api.gathering import Gathering, LetNext
from tests import asynchronous


class Work:
    """Doubles numbers, once it may; `bad` ones make it fail, `generous` work lets others begin meanwhile."""

    def __init__(self, *, bad: int | None = None, generous: bool = False) -> None:
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.groups: list[list[int]] = []
        self._bad, self._generous = bad, generous

    def __call__(self, asked: Sequence[int], let_next: LetNext) -> Sequence[int]:
        self.groups.append(list(asked))
        if self._generous:
            let_next()
        self.may_go_on.wait()
        if self._bad in asked:
            raise ValueError(f"{self._bad} cannot be doubled")
        return [2 * number for number in asked]


def test_one_goes_alone_and_those_that_come_meanwhile_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 60)
    work = Work()
    work.may_go_on.clear()

    async def ask() -> list[int]:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: True)
        answers = [asyncio.create_task(gathered(number)) for number in range(10)]
        await _until(lambda: len(work.groups) == 1)
        await asyncio.sleep(0.05)
        work.may_go_on.set()
        return await asyncio.gather(*answers)

    assert asynchronous.run(ask) == [2 * number for number in range(10)]
    assert work.groups == [[0], list(range(1, 10))]


def test_the_next_begin_when_a_group_lets_them_but_no_more_than_two_groups_are_abreast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 60)
    work = Work(generous=True)
    work.may_go_on.clear()

    async def ask() -> list[int]:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: True)
        answers = [asyncio.create_task(gathered(number)) for number in range(5)]
        await _until(lambda: len(work.groups) == 2)
        answers += [asyncio.create_task(gathered(number)) for number in range(5, 10)]
        await asyncio.sleep(0.05)
        work.may_go_on.set()
        return await asyncio.gather(*answers)

    assert asynchronous.run(ask) == [2 * number for number in range(10)]
    assert work.groups == [[0], [1, 2, 3, 4], [5, 6, 7, 8, 9]]


def test_nobody_waits_for_a_group_that_hangs() -> None:
    work = Work()
    work.may_go_on.clear()

    async def ask() -> None:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: True)
        answers = [asyncio.create_task(gathered(number)) for number in range(3)]
        await _until(lambda: len(work.groups) == 2)
        answers.append(asyncio.create_task(gathered(3)))
        await _until(lambda: len(work.groups) == 3)
        work.may_go_on.set()
        await asyncio.gather(*answers)

    asynchronous.run(ask)
    assert work.groups == [[0], [1, 2], [3]]


def test_a_group_takes_no_more_than_it_should(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 60)
    monkeypatch.setattr(gathering, "MOST", 4)
    work = Work()

    async def ask() -> list[int]:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: True)
        return await asyncio.gather(*(gathered(number) for number in range(10)))

    assert asynchronous.run(ask) == [2 * number for number in range(10)]
    assert [len(group) for group in work.groups] == [1, 4, 4, 1]


@pytest.mark.parametrize("alone", [True, False])
def test_what_fails_together_is_tried_alone_where_that_can_help(alone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 60)
    work = Work(bad=3)

    async def ask() -> list[int | BaseException]:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: alone)
        return await asyncio.gather(*(gathered(number) for number in range(6)), return_exceptions=True)

    answers = asynchronous.run(ask)
    failed = [number for number, answer in enumerate(answers) if isinstance(answer, ValueError)]
    assert failed == ([3] if alone else [1, 2, 3, 4, 5])
    assert all(answer == 2 * number for number, answer in enumerate(answers) if number not in failed)


def test_who_has_gone_keeps_nobody_from_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "PATIENCE_S", 60)
    work = Work()
    work.may_go_on.clear()

    async def ask() -> list[int]:
        gathered: Gathering[int, int] = Gathering(work, alone=lambda _error: True)
        answers = [asyncio.create_task(gathered(number)) for number in range(4)]
        await _until(lambda: len(work.groups) == 1)
        answers[2].cancel()
        work.may_go_on.set()
        return await asyncio.gather(answers[0], answers[1], answers[3], gathered(4))

    assert asynchronous.run(ask) == [0, 2, 6, 8]


async def _until(holds: Callable[[], bool]) -> None:
    end = asyncio.get_running_loop().time() + 30
    while not holds():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)

"""Runs parts of the work on several cores: the parts are the same whatever the number, and so are the results."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

Part = TypeVar("Part")
One = TypeVar("One")
Other = TypeVar("Other")


def side_by_side(work: Sequence[Callable[[], Part]], threads: int) -> list[Part]:
    """What each part returns, in order; with one thread, one after the other in the caller's."""
    if threads == 1 or len(work) == 1:
        return [part() for part in work]
    with ThreadPoolExecutor(threads) as pool:
        return [future.result() for future in [pool.submit(part) for part in work]]


def both(one: Callable[[], One], other: Callable[[], Other], threads: int) -> tuple[One, Other]:
    """What two unlike parts return."""
    if threads == 1:
        return one(), other()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(other)
        return one(), future.result()


def cut(count: int, parts: int) -> list[tuple[int, int]]:
    """Starts and ends of so many nearly equal stretches of 0..count."""
    bounds = [count * part // parts for part in range(parts + 1)]
    return list(pairwise(bounds))

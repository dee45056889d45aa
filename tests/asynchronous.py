"""Runs coroutines for tests in a thread of its own: where a browser is driven, the test's thread has a loop already."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_Given = TypeVar("_Given")


def run(work: Callable[[], Coroutine[Any, Any, _Given]]) -> _Given:
    """What the coroutine gives."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(work())).result()

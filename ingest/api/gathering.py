"""Gathers requests that arrive while others are worked on, so that the next transaction takes all of them."""

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool

MOST = 64
"""Requests that are worked on together; more would make the first of them wait for the last."""

PATIENCE_S = 0.025
"""After so long those that wait go on, though others are still worked on: one that waits for a lock stops nobody."""

ABREAST = 2
"""Groups that are worked on at once by the patient: one has the processor while the other has the database."""

LetNext: TypeAlias = Callable[[], None]
"""Called in the thread of a group's work when it will mostly wait, so that the next group may begin."""

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Gathering(Generic[Asked, Answered]):
    """Works on one request as soon as it comes, and on all that come meanwhile as soon as that lets them.

    So a lone caller waits for nobody, and the more callers there are, the fewer transactions each of them costs.
    """

    def __init__(
        self, work: Callable[[Sequence[Asked], LetNext], Sequence[Answered]], *, alone: Callable[[Exception], bool]
    ) -> None:
        """Of one event loop.

        Args:
            work: is called in a thread, with some requests and what lets the next begin before it ends; gives what
                came of each, in order.
            alone: says of an error of `work` whether one of several requests may be its cause: then each is worked on
                by itself.
        """
        self._work, self._alone = work, alone
        self._waiting: list[tuple[Asked, asyncio.Future[Answered]]] = []
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._groups: set[asyncio.Task[None]] = set()  # the loop itself does not keep them

    async def __call__(self, asked: Asked) -> Answered:
        """What came of this request.

        Raises:
            Exception: what `work` raised for it.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answered] = loop.create_future()
        self._waiting.append((asked, answer))
        if not self._under_way:
            self._begin()
        elif self._timer is None:
            self._timer = loop.call_later(PATIENCE_S, self._begin)
        return await answer

    def _let_next(self) -> None:
        if self._under_way < ABREAST:
            self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if group := self._waiting[:MOST]:
            del self._waiting[:MOST]
            self._under_way += 1
            # a group is nobody's: what is logged of it must not bear the id of the request that happened to begin it
            task = asyncio.create_task(self._answer(group), context=contextvars.Context())
            self._groups.add(task)
            task.add_done_callback(self._ended, context=contextvars.Context())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._groups.discard(task)
        self._under_way -= 1
        self._begin()

    async def _answer(self, group: Sequence[tuple[Asked, asyncio.Future[Answered]]]) -> None:
        loop = asyncio.get_running_loop()

        def let_next() -> None:
            with suppress(RuntimeError):  # the loop may have ended
                loop.call_soon_threadsafe(self._let_next)

        try:
            results = await run_in_threadpool(self._work, [asked for asked, _ in group], let_next)
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            if len(group) > 1 and self._alone(error):
                await asyncio.gather(*(self._answer([one]) for one in group))
                return
            for _, answer in group:
                if not answer.done():  # its caller may have gone
                    answer.set_exception(error)
            return
        for (_, answer), result in zip(group, results, strict=True):
            if not answer.done():
                answer.set_result(result)

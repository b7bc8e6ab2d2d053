"""Threads for what takes longer than a prediction, behind the event loop where a core is short."""

import asyncio
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

NICE = 5
"""A third of the event loop's share where both want the core."""

Work = TypeVar("Work")
Done = TypeVar("Done")


def thread(name: str, *, behind: bool = False) -> ThreadPoolExecutor:
    """One thread, which bounds what it costs.

    Parameters
    ----------
    behind
        Whether it stands back behind the event loop: for compiled work, which gives the interpreter
        up. Whatever holds it with a low priority holds up everybody on a busy machine.
    """
    first = stand_back if behind else None
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=name, initializer=first)


def stand_back() -> None:
    """Lower the priority of this thread; Linux alone knows one for each."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


class Together(Generic[Work, Done]):
    """Does in one go what was asked for while the thread was busy; used by one event loop alone.

    Nothing waits for company: what finds the thread idle is done at once.

    Parameters
    ----------
    run
        Does several works, in their order.
    most
        Sizes of works that are done together; a larger one is done alone.
    """

    def __init__(
        self, pool: ThreadPoolExecutor, run: Callable[[Sequence[Work]], Sequence[Done]], most: int
    ) -> None:
        self._pool, self._run, self._most = pool, run, most
        self._waiting: deque[tuple[Work, int, asyncio.Future[Done]]] = deque()
        self._busy = False

    async def done(self, work: Work, size: int) -> Done:
        """What ``run`` makes of a work."""
        told: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, size, told))
        if not self._busy:
            self._next()
        return await told

    def _next(self) -> None:
        batch, room = list[tuple[Work, asyncio.Future[Done]]](), self._most
        while self._waiting and (not batch or self._waiting[0][1] <= room):
            work, size, told = self._waiting.popleft()
            if not told.cancelled():  # nobody waits for it any more
                batch.append((work, told))
                room -= size
        self._busy = bool(batch)
        if batch:
            works = [work for work, _ in batch]
            running = asyncio.get_running_loop().run_in_executor(self._pool, self._run, works)
            running.add_done_callback(lambda ran: self._ran([told for _, told in batch], ran))

    def _ran(
        self, asked: Sequence["asyncio.Future[Done]"], ran: "asyncio.Future[Sequence[Done]]"
    ) -> None:
        self._next()
        error = ran.exception()
        if error is None:
            self._tell(deque(zip(asked, ran.result(), strict=True)))
            return
        for told in asked:
            if not told.cancelled():
                told.set_exception(error)

    def _tell(self, answered: "deque[tuple[asyncio.Future[Done], Done]]") -> None:
        """Hand one out in each turn of the loop: who asked makes a reply of it, in that turn."""
        told, done = answered.popleft()
        if not told.cancelled():
            told.set_result(done)
        if answered:
            asyncio.get_running_loop().call_soon(self._tell, answered)

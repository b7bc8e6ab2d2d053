"""Work that is done together: each gets its own, in order, and nothing waits without need."""

import asyncio
import threading
from collections.abc import Sequence

from serving import background
from serving.background import Together


class Kernel:
    """Divides, once it may; notes what it was given together."""

    def __init__(self) -> None:
        self.may, self.given = threading.Event(), list[list[int]]()

    def __call__(self, works: Sequence[int]) -> list[int]:
        """A hundred by each."""
        self.may.wait(10)
        self.given.append(list(works))
        return [100 // work for work in works]


def asked(
    sizes: Sequence[int], works: Sequence[int], gone: int | None = None
) -> tuple[Kernel, list[int | BaseException]]:
    """Ask for all of it while the first is done; ``gone`` is given up meanwhile."""
    kernel = Kernel()

    async def run() -> list[int | BaseException]:
        together = Together(background.thread("test"), kernel, most=4)
        tasks = [
            asyncio.create_task(together.done(work, size))
            for work, size in zip(works, sizes, strict=True)
        ]
        await asyncio.sleep(0)
        if gone is not None:
            tasks[gone].cancel()
        kernel.may.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    return kernel, asyncio.run(run())


def test_what_came_meanwhile_is_done_together_up_to_a_size() -> None:
    """What is larger than that is done alone, and the order stays."""
    kernel, told = asked([1, 2, 2, 9, 1, 1], [1, 2, 5, 10, 20, 50])
    assert kernel.given == [[1], [2, 5], [10], [20, 50]]
    assert told == [100, 50, 20, 10, 5, 2]


def test_what_nobody_waits_for_any_more_is_left_out() -> None:
    """A request that ran into its deadline costs the kernel nothing."""
    kernel, told = asked([1, 1, 1], [1, 2, 5], gone=1)
    assert kernel.given == [[1], [5]]
    assert told[::2] == [100, 20]
    assert isinstance(told[1], asyncio.CancelledError)


def test_an_error_reaches_those_it_concerns_and_the_next_go_on() -> None:
    """A kernel that fails does not stop the thread."""
    _, told = asked([1, 4, 1], [1, 0, 4])
    assert told[::2] == [100, 25]
    assert isinstance(told[1], ZeroDivisionError)


def test_an_idle_thread_is_asked_at_once() -> None:
    """Nothing waits for company."""
    kernel = Kernel()
    kernel.may.set()

    async def run() -> list[int]:
        together = Together(background.thread("test"), kernel, most=4)
        first = await together.done(4, 1)
        return [first, await together.done(5, 1)]

    assert asyncio.run(run()) == [25, 20]
    assert kernel.given == [[4], [5]]


def test_answers_made_together_are_handed_out_in_turns() -> None:
    """Who asked makes a reply of an answer; others have the event loop in between."""
    kernel, turns = Kernel(), list[str]()

    async def run() -> None:
        together = Together(background.thread("test"), kernel, most=4)

        async def ask(work: int) -> None:
            await together.done(work, 1)
            turns.append("answer")

        tasks = [asyncio.create_task(ask(1)) for _ in range(5)]
        await asyncio.sleep(0)
        kernel.may.set()
        while not all(task.done() for task in tasks):
            turns.append("other")
            await asyncio.sleep(0)

    asyncio.run(run())
    assert kernel.given == [[1], [1, 1, 1, 1]]
    assert turns.count("answer") == 5
    assert ("answer", "answer") not in zip(turns, turns[1:], strict=False)

"""The highest of many numbers."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from training.contract import Floats

Ints = NDArray[np.int64]


@numba.njit(nogil=True)
def push(heap: Floats, held: int, value: float) -> int:
    """Put ``value`` among the highest, of which there are ``held``; how many there are then.

    ``heap`` has the least of them first. Of a full one that value goes, so ``value`` must be above
    it.
    """
    if held < len(heap):
        at = held
        while at > 0 and heap[(at - 1) // 2] > value:
            heap[at] = heap[(at - 1) // 2]
            at = (at - 1) // 2
        heap[at] = value
        return held + 1
    at = 0
    while True:
        low = 2 * at + 1
        if low + 1 < held and heap[low + 1] < heap[low]:
            low += 1
        if low >= held or heap[low] >= value:
            break
        heap[at] = heap[low]
        at = low
    heap[at] = value
    return held


@numba.njit(nogil=True)
def ranks(value: NDArray[Any], start: Ints) -> Ints:
    """The place of each value in its group, highest first; of equal ones the first comes first.

    Group ``g`` is ``value[start[g] : start[g + 1]]``.
    """
    made = np.empty(len(value), np.int64)
    for g in range(len(start) - 1):
        order = np.argsort(-value[start[g] : start[g + 1]], kind="mergesort")
        made[start[g] : start[g + 1]][order] = np.arange(len(order))
    return made

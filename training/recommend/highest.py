"""The highest of a stream of numbers."""

import numba

from training.contract import Floats


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

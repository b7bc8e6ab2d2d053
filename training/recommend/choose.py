"""Which pairs of customers and items are worth ranking: what each maker puts first."""

from collections.abc import Mapping

import numba
import numpy as np

from training.contract import Floats
from training.recommend.histories import Histories


def choose(
    past: Histories, scores: Mapping[str, Floats], offered: np.ndarray, each: int, bought: int
) -> np.ndarray:
    """Candidates: what each maker puts first, of all items and of those never bought.

    Parameters
    ----------
    scores
        Scores of each maker, shape (n_customers, n_items); 0 = nothing speaks for the item.
    offered
        Which items may be listed at all, shape (n_items,).
    each
        Items of each maker, twice.
    bought
        At most so many items bought before, the most recent.

    Returns
    -------
    numpy.ndarray
        Boolean of shape (n_customers, n_items).
    """
    chosen = np.zeros((len(past), past.n_items), bool)
    recent = past.matrix(1 / (1.0 + past.age)).toarray()
    owned = recent > 0
    any_, new = np.broadcast_to(offered, chosen.shape).copy(), offered & ~owned
    if bought:
        _mark(recent, owned, bought, chosen)
        chosen &= offered
    for score in scores.values():
        values = np.ascontiguousarray(score)
        _mark(values, any_, each, chosen)
        _mark(values, new, each, chosen)
    return chosen


@numba.njit(nogil=True)
def _mark(score: Floats, open_: np.ndarray, k: int, chosen: np.ndarray) -> None:
    """Set the ``k`` highest open scores of each row, and what is equal to the last of them."""
    rows, items = score.shape
    heap = np.empty(k)  # the k highest so far, the least of them first
    for r in range(rows):
        held = 0
        for i in range(items):
            value = score[r, i]
            if value == 0 or not open_[r, i]:
                continue
            if held < k:
                at = held
                held += 1
                while at > 0 and heap[(at - 1) // 2] > value:
                    heap[at] = heap[(at - 1) // 2]
                    at = (at - 1) // 2
                heap[at] = value
            elif value > heap[0]:
                at = 0
                while True:
                    low = 2 * at + 1
                    if low + 1 < k and heap[low + 1] < heap[low]:
                        low += 1
                    if low >= k or heap[low] >= value:
                        break
                    heap[at] = heap[low]
                    at = low
                heap[at] = value
        edge = heap[0] if held == k else -np.inf
        for i in range(items):
            value = score[r, i]
            if value != 0 and value >= edge and open_[r, i]:
                chosen[r, i] = True

"""Which pairs of customers and items are worth ranking: what each maker puts first."""

from collections.abc import Mapping

import numba
import numpy as np

from training.contract import Floats
from training.recommend.highest import push
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
    if bought:
        _mark(recent, np.ones_like(offered), np.zeros_like(owned), bought, chosen)
        chosen &= offered
    for score in scores.values():
        # What all have in common is said once.
        some = np.ascontiguousarray(score) if score.strides[0] else score[:1].copy()
        _mark(some, offered, owned, each, chosen)
    return chosen


@numba.njit(nogil=True)
def _mark(
    score: Floats, offered: np.ndarray, owned: np.ndarray, k: int, chosen: np.ndarray
) -> None:
    """Set the ``k`` highest offered scores of each row, and of those not owned.

    What is equal to the last of them is set, too; a score of 0 never is. One row of scores stands
    for all.
    """
    rows, items = chosen.shape
    best, new = np.empty(k), np.empty(k)
    met = np.empty(items, np.int64)  # those that were among the highest when they were met
    for r in range(rows):
        row = score[min(r, len(score) - 1)]
        held = held_new = n = 0
        # What is owned is no less among the best, so that the second edge is the lower.
        edge = edge_new = -np.inf
        for i in range(items):
            value = row[i]
            if value < edge_new or value == 0 or not offered[i]:
                continue
            met[n] = i
            n += 1
            if value > edge:
                held = push(best, held, value)
                if held == k:
                    edge = best[0]
            if value > edge_new and not owned[r, i]:
                held_new = push(new, held_new, value)
                if held_new == k:
                    edge_new = new[0]
        for i in met[:n]:
            if row[i] >= edge_new:
                chosen[r, i] |= row[i] >= edge or not owned[r, i]

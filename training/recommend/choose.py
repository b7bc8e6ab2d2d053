"""Which pairs of customers and items are worth ranking: what each maker puts first."""

from collections.abc import Mapping

import numpy as np

from training.recommend.histories import Histories
from training.recommend.scores import Scores, Sums


def choose(
    past: Histories, scores: Mapping[str, Scores], offered: np.ndarray, each: int, bought: int
) -> np.ndarray:
    """Candidates: what each maker puts first, of all items and of those never bought.

    Parameters
    ----------
    scores
        What each maker says.
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
    chosen, owned = np.zeros((2, len(past), past.n_items), bool)
    if bought:
        recent = Sums.own(past.matrix(1 / (1.0 + past.age)))
        recent.mark(np.ones_like(offered), owned, bought, chosen)
        chosen &= offered
    owned[past.customer, past.item] = True
    for score in scores.values():
        score.mark(offered, owned, each, chosen)
    return chosen

"""How good lists are: the measures of ranking, each a number per customer.

Lists are places in the catalogue, best first, -1 = no item. Truth is a boolean matrix. Customers
without truth count nowhere (NaN).
"""

import numpy as np
import scipy.sparse as sp

from training.contract import Floats
from training.recommend.histories import Ints

MEASURES = ("recall", "ndcg", "map", "mrr", "hit_rate")


def hits(lists: Ints, truth: sp.csr_matrix) -> np.ndarray:
    """Whether each listed item is true, boolean of the lists' shape (n_customers, k)."""
    rows = np.repeat(np.arange(len(lists)), lists.shape[1])
    found = np.asarray(truth[rows, np.maximum(lists, 0).ravel()]).reshape(lists.shape) > 0
    return found & (lists >= 0)


def measure(hit: np.ndarray, relevant: Ints, k: int) -> dict[str, Floats]:
    """The measures at ``k`` for each customer.

    Parameters
    ----------
    hit
        From :func:`hits`, shape (n_customers, at least k).
    relevant
        Number of true items of each customer, those that no list could hold included.

    Notes
    -----
    Recall divides by all true items. NDCG has gain 1 and discount ``1 / log2(1 + rank)`` against
    the best order of ``min(k, relevant)`` items (Järvelin and Kekäläinen 2002). MAP divides by
    ``min(k, relevant)``. MRR is 1 over the rank of the first true item, 0 if none is listed.
    """
    hit = hit[:, :k].astype(np.float64)
    ranks = np.arange(1, hit.shape[1] + 1)
    asked = relevant > 0
    most = np.minimum(relevant, k)
    discount = 1 / np.log2(1 + np.arange(1, k + 1))
    ideal = np.r_[np.nan, np.cumsum(discount)][most]
    divisor = np.where(asked, relevant, np.nan)
    precision = np.cumsum(hit, axis=1) / ranks
    first = np.where(hit.any(axis=1), 1 / (1 + np.argmax(hit, axis=1)), 0.0)
    return {
        "recall": hit.sum(axis=1) / divisor,
        "ndcg": hit @ discount[: hit.shape[1]] / ideal,
        "map": (precision * hit).sum(axis=1) / np.where(asked, most, np.nan),
        "mrr": np.where(asked, first, np.nan),
        "hit_rate": np.where(asked, hit.any(axis=1), np.nan),
    }


def top(scores: np.ndarray, k: int) -> Ints:
    """Places of the ``k`` highest scores of each row, best first; -inf is never listed (-1).

    Equal scores are ordered by place, so that lists do not depend on how they were found.
    """
    n = scores.shape[1]
    k = min(k, n)
    if k < n:
        edge = -np.partition(-scores, k - 1, axis=1)[:, k - 1 : k]
        # All above the edge, then those on it from the left until k are there.
        on = scores == edge
        room = k - (scores > edge).sum(axis=1, keepdims=True)
        chosen = (scores > edge) | (on & (np.cumsum(on, axis=1) <= room))
        places = np.nonzero(chosen)[1].reshape(len(scores), k)
    else:
        places = np.broadcast_to(np.arange(n), scores.shape)
    values = np.take_along_axis(scores, places, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    listed = np.take_along_axis(places, order, axis=1)
    return np.where(np.take_along_axis(values, order, axis=1) == -np.inf, -1, listed)

"""A step up: dearer items of the kind that a customer has."""

import numpy as np

from training.recommend.histories import Histories
from training.recommend.recommender import Recommender

TIER = 1.1, 2.0
"""It costs so many times what the customer has, at least and at most."""


def step_up(recommender: Recommender, past: Histories) -> tuple[np.ndarray, np.ndarray]:
    """What is a higher tier of what the one customer of ``past`` has.

    Returns
    -------
    own : numpy.ndarray
        The different items that the customer has, ascending.
    upper : numpy.ndarray
        Boolean of shape (n_own, n_items): of the same category where the source names any, else
        alike, and dearer within :data:`TIER`.
    """
    own, price = np.unique(past.item), recommender.prices
    category = recommender.shelf.attributes.category
    if (category >= 0).any():
        near = (category[own][:, None] == category) & (category >= 0)
    else:
        near = recommender.alike[own].toarray() > 0
    times = price / np.where(price[own] > 0, price[own], np.nan)[:, None]
    return own, near & (times >= TIER[0]) & (times <= TIER[1])

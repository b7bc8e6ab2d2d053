"""Exact Shapley values of functions of a few inputs."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from training.contract import Floats


def shapley(
    worth: Callable[..., Floats], own: Sequence[Floats], reference: Sequence[float]
) -> tuple[Floats, list[Floats]]:
    """What each input adds to ``worth(*own)`` over ``worth(*reference)``, over all 2^k sets.

    Shapley (1953), "A value for n-person games", equation 13: a set of inputs is worth the function
    of a row's own values in the set and of the reference's elsewhere.

    Parameters
    ----------
    worth
        Takes k arrays of shape (m,), gives one of shape (..., m): several functions of the same
        inputs cost little more than one. It is asked once for all sets.
    own
        The k inputs of each row.
    reference
        One value for each input.

    Returns
    -------
    base, contributions
        ``worth`` of the reference, shape (...), and k arrays of shape (..., n_rows); together they
        add up to ``worth(*own)``.
    """
    k, n = len(own), len(own[0])
    sets = list(itertools.product((False, True), repeat=k))
    mixed = [
        np.concatenate([o if known[i] else np.full(n, r) for known in sets])
        for i, (o, r) in enumerate(zip(own, reference, strict=True))
    ]
    found = worth(*mixed)
    worths = dict(zip(sets, np.split(found, len(sets), axis=-1), strict=True))
    contributions = []
    for i in range(k):
        moved = np.zeros((*found.shape[:-1], n))
        for without in (known for known in sets if not known[i]):
            size = sum(without)
            share = math.factorial(size) * math.factorial(k - 1 - size) / math.factorial(k)
            joined = (*without[:i], True, *without[i + 1 :])
            moved += share * (worths[joined] - worths[without])
        contributions.append(moved)
    # Of one row at a time: the reference is worth the same whoever is asked about.
    return worth(*(np.array([r]) for r in reference))[..., 0], contributions

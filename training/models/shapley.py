"""Exact Shapley values of a function of a few inputs."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from training.contract import Floats


def shapley(
    worth: Callable[..., Floats], own: Sequence[Floats], reference: Sequence[float]
) -> tuple[float, list[Floats]]:
    """What each input adds to ``worth(*own)`` over ``worth(*reference)``, over all 2^k sets.

    Shapley (1953), "A value for n-person games", equation 13: a set of inputs is worth the function
    of a row's own values in the set and of the reference's elsewhere.

    Parameters
    ----------
    worth
        Takes k arrays of shape (n_rows,), gives one.
    own
        The k inputs of each row.
    reference
        One value for each input.

    Returns
    -------
    base, contributions
        ``worth`` of the reference, and k arrays of shape (n_rows,); together they add up to
        ``worth(*own)``.
    """
    k, n = len(own), len(own[0])
    worths = {}
    for known in itertools.product((False, True), repeat=k):
        mixed = [
            o if is_known else np.full(n, r)
            for o, r, is_known in zip(own, reference, known, strict=True)
        ]
        worths[known] = worth(*mixed)
    contributions = []
    for i in range(k):
        moved = np.zeros(n)
        for without in (known for known in worths if not known[i]):
            size = sum(without)
            share = math.factorial(size) * math.factorial(k - 1 - size) / math.factorial(k)
            joined = (*without[:i], True, *without[i + 1 :])
            moved += share * (worths[joined] - worths[without])
        contributions.append(moved)
    # Of one row at a time: the reference is worth the same whoever is asked about.
    return float(worth(*(np.array([r]) for r in reference))[0]), contributions

"""Shares ``m`` of agreement among matches, by expectation maximisation on counted patterns.

A pattern is the level of agreement of a pair on every column. Within pairs that agree on a block,
matches are a mixture part of unknown size; its ``m`` are found with ``u`` held at what random pairs
say (Winkler 1988, Using the EM algorithm for weight computation in the Fellegi-Sunter model).
Counts start at one, so that a level that no match of the sample has stays possible.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS, SETTLED = 200, 1e-7
NOT_GIVEN = -1


@dataclass(frozen=True)
class Patterns:
    """Pairs of a block by their levels."""

    levels: NDArray[np.int64]
    """Of shape (patterns, columns): 0 = everything else, higher = closer, -1 = not given."""
    counts: NDArray[np.float64]
    """Pairs of each pattern."""


def matches_by_level(
    patterns: Patterns, u: list[NDArray[np.float64]], outside: list[bool]
) -> list[NDArray[np.float64]]:
    """Expected number of matches at each level of each column, of the pairs of one block.

    Parameters
    ----------
    u
        Of each column, the share of its levels among random pairs.
    outside
        Whether a column is free to differ within the block; of the others nothing is learned.
    """
    columns = [k for k, free in enumerate(outside) if free]
    m = {k: _start(len(u[k])) for k in columns}
    share = 0.5
    expected = {k: np.zeros(len(u[k])) for k in columns}
    for _ in range(STEPS):
        log_odds = np.full(len(patterns.counts), np.log(share / (1.0 - share)))
        for k in columns:
            level = patterns.levels[:, k]
            ratio = np.log(m[k]) - np.log(u[k])
            log_odds += np.where(level == NOT_GIVEN, 0.0, ratio[level])
        matches = patterns.counts / (1.0 + np.exp(-np.clip(log_odds, -500.0, 500.0)))
        for k in columns:
            given = patterns.levels[:, k] != NOT_GIVEN
            found = np.bincount(patterns.levels[given, k], matches[given], minlength=len(u[k]))
            expected[k] = found.astype(np.float64)
            m[k] = shares(expected[k])
        before = share
        share = float((matches.sum() + 1.0) / (patterns.counts.sum() + 2.0))
        if abs(share - before) < SETTLED:
            break
    return [expected.get(k, np.zeros(len(u[k]))) for k in range(len(u))]


def shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Counts as shares, each begun at one (Laplace)."""
    return np.asarray((counts + 1.0) / (counts.sum() + len(counts)), dtype=np.float64)


def _start(levels: int) -> NDArray[np.float64]:
    """Matches mostly agree, and the less the closer a level is to none at all."""
    weight = 2.0 ** np.arange(levels)
    return np.asarray(weight / weight.sum(), dtype=np.float64)

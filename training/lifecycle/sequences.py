"""Feature rows as sequences: counts by customer, period and observable, the oldest period first."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from features.schema import FeatureColumn
from training.contract import Floats

Ints = NDArray[np.int64]
_COLUMN = re.compile(r"periods__(?P<name>\w+)_p(?P<back>\d+)")


def columns_of(schema: Sequence[FeatureColumn]) -> dict[str, tuple[FeatureColumn, ...]]:
    """Observable -> its columns, the oldest period first."""
    found: dict[str, list[tuple[int, FeatureColumn]]] = {}
    for column in schema:
        if match := _COLUMN.fullmatch(column.name):
            found.setdefault(match["name"], []).append((-int(match["back"]), column))
    return {
        name: tuple(column for _, column in sorted(own, key=lambda pair: pair[0]))
        for name, own in found.items()
    }


def counts_of(X: Floats, observables: int) -> Floats:
    """Rows of shape (n_rows, n_observables * n_periods) as (n_rows, n_periods, n_observables)."""
    shaped: Floats = X.reshape(len(X), observables, -1).transpose(0, 2, 1)
    return shaped


def codes_of(counts: Floats, edges: Sequence[Sequence[int]]) -> Ints:
    """Levels of counts as codes, of the same shape; -1 = not observed.

    The first observable is orders, whose codes are its levels. What else is done in a period goes
    along with ordering, so of the others a code tells the level among periods without an order
    (the lower half of the codes) or among those with one; where orders are not known, nothing.
    """
    found = np.empty(counts.shape, np.int64)
    for o, own in enumerate(edges):
        level = np.searchsorted(np.asarray(own, np.float64), counts[..., o], side="right")
        found[..., o] = np.where(np.isnan(counts[..., o]), -1, level)
    ordered = found[..., 0]
    for o, own in enumerate(edges[1:], start=1):
        known = (found[..., o] >= 0) & (ordered >= 0)
        found[..., o] = np.where(known, found[..., o] + (ordered > 0) * (len(own) + 1), -1)
    return found


def shares(counts: Floats, observable: int) -> Floats:
    """Counts of codes, in the last dimension, as shares of levels: by halves but for orders."""
    halves = counts.reshape(*counts.shape[:-1], 2 if observable else 1, -1)
    found: Floats = (halves / halves.sum(axis=-1, keepdims=True)).reshape(counts.shape)
    return found


def sizes_of(edges: Sequence[Sequence[int]]) -> list[int]:
    """Number of codes of each observable."""
    return [(len(own) + 1) * (2 if o else 1) for o, own in enumerate(edges)]


def begun_of(known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a sequence has begun by each period, shape (n_rows, n_periods).

    Parameters
    ----------
    known
        Whether each observable was observed, shape (n_rows, n_periods, n_observables).
    """
    begun: NDArray[np.bool_] = np.logical_or.accumulate(known.any(axis=2), axis=1)
    return begun


def words_of_levels(edges: Sequence[int]) -> list[str]:
    """What levels are called, such as ``0``, ``1``, ``2 to 3``, ``4 or more``."""
    spans = zip(edges[:-1], edges[1:], strict=True)
    middle = [f"{a}" if b == a + 1 else f"{a} to {b - 1}" for a, b in spans]
    return ["0", *middle, f"{edges[-1]} or more"]

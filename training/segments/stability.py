"""Would the same segments come out of other customers? Bootstrap, and agreement of assignments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from features.errors import DataError
from features.schema import FeatureColumn
from training.contract import Floats
from training.segments.cells import Ints
from training.segments.segmentation import Assigned, Segmentation, learn
from training.segments.ways import Way

KNOTS = 41
"""Margins at which confidence is kept."""


@dataclass(frozen=True)
class Stability:
    """How far segmentations learned from resampled customers agree with the reference."""

    ari: Floats
    """Adjusted Rand index of each, shape (n_refits,)."""
    jaccard: Floats
    """Mean Jaccard similarity of each segment to its counterpart, shape (n_segments,)."""
    agreed: Floats
    """Share of refits that put each row in its own segment, shape (n_rows,)."""


def table_of(a: Ints, b: Ints, n_a: int, n_b: int, weight: Floats | None = None) -> Floats:
    """How many rows (or how much weight) have each pair of labels, shape (n_a, n_b)."""
    counts: Floats = np.bincount(a * n_b + b, weight, minlength=n_a * n_b).astype(np.float64)
    return counts.reshape(n_a, n_b)


def adjusted_rand(counts: Floats) -> float:
    """Adjusted Rand index of a table of label pairs (Hubert and Arabie 1985)."""

    def pairs(n: Floats) -> float:
        return float((n * (n - 1.0) / 2.0).sum())

    both, rows, columns = pairs(counts), pairs(counts.sum(axis=1)), pairs(counts.sum(axis=0))
    everything = pairs(counts.sum(keepdims=True))
    expected = rows * columns / everything if everything else 0.0
    most = (rows + columns) / 2.0
    return 1.0 if most == expected else (both - expected) / (most - expected)


def matched(likeness: Floats) -> Ints:
    """Column of each row that makes the summed likeness greatest; -1 where none is left.

    Kuhn's Hungarian method; nothing alike is not matched.
    """
    rows, columns = linear_sum_assignment(-likeness)
    found = np.full(len(likeness), -1, dtype=np.int64)
    some = likeness[rows, columns] > 0
    found[rows[some]] = columns[some]
    return found


def jaccard(counts: Floats) -> Floats:
    """Jaccard similarity of every pair of segments from their table of counts."""
    union = counts.sum(axis=1)[:, None] + counts.sum(axis=0)[None, :] - counts
    found: Floats = np.divide(counts, union, out=np.zeros_like(counts), where=union > 0)
    return found


def bootstrap(
    way: Way,
    X: pd.DataFrame,
    schema: Sequence[FeatureColumn],
    value: str,
    reference: Segmentation,
    judged: Sequence[pd.DataFrame],
    *,
    repeats: int,
    seed: int,
) -> list[Stability]:
    """Learn ``repeats`` times from customers drawn with replacement; compare on each of ``judged``.

    Segments of a refit are matched to the reference's by overlap (Hennig 2007, Cluster-wise
    assessment of cluster stability). A draw from which nothing can be learned counts as no
    agreement.
    """
    k = reference.n_segments
    own = [reference.labels(frame) for frame in judged]
    rng = np.random.default_rng(seed)
    ordered = X.sort_values(list(X.columns), kind="stable", ignore_index=True)
    ari, alike = np.zeros((len(own), repeats)), np.zeros((len(own), repeats, k))
    agreed = [np.zeros(len(labels)) for labels in own]
    for turn in range(repeats):
        drawn = ordered.iloc[rng.integers(0, len(ordered), len(ordered))]
        try:
            again = learn(way, drawn, schema, value, seed=seed + turn).segmentation
        except DataError:
            continue
        for i, frame in enumerate(judged):
            theirs = again.labels(frame)
            counts = table_of(own[i], theirs, k, again.n_segments)
            ari[i, turn] = adjusted_rand(counts)
            likeness = jaccard(counts)
            partner = matched(likeness)
            alike[i, turn] = [likeness[s, p] if p >= 0 else 0.0 for s, p in enumerate(partner)]
            agreed[i] += theirs == partner[own[i]]
    return [Stability(ari[i], alike[i].mean(axis=0), agreed[i] / repeats) for i in range(len(own))]


def with_confidence(segmentation: Segmentation, assigned: Assigned, agreed: Floats) -> Segmentation:
    """The segmentation with the share that agrees as a rising function of the margin.

    Isotonic regression (Barlow et al. 1972) for each segment on its rows, whose agreement was
    measured, kept at quantiles of the margin. A segment without rows has confidence 0.
    """
    from sklearn.isotonic import IsotonicRegression

    k = segmentation.n_segments
    margins, confidences = np.zeros((k, KNOTS)), np.zeros((k, KNOTS))
    for s in np.unique(assigned.segment):
        own = assigned.segment == s
        curve = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
        curve.fit(assigned.margin[own], agreed[own])
        margins[s] = np.quantile(assigned.margin[own], np.linspace(0, 1, KNOTS))
        confidences[s] = curve.predict(margins[s])
    return replace(segmentation, margins=margins, confidences=confidences)

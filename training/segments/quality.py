"""How good a segmentation is by its shape and by what it tells of the time after it."""

import numpy as np

from training.contract import Floats
from training.segments.cells import Ints

MOST = 2_000
"""Customers whose silhouettes are taken: cost grows with their square."""
REFERENCES = 3


def geometry(Z: Floats, labels: Ints, seed: int) -> dict[str, float]:
    """Silhouette (Rousseeuw 1987), Davies-Bouldin (1979) and Calinski-Harabasz (1974).

    In the scaled space; NaN where there is one segment only.
    """
    from sklearn.metrics import (
        calinski_harabasz_score,
        davies_bouldin_score,
        silhouette_score,
    )

    names = ("silhouette", "davies_bouldin", "calinski_harabasz")
    if len(np.unique(labels)) < 2:
        return dict.fromkeys(names, float("nan"))
    picked = np.sort(np.random.default_rng(seed).permutation(len(Z))[:MOST])
    some = Z[picked], labels[picked]
    silhouette = silhouette_score(*some) if len(np.unique(some[1])) > 1 else float("nan")
    others = davies_bouldin_score(Z, labels), calinski_harabasz_score(Z, labels)
    return dict(zip(names, map(float, (silhouette, *others)), strict=True))


def scatter(Z: Floats, labels: Ints) -> float:
    """Summed squared distance of rows to the mean of their segment."""
    counts = np.maximum(np.bincount(labels), 1.0)[:, None]
    means = np.stack([np.bincount(labels, column) for column in Z.T], axis=1) / counts
    return float(((Z - means[labels]) ** 2).sum())


def without_groups(Z: Floats, seed: int) -> Floats:
    """Rows spread evenly over the box of ``Z`` along its principal axes: no groups to be found.

    Reference of the gap statistic (Tibshirani, Walther and Hastie 2001, version b).
    """
    middle = Z.mean(axis=0)
    _, _, axes = np.linalg.svd(Z - middle, full_matrices=False)
    turned = (Z - middle) @ axes.T
    drawn = np.random.default_rng(seed).uniform(turned.min(axis=0), turned.max(axis=0), Z.shape)
    return np.asarray(drawn @ axes + middle)


def explained(labels: Ints, y: Floats, weights: Floats | None = None) -> Floats:
    """Eta squared, the share of the variation of ``y`` that lies between segments.

    Parameters
    ----------
    weights
        Shape (n_draws, n_rows); one draw of ones unless given.

    Returns
    -------
    ndarray of shape (n_draws,)
    """
    W = np.ones((1, len(y))) if weights is None else weights
    member = np.zeros((len(y), int(labels.max()) + 1))
    member[np.arange(len(y)), labels] = 1.0
    n, total = W @ member, W @ (member * y[:, None])
    grand = total.sum(axis=1) ** 2 / n.sum(axis=1)
    between = np.divide(total**2, n, out=np.zeros_like(n), where=n > 0).sum(axis=1) - grand
    variation = W @ y**2 - grand
    found: Floats = np.divide(between, variation, out=np.zeros_like(variation), where=variation > 0)
    return found


def explained_by_category(labels: Ints, spend: Floats, weights: Floats) -> Floats:
    """Eta squared of log(1 + spend) by category, each counting by how much it varies.

    Parameters
    ----------
    spend
        Shape (n_rows, n_categories), in minor units.
    weights
        Shape (n_draws, n_rows).

    Returns
    -------
    ndarray of shape (n_draws,)
    """
    logs = np.log1p(spend / 100.0)
    told = np.stack([explained(labels, y, weights) for y in logs.T])
    found: Floats = np.average(told, axis=0, weights=logs.var(axis=0))
    return found


def rates(labels: Ints, y: Floats, k: int) -> Floats:
    """Mean of ``y`` in each of ``k`` segments; the overall mean where nobody is."""
    n, total = np.bincount(labels, minlength=k), np.bincount(labels, y, minlength=k)
    found: Floats = np.divide(total, n, out=np.full(k, float(y.mean())), where=n > 0)
    return found


def told_later(before: tuple[Ints, Floats], after: tuple[Ints, Floats], k: int) -> dict[str, float]:
    """What segments say of the next period: squared correlation with rates learned before.

    Free of the season's level, which all segments share. ``buying`` is whether anything was spent.

    Parameters
    ----------
    before, after
        Segments at a cutoff with the spend of the period that follows it.
    """

    def share(known: Floats, y: Floats) -> float:
        said = rates(earlier, known, k)[later]
        if said.std() == 0 or y.std() == 0:
            return 0.0
        return float(np.corrcoef(said, y)[0, 1] ** 2)

    (earlier, spent), (later, spend) = before, after
    return {
        "buying": share((spent > 0).astype(np.float64), (spend > 0).astype(np.float64)),
        "log_spend": share(np.log1p(spent), np.log1p(spend)),
        "spend": share(spent, spend),
    }

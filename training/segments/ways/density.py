"""Density clustering: crowded places are segments, and who is in none is in "other"."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from features.errors import DataError
from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space
from training.segments.ways import Nature, sampled


class DensityConfig(Strict):
    """What counts as crowded, over which columns."""

    columns: tuple[str, ...] = ()
    """Feature columns; empty = chosen by the search."""
    algorithm: Literal["hdbscan", "dbscan"] = "hdbscan"
    smallest: float = Field(default=0.03, gt=0, lt=0.5)
    """Share of customers that a crowd has at least."""
    reach: float = Field(default=0.5, gt=0)
    """Of ``dbscan``: distance of neighbours, in robust deviations."""
    within: float = Field(default=0.95, gt=0.5, le=1)
    """Share of a crowd's own customers that its radius covers."""
    most: int = Field(default=5_000, ge=10, le=100_000)
    """Customers that crowds are looked for among."""


class Density:
    """HDBSCAN (Campello, Moulavi and Sander 2013) or DBSCAN (Ester et al. 1996).

    Both only sort the customers that they were given. To answer for others, and without keeping
    customers, a crowd is told by its mean and the radius around it: outside all radii is "other".
    """

    config: DensityConfig
    nature: ClassVar[Nature] = "clusters"

    def __init__(self, config: DensityConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The configured columns."""
        return self.config.columns

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """A cell per crowd, its radius the unit, and one at distance 1 of everybody for "other".

        Raises
        ------
        DataError
            If no place is crowded.
        """
        from sklearn.cluster import DBSCAN, HDBSCAN

        config = self.config
        Z = sampled(Z, config.most, seed)
        least = max(2, int(np.ceil(config.smallest * len(Z))))
        if config.algorithm == "hdbscan":
            found = HDBSCAN(least, min_samples=min(15, least), copy=True).fit_predict(Z)
        else:
            found = DBSCAN(eps=config.reach, min_samples=min(15, least)).fit_predict(Z)
        crowds = [Z[found == b] for b in range(found.max() + 1) if (found == b).sum() >= least]
        if not crowds:
            raise DataError(
                f"{config.algorithm} finds no crowd of {config.smallest:.1%} of {len(Z)} customers "
                f"in {len(space.columns)} columns; use fewer columns, lower `smallest`, or k-means"
            )
        centre = np.stack([crowd.mean(axis=0) for crowd in crowds])
        radius2 = [
            np.quantile(((crowd - c) ** 2).sum(axis=1), config.within) + 1e-12
            for crowd, c in zip(crowds, centre, strict=True)
        ]
        d = Z.shape[1]
        precision = np.stack([np.eye(d) / r for r in radius2] + [np.zeros((d, d))])
        cells = Cells.around(np.vstack([centre, np.zeros(d)]), precision)
        offset = np.append(np.zeros(len(crowds)), 1.0)
        return Cells(cells.segment, offset, cells.lower, cells.upper, cells.centre, cells.precision)

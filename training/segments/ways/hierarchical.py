"""Hierarchical clustering: neighbours are joined step by step, and the tree is cut into k."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space
from training.segments.ways import Nature, check_enough, sampled


class HierarchicalConfig(Strict):
    """Where the tree is cut, over which columns."""

    columns: tuple[str, ...] = ()
    """Feature columns; empty = chosen by the search."""
    k: int = Field(default=5, ge=2, le=30)
    most: int = Field(default=3_000, ge=10, le=20_000)
    """Customers that the tree is made of: cost grows with their square."""


class Hierarchical:
    """Ward's joining of least added variance (Ward 1963); others belong to the nearest mean."""

    config: HierarchicalConfig
    nature: ClassVar[Nature] = "clusters"

    def __init__(self, config: HierarchicalConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The configured columns."""
        return self.config.columns

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """One cell around the mean of each branch."""
        from sklearn.cluster import AgglomerativeClustering

        Z = sampled(Z, self.config.most, seed)
        check_enough(Z, self.config.k)
        branch = AgglomerativeClustering(self.config.k, linkage="ward").fit_predict(Z)
        return Cells.around(np.stack([Z[branch == b].mean(axis=0) for b in range(self.config.k)]))

"""Rules and clusters together: value tiers first, clusters inside the lowest or in every one."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from features.errors import DataError
from features.settings import Part, Strict, resolve
from training.contract import Floats
from training.segments.cells import Cells, Ints
from training.segments.space import Space
from training.segments.ways import Nature, Way

WAYS = "training.segments.ways"


class HybridConfig(Strict):
    """Tiers by one column, clusters by others."""

    value: str = "orders__spend_365d"
    """Column whose highest values make the upper tiers."""
    top: tuple[float, ...] = Field(default=(0.005,), min_length=1)
    """Falling from the top: shares of customers above each edge, such as the top 0.5 %."""
    crossed: bool = False
    """True: clusters are told apart in every tier; False: in the lowest alone."""
    inside: Literal["kmeans.KMeans", "mixture.Mixture", "hierarchical.Hierarchical"] = (
        "kmeans.KMeans"
    )
    columns: tuple[str, ...] = ()
    """Columns of the clusters; empty = chosen by the search."""
    k: int = Field(default=5, ge=2, le=30)
    """Clusters."""
    smallest: float = Field(default=0.004, ge=0, lt=0.5)
    """Segments with a smaller share are merged into the nearest of their tier."""

    @model_validator(mode="after")
    def _rising(self) -> "HybridConfig":
        if list(self.top) != sorted(set(self.top)) or not 0 < self.top[0] <= self.top[-1] < 1:
            raise ValueError(f"top: rising shares between 0 and 1, found {list(self.top)}")
        return self


class Hybrid:
    """Cells are tiers times clusters: a box in the value, a centre in the behaviour."""

    config: HybridConfig
    nature: ClassVar[Nature] = "hybrid"

    def __init__(self, config: HybridConfig) -> None:
        self.config = config
        part = Part(use=config.inside, config={"columns": config.columns, "k": config.k})
        self.inside: Way = resolve(WAYS, part)

    def columns(self) -> tuple[str, ...]:
        """The clusters' columns and the tiers' one."""
        return tuple(dict.fromkeys([*self.config.columns, self.config.value]))

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """Tiers from the top down, each with all clusters; whole tiers are one segment.

        Raises
        ------
        DataError
            If customers do not differ in value, or there are too few of them.
        """
        config = self.config
        if config.value not in space.columns:
            raise DataError(
                f"{config.value} is the same for everybody: no tiers; use another value"
            )
        at = space.columns.index(config.value)
        edges = np.unique(np.quantile(Z[:, at], 1.0 - np.array(config.top), method="higher"))[::-1]
        tier = (Z[:, at][:, None] < edges).sum(axis=1)
        low = Z if config.crossed else Z[tier == len(edges)]
        places = np.flatnonzero(np.isin(space.columns, config.columns))
        clusters = self.inside.fit(space, low[:, places], seed=seed).widened(places, Z.shape[1])
        cells = _crossed(clusters, at, edges, config.crossed)
        return cells.relabelled(_merged(cells, Z, config.smallest))


def _crossed(clusters: Cells, at: int, edges: Floats, everywhere: bool) -> Cells:
    """Every cluster in every tier; ``edges`` fall from the top tier's."""
    k, tiers = len(clusters.segment), len(edges) + 1
    bounds = np.concatenate([[np.inf], edges, [-np.inf]])
    lower, upper = np.tile(clusters.lower, (tiers, 1)), np.tile(clusters.upper, (tiers, 1))
    upper[:, at], lower[:, at] = np.repeat(bounds[:-1], k), np.repeat(bounds[1:], k)
    tier = np.repeat(np.arange(tiers), k)
    cluster = np.tile(clusters.segment, tiers)
    segment = tier * k + cluster if everywhere else np.where(tier < tiers - 1, tier, tier + cluster)
    return Cells(
        segment, np.tile(clusters.offset, tiers), lower, upper,
        np.tile(clusters.centre, (tiers, 1)), np.tile(clusters.precision, (tiers, 1, 1)),
    )  # fmt: skip


def _merged(cells: Cells, Z: Floats, smallest: float) -> Ints:
    """New segments of the old ones, so that none but the last is too small.

    The smallest goes first, to the nearest mean; equal boxes mark one tier, which is preferred.
    """
    names = np.arange(cells.n_segments)
    assigned = cells.assign(Z)
    tier_of = {int(s): tuple(b) for s, b in zip(cells.segment, cells.lower, strict=True)}
    while True:
        own = names[assigned]
        there, counts = np.unique(own, return_counts=True)
        few = counts < smallest * len(Z)
        if len(there) < 2 or not few.any():
            break
        small = int(there[few][np.argmin(counts[few])])
        mean = {int(s): Z[own == s].mean(axis=0) for s in there}
        others = [int(s) for s in there if s != small]
        near = [s for s in others if tier_of[s] == tier_of[small]] or others
        names[names == small] = min(near, key=lambda s: float(((mean[s] - mean[small]) ** 2).sum()))
    # Cells without a customer belong to the segment that would have had their customers next.
    known = np.unique(names[assigned])
    stray = [s for s in np.unique(names) if s not in known]
    for s in stray:
        near = [int(n) for n in known if tier_of[int(n)] == tier_of[int(s)]] or [int(known[-1])]
        names[names == s] = near[0]
    return np.searchsorted(np.unique(names), names)

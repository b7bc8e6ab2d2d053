"""k-means: the centres with the least squared distances to their customers."""

from typing import ClassVar

from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space
from training.segments.ways import Nature, check_enough, sampled


class KMeansConfig(Strict):
    """How many centres, over which columns."""

    columns: tuple[str, ...] = ()
    """Feature columns; empty = chosen by the search."""
    k: int = Field(default=5, ge=2, le=30)
    starts: int = Field(default=10, ge=1, le=100)
    """Random starts; the best is kept."""
    most: int = Field(default=50_000, ge=10)
    """Customers that centres are learned from; more move them by less than resampling does."""


class KMeans:
    """Lloyd's algorithm from k-means++ starts (Arthur and Vassilvitskii 2007)."""

    config: KMeansConfig
    nature: ClassVar[Nature] = "clusters"

    def __init__(self, config: KMeansConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The configured columns."""
        return self.config.columns

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """One cell per centre."""
        from sklearn.cluster import KMeans as Lloyd

        Z = sampled(Z, self.config.most, seed)
        check_enough(Z, self.config.k)
        model = Lloyd(self.config.k, n_init=self.config.starts, random_state=seed).fit(Z)
        return Cells.around(model.cluster_centers_)

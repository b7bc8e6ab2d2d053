"""User neighbours on decayed frequency: what customers with the same habits buy, beside one's own.

The form of TIFU-kNN (Hu et al. 2020, "Modeling personalized item frequency information for
next-basket recommendation", eq. 5): ``own_share * own + (1 - own_share) * mean of the neighbours``,
with decay by days instead of their groups of baskets, and neighbours weighed by their cosine.
"""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Histories
from training.recommend.makers import Shop

SHARD = 512


class TifuConfig(Strict):
    """Settings; names as in the paper where it has them."""

    half_life_days: float = Field(default=180, gt=0)
    neighbours: int = Field(default=100, ge=1)
    own_share: float = Field(default=0.5, ge=0, le=1)


class Tifu:
    """The neighbours are customers, so a fitted one holds customers: it has no ``save``."""

    config: TifuConfig

    def __init__(self, config: TifuConfig) -> None:
        self.config = config
        self._known = sp.csr_matrix((0, 0))

    def fit(self, past: Histories, shop: Shop) -> None:
        """Keep everyone's decayed frequencies."""
        self._known = past.decayed(self.config.half_life_days)

    def score(self, past: Histories) -> Floats:
        """Own and neighbours' frequencies; a known customer is no neighbour of its own."""
        made = np.empty((len(past), past.n_items))
        for shard, some in past.shards(SHARD):
            made[shard] = self._score(some)
        return made

    def _score(self, past: Histories) -> Floats:
        own = past.decayed(self.config.half_life_days)
        near = (_unit(own) @ _unit(self._known).T).toarray()
        near[near > 1 - 1e-12] = 0.0  # the same customer, or one who cannot be told apart
        k = min(self.config.neighbours, near.shape[1])
        if k < near.shape[1]:
            edge = -np.partition(-near, k - 1, axis=1)[:, k - 1 : k]
            near[near < edge] = 0.0
        total = np.maximum(near.sum(axis=1, keepdims=True), 1e-12)
        others = sp.csr_matrix(near / total) @ self._known
        share = self.config.own_share
        return np.asarray((share * own + (1 - share) * others).toarray())


def _unit(matrix: sp.csr_matrix) -> sp.csr_matrix:
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sp.diags(1 / np.where(length > 0, length, 1.0)) @ matrix

"""Factors: customers and items as short vectors whose product says how well they fit.

Only the items' vectors are kept. A customer's is worked out from the history whenever it is asked
for: with the items' fixed, that is one small least-squares problem (Hu, Koren and Volinsky 2008,
"Collaborative filtering for implicit feedback datasets", eq. 4),
``x = (Y'Y + l2 I + Y'(C - I)Y)^-1 Y'C p``, with ``p`` = 1 for what was bought and 0 for all else
and ``C`` the confidence in it: 1, and for what was bought ``1 + confidence * weight``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Histories
from training.recommend.makers import Shop


class AlsConfig(Strict):
    """Settings of alternating least squares; names as in `implicit`."""

    factors: int = Field(default=64, ge=1, le=1024)
    regularization: float = Field(default=50.0, gt=0)
    iterations: int = Field(default=10, ge=1)
    confidence: float = Field(default=2.0, gt=0)
    """How much more a purchase of weight 1 counts than an item that was not bought."""
    half_life_days: float = Field(default=365, gt=0)
    seed: int = 7


class BprConfig(Strict):
    """Settings of Bayesian personalised ranking; names as in `implicit`."""

    factors: int = Field(default=64, ge=1, le=1024)
    learning_rate: float = Field(default=0.05, gt=0)
    regularization: float = Field(default=0.01, ge=0)
    iterations: int = Field(default=60, ge=1)
    confidence: float = Field(default=5.0, gt=0)
    """Of the least squares that find a customer's vector; as of ALS, and ``l2``, too."""
    l2: float = Field(default=1.0, gt=0)
    half_life_days: float = Field(default=365, gt=0)
    seed: int = 7


class _Factors:
    """Items' vectors, and customers' found from them."""

    config: Any

    def __init__(self, config: Any, l2: float) -> None:
        self.config, self._l2 = config, l2
        self.vectors: Floats = np.zeros((0, 0))

    def weights(self, past: Histories) -> sp.csr_matrix:
        """``C - I``: the root of decayed purchases, times the confidence."""
        return self.config.confidence * past.decayed(self.config.half_life_days).sqrt()

    def score(self, past: Histories) -> Floats:
        """Products of vectors, shape (n_customers, n_items); 0 for a customer without a past."""
        more, Y = self.weights(past), self.vectors
        gram = Y.T @ Y + self._l2 * np.eye(Y.shape[1])
        found = np.zeros((len(past), Y.shape[1]))
        for u in np.flatnonzero(np.diff(more.indptr)):
            own = slice(more.indptr[u], more.indptr[u + 1])
            weight, bought = more.data[own], Y[more.indices[own]]
            found[u] = np.linalg.solve(
                gram + (bought.T * weight) @ bought, bought.T @ (1.0 + weight)
            )
        return np.asarray(found @ Y.T)

    def save(self) -> dict[str, NDArray[Any]]:
        """The items' vectors."""
        return {"vectors": self.vectors}

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        self.vectors = arrays["vectors"]


class Als(_Factors):
    """Alternating least squares by `implicit`: exact solves, in one thread."""

    config: AlsConfig

    def __init__(self, config: AlsConfig) -> None:
        super().__init__(config, config.regularization)

    def fit(self, past: Histories, shop: Shop) -> None:
        """Learn vectors of customers and items, and keep the items'."""
        from implicit.cpu.als import AlternatingLeastSquares

        # implicit's values are C itself where something was bought.
        confidence = self.weights(past)
        confidence.data += 1.0
        settings = self.config.model_dump(include={"factors", "regularization", "iterations"})
        more = {"dtype": np.float64, "use_cg": False, "random_state": self.config.seed}
        self.vectors = _learned(AlternatingLeastSquares, confidence, **settings, **more)


class Bpr(_Factors):
    """Bayesian personalised ranking (Rendle et al. 2009) by `implicit`.

    The last number of an item's vector is its bias. Who bought what is all it learns from; a
    customer's vector is found by least squares all the same, since the original is learned along
    with the items and stays behind.
    """

    config: BprConfig

    def __init__(self, config: BprConfig) -> None:
        super().__init__(config, config.l2)

    def fit(self, past: Histories, shop: Shop) -> None:
        """Learn vectors of customers and items, and keep the items'."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        settings = self.config.model_dump(
            include={"factors", "learning_rate", "regularization", "iterations"}
        )
        learner = BayesianPersonalizedRanking
        self.vectors = _learned(learner, past.matrix(), **settings, random_state=self.config.seed)


def _learned(method: Any, bought: sp.csr_matrix, **settings: Any) -> Floats:
    """Vectors of the items; by one thread: the same bits wherever it is done."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        learner = method(**settings, num_threads=1)
        learner.fit(bought.astype(np.float32), show_progress=False)
    return np.asarray(learner.item_factors, np.float64)

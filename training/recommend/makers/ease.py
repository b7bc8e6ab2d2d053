"""EASE: items that explain each other linearly.

Steck (2019), "Embarrassingly shallow autoencoders for sparse data", eq. 8: with
``P = (X'X + l2 I)^-1`` the links are ``-P[h, i] / P[i, i]``, zero on the diagonal. ``X`` holds the
root of decayed purchases, so that an item bought lately and often weighs more.
"""

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from pydantic import Field

from features.settings import Strict
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.makers.linear import Linear, strongest


class EaseConfig(Strict):
    """Settings of EASE."""

    l2: float = Field(default=300, gt=0)
    half_life_days: float = Field(default=365, gt=0)
    top: int = Field(default=300, ge=1)
    """Links kept per item, the strongest: what is served is what is judged and explained."""
    most_items: int = Field(default=10_000, ge=1)
    """Only so many items, the most bought, take part: the inverse takes 8 bytes for each pair."""


class Ease(Linear):
    """Links of the closed form."""

    config: EaseConfig

    def fit(self, past: Histories, shop: Shop) -> None:
        """Invert the Gram matrix, by one thread: the same bits wherever it is done."""
        from threadpoolctl import threadpool_limits

        order = np.argsort(-shop.demand.buyers, kind="stable")[: self.config.most_items]
        chosen = np.sort(order)
        X = self.profile(past)[:, chosen]
        gram = np.asarray((X.T @ X).toarray())
        gram[np.diag_indices_from(gram)] += self.config.l2
        with threadpool_limits(limits=1):
            factor = scipy.linalg.cholesky(gram.T, lower=True, overwrite_a=True)
            inverse = scipy.linalg.lapack.dpotri(factor, lower=1, overwrite_c=1)[0]
        inverse += np.tril(inverse, -1).T
        scale = np.diag(inverse)[:, None]
        # Symmetric, so that the links to an item are a row.
        links = strongest(
            lambda at, end: -inverse[at:end] / scale[at:end], len(inverse), self.config.top
        ).tocoo()
        size = (past.n_items, past.n_items)
        self.links = sp.csr_matrix((links.data, (chosen[links.row], chosen[links.col])), shape=size)

"""Association: bought in one basket, or in the next one after."""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from features.settings import Strict
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.makers.linear import Linear, linked


class TogetherConfig(Strict):
    """Settings of association."""

    half_life_days: float = Field(default=60, gt=0)
    """How soon a basket stops to call for what goes with it."""
    shrink: float = Field(default=10, ge=0)
    """Baskets added to each side: rare pairs say little."""
    top: int = Field(default=200, ge=1)
    """Links kept per item."""


class _Association(Linear):
    config: TogetherConfig

    def profile(self, past: Histories) -> sp.csr_matrix:
        """Weight of each past item by its last purchases alone."""
        return past.decayed(self.config.half_life_days)

    def _link(self, before: sp.csr_matrix, after: sp.csr_matrix) -> None:
        """Links from ``P(pair) / sqrt(P(before) P(after))``, the cosine of an association rule.

        Tan, Kumar and Srivastava (2004), "Selecting the right objective measure for association
        analysis": it is high for pairs that are both frequent and beyond chance.
        """
        left, right = (np.sqrt(np.asarray(side.sum(axis=0)).ravel()) for side in (before, after))
        self.links = linked(before, after, left, right, self.config.shrink, self.config.top)


class Together(_Association):
    """Bought in one basket."""

    config: TogetherConfig

    def fit(self, past: Histories, shop: Shop) -> None:
        """Count pairs within baskets."""
        B = _baskets(past)
        self._link(B, B)


class Next(_Association):
    """Bought in the basket after."""

    config: TogetherConfig

    def fit(self, past: Histories, shop: Shop) -> None:
        """Count pairs from a basket to the customer's next."""
        B = _baskets(past)
        owner = np.zeros(B.shape[0], np.int64)
        owner[past.basket] = past.customer
        follows = owner[1:] == owner[:-1]  # newest first: the basket after stands before
        self._link(B[1:][follows], B[:-1][follows])


def _baskets(past: Histories) -> sp.csr_matrix:
    count = int(past.basket[-1]) + 1 if len(past.basket) else 0
    ones = np.ones(len(past.item))
    return sp.csr_matrix((ones, (past.basket, past.item)), shape=(count, past.n_items))

"""Item-to-item neighbours: bought by the same customers."""

import numpy as np
import scipy.sparse as sp
from pydantic import Field

from features.settings import Strict
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.makers.linear import Linear, linked


class CosineConfig(Strict):
    """Settings of the cosine."""

    half_life_days: float = Field(default=365, gt=0)
    shrink: float = Field(default=10, ge=0)
    """Added to the product of the lengths: few common buyers say little."""
    top: int = Field(default=200, ge=1)
    """Links kept per item."""


class Cosine(Linear):
    """Cosine of the items' columns of customers (Sarwar et al. 2001), shrunk."""

    config: CosineConfig

    def fit(self, past: Histories, shop: Shop) -> None:
        """Compare all columns."""
        X = self.profile(past)
        length = np.sqrt(np.asarray(X.multiply(X).sum(axis=0)).ravel())
        self.links = linked(X, X, length, length, self.config.shrink, self.config.top)


class Bm25Config(Strict):
    """Settings of BM25; names as in the literature."""

    half_life_days: float = Field(default=365, gt=0)
    k1: float = Field(default=1.2, gt=0)
    """How soon more purchases of an item stop to count."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How far customers who buy much are discounted."""
    top: int = Field(default=200, ge=1)
    """Links kept per item."""


class Bm25(Linear):
    """Items as documents of customers, weighed by BM25 (Robertson and Zaragoza 2009, eq. 3.15)."""

    config: Bm25Config

    def fit(self, past: Histories, shop: Shop) -> None:
        """Weigh, then take products of columns."""
        X = self.profile(past).tocoo()
        size = np.bincount(X.row, weights=X.data, minlength=X.shape[0])
        customers = max(int((size > 0).sum()), 1)
        rarity = np.log1p(customers / (1 + np.bincount(X.col, minlength=X.shape[1])))
        norm = 1 - self.config.b + self.config.b * size / max(size.sum() / customers, 1e-12)
        k1 = self.config.k1
        weight = X.data * (k1 + 1) / (k1 * norm[X.row] + X.data) * rarity[X.col]
        weighed = sp.csr_matrix((weight, (X.row, X.col)), X.shape)
        plain = sp.csr_matrix((np.ones_like(weight), (X.row, X.col)), X.shape)
        divisor = np.full(X.shape[1], float(customers)), np.ones(X.shape[1])
        self.links = linked(plain, weighed, *divisor, 0.0, self.config.top)

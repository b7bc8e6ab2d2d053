"""Gaussian mixture: segments of different width and direction, each customer with odds."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space
from training.segments.ways import Nature, check_enough, sampled


class MixtureConfig(Strict):
    """How many components, over which columns, of which shape."""

    columns: tuple[str, ...] = ()
    """Feature columns; empty = chosen by the search."""
    k: int = Field(default=5, ge=2, le=30)
    covariance: Literal["diag", "full"] = "diag"
    starts: int = Field(default=3, ge=1, le=100)
    """Random starts; the likeliest is kept."""
    most: int = Field(default=50_000, ge=10)
    """Customers that components are learned from."""
    least_variance: float = Field(default=0.01, gt=0)
    """Added to each variance, in squared robust deviations: no component shrinks to a point."""


class Mixture:
    """Expectation maximisation (Dempster, Laird and Rubin 1977)."""

    config: MixtureConfig
    nature: ClassVar[Nature] = "clusters"

    def __init__(self, config: MixtureConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The configured columns."""
        return self.config.columns

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """One cell per component: ``D = -2 log(weight density)`` up to a constant."""
        from sklearn.mixture import GaussianMixture

        config = self.config
        Z = sampled(Z, config.most, seed)
        check_enough(Z, config.k)
        model = GaussianMixture(
            config.k, covariance_type=config.covariance, reg_covar=config.least_variance,
            n_init=config.starts, max_iter=300, random_state=seed,
        ).fit(Z)  # fmt: skip
        covariance = model.covariances_
        if config.covariance == "diag":
            covariance = np.stack([np.diag(v) for v in covariance])
        cells = Cells.around(model.means_, np.linalg.inv(covariance))
        offset = np.linalg.slogdet(covariance)[1] - 2.0 * np.log(model.weights_)
        return Cells(cells.segment, offset, cells.lower, cells.upper, cells.centre, cells.precision)

    def bic(self, cells: Cells, Z: Floats) -> float:
        """Bayesian information criterion of fitted cells on ``Z`` (Schwarz 1978); low is good."""
        from scipy.special import logsumexp

        n, d = Z.shape
        k = len(cells.segment)
        log_likelihood = logsumexp(-cells.distances(Z) / 2, axis=1) - d / 2 * np.log(2 * np.pi)
        widths = d if self.config.covariance == "diag" else d * (d + 1) / 2
        return float((k * (d + widths) + k - 1) * np.log(n) - 2 * log_likelihood.sum())

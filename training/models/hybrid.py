"""A stack of the published forecast and the learned one: what labels add to histories."""

from collections.abc import Mapping, Sequence

import pandas as pd
from pydantic import Field

from training.contract import Explanation, Floats
from training.models.published_value import PublishedValue, PublishedValueConfig
from training.models.two_part import TwoPart, TwoPartConfig


class HybridConfig(TwoPartConfig):
    """Settings of the trees, of the published model, and what the latter weighs."""

    weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the published forecast; search it, so that earlier cutoffs decide."""
    published: PublishedValueConfig = PublishedValueConfig()


class Hybrid:
    """Weighted mean of the logarithms of two forecasts: exp is their geometric mean.

    :class:`~training.models.two_part.TwoPart` learns from labels and every feature,
    :class:`~training.models.published_value.PublishedValue` from histories alone; they err apart.
    A sum of scores has the sum of their contributions, so explanations stay exact.
    """

    config: HybridConfig
    answers = ("amount",)
    space = "log-currency"

    def __init__(self, config: HybridConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        trees = {name: getattr(config, name) for name in TwoPartConfig.model_fields}
        self._learned = TwoPart(TwoPartConfig(**trees))
        self.published = PublishedValue(config.published)

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Fit both."""
        self.columns = tuple(X.columns)
        self._learned.fit(X, y, weight=weight, seed=seed)
        self.published.fit(X, y, weight=weight, seed=seed)

    def odds(self, X: Floats) -> Floats:
        """Log-odds of an amount above 0, shape (n_rows,)."""
        return self._learned.odds(X)

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected amounts, shape (n_rows,)."""
        w = self.config.weight
        found: Floats = (1.0 - w) * self._learned.score(X) + w * self.published.score(X)
        return found

    def explain(self, X: Floats) -> Explanation:
        """The weighted sum of both explanations."""
        w, learned, published = self.config.weight, self._learned.explain(X), self.published
        told = published.explain(X)
        return Explanation(
            (1.0 - w) * learned.base + w * told.base,
            (1.0 - w) * learned.contributions + w * told.contributions,
            X,
            self.columns,
            self.space,
        )

    def save(self) -> dict[str, bytes]:
        """The files of both."""
        return {**self._learned.save(), **self.published.save()}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore both from verified bytes."""
        self.columns = tuple(columns)
        self._learned.load(files, columns)
        self.published.load(files, columns)

    @property
    def unsupported(self) -> str:
        """Why explanations are left to XGBoost, some 20 times slower; empty if they are not."""
        return self._learned.unsupported

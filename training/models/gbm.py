"""Gradient-boosted trees by XGBoost: events in log-odds, amounts in log-currency."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from features.settings import Strict
from training.contract import Explanation, Floats, category_columns, matrix

if TYPE_CHECKING:
    import xgboost

    from training.models.trees import Trees

FILE = "model.ubj"
MANY = 1_000
"""Above so many rows XGBoost scores: it has threads, and its cost per call no longer shows."""

log = logging.getLogger(__name__)


class GbmConfig(Strict):
    """Settings of the trees; names as in XGBoost."""

    trees: int = Field(default=300, ge=1, le=5000)
    """Boosting rounds."""
    learning_rate: float = Field(default=0.03, gt=0, le=1)
    num_parallel_tree: int = Field(default=1, ge=1, le=100)
    """Trees of a round, on rows and columns drawn for each; a round adds their mean."""
    max_depth: int = Field(default=3, ge=1, le=12)
    min_child_weight: float = Field(default=50, ge=0)
    """Least sum of hessians in a leaf."""
    subsample: float = Field(default=0.8, gt=0, le=1)
    """Share of rows per tree."""
    colsample_bytree: float = Field(default=0.5, gt=0, le=1)
    """Share of columns per tree."""
    reg_lambda: float = Field(default=1.0, ge=0)
    """L2 penalty on leaf values."""
    monotone_constraints: Literal["catalogue"] | dict[str, Literal[-1, 1]] = {}
    """Column -> 1 where the score may only rise with it, -1 where it may only fall. ``catalogue``:
    as the columns' declarations say of buying to come."""


class Gbm:
    """XGBoost with the histogram method, native missing values and native categories.

    Answers come from the compiled trees of :mod:`training.models.trees`: scores equal to XGBoost's
    to the bit, explanations to rounding. XGBoost answers itself where :attr:`unsupported` says why.
    """

    config: GbmConfig
    answers = ("event",)
    space = "log-odds"

    def __init__(self, config: GbmConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._booster: xgboost.Booster | None = None
        self._trees: Trees | str | None = None

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Boost the loss of :meth:`_loss`; a column with categories is split by sets of them."""
        import xgboost

        self.columns = tuple(X.columns)
        rounds, settings = self._rounds()
        words = set(category_columns(X))
        held = settings.pop("monotone_constraints", {})
        assert isinstance(held, dict), "the pipeline puts columns in the place of the catalogue"
        settings["monotone_constraints"] = tuple(
            0 if name in words else held.get(name, 0) for name in self.columns
        )
        data = xgboost.DMatrix(
            matrix(X, self.columns), label=y, weight=weight, enable_categorical=True,
            feature_types=["c" if name in words else "q" for name in self.columns],
        )  # fmt: skip
        parameters = {"tree_method": "hist", "seed": seed, **settings, **self._loss()}
        parameters.pop("variance_power", None)
        self._booster = xgboost.train(parameters, data, num_boost_round=rounds)
        self._trees = None

    def staged(self, X: Floats) -> Iterator[tuple[int, Floats]]:
        """Boosting rounds and the scores after them, from a tenth of the rounds to all."""
        assert self._booster is not None, "fit or load first"
        total = self._booster.num_boosted_rounds()
        for rounds in sorted({-(-total * tenth // 10) for tenth in range(1, 11)}):
            found = self._booster.inplace_predict(
                X, iteration_range=(0, rounds), predict_type="margin"
            )
            yield rounds, np.asarray(found, dtype=np.float64)

    def _rounds(self) -> tuple[int, dict[str, object]]:
        """Boosting rounds, and the other settings of the trees."""
        settings: dict[str, object] = self.config.model_dump()
        return settings.pop("trees"), settings  # type: ignore[return-value]

    def _loss(self) -> dict[str, object]:
        """XGBoost's objective."""
        return {"objective": "binary:logistic"}

    def _compiled(self) -> "Trees | str":
        """The booster's trees, compiled on first use, or why they are not."""
        assert self._booster is not None, "fit or load first"
        if self._trees is None:
            from training.models.trees import Trees, Unsupported

            try:
                self._trees = Trees(self._booster)
            except Unsupported as reason:
                self._trees = str(reason)
        return self._trees

    @property
    def unsupported(self) -> str:
        """Why explanations are left to XGBoost, some 20 times slower; empty if they are not."""
        trees = self._compiled()
        found = trees if isinstance(trees, str) else trees.tables
        return found if isinstance(found, str) else ""

    def score(self, X: Floats) -> Floats:
        """Margins, shape (n_rows,)."""
        assert self._booster is not None, "fit or load first"
        if len(X) <= MANY and not isinstance(trees := self._compiled(), str):
            return trees.score(X).astype(np.float64)
        margins = self._booster.inplace_predict(X, predict_type="margin")
        return np.asarray(margins, dtype=np.float64)

    def explain(self, X: Floats) -> Explanation:
        """Path-dependent TreeSHAP (Lundberg et al. 2018, algorithm 2), equal to ``pred_contribs``.

        Base and contributions miss the score by less than 1e-5, or that share of it if it is above
        1: XGBoost sums it in float32.
        """
        assert self._booster is not None, "fit or load first"
        trees = self._compiled()
        if not isinstance(trees, str) and not isinstance(trees.tables, str):
            base, contributions = trees.explain(X)
            return Explanation(np.full(len(X), base), contributions, X, self.columns, self.space)
        import xgboost

        found = self._booster.predict(xgboost.DMatrix(X), pred_contribs=True)
        found = np.asarray(found, dtype=np.float64)
        return Explanation(found[:, -1], found[:, :-1], X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """The booster in XGBoost's own binary JSON."""
        assert self._booster is not None, "fit or load first"
        return {FILE: bytes(self._booster.save_raw("ubj"))}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the booster from verified bytes, ready for the first request."""
        import xgboost

        self.columns = tuple(columns)
        self._booster = xgboost.Booster(model_file=bytearray(files[FILE]))
        self._trees = None
        self.explain(np.zeros((1, len(columns))))
        if self.unsupported:
            log.warning("explained by XGBoost itself, some 20 times slower: %s", self.unsupported)


class TweedieConfig(GbmConfig):
    """Settings of the trees, and of how amounts are spread."""

    variance_power: float = Field(default=1.3, gt=1, lt=2)
    """Variance grows as this power of the mean: near 1 like counts, near 2 like sizes."""


class Tweedie(Gbm):
    """The same trees for amounts: many are zero, some are large, none is below zero.

    Jørgensen (1987): for powers between 1 and 2 a Tweedie variable is a Poisson number of gamma
    sizes, as spend is a number of orders. The link is the logarithm, so a score is the logarithm of
    an expected value and contributions multiply it.
    """

    config: TweedieConfig
    answers = ("amount",)
    space = "log-currency"

    def _loss(self) -> dict[str, object]:
        power = self.config.variance_power
        return {"objective": "reg:tweedie", "tweedie_variance_power": power}

"""Gradient-boosted trees by XGBoost, scored and explained in log-odds."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from features.settings import Strict
from training.contract import Explanation, Floats, matrix

if TYPE_CHECKING:
    import xgboost

FILE = "model.ubj"


class GbmConfig(Strict):
    """Settings of the trees; names as in XGBoost."""

    trees: int = Field(default=300, ge=1, le=5000)
    """Boosting rounds."""
    learning_rate: float = Field(default=0.03, gt=0, le=1)
    max_depth: int = Field(default=3, ge=1, le=12)
    min_child_weight: float = Field(default=50, ge=0)
    """Least sum of hessians in a leaf."""
    subsample: float = Field(default=0.8, gt=0, le=1)
    """Share of rows per tree."""
    colsample_bytree: float = Field(default=0.5, gt=0, le=1)
    """Share of columns per tree."""
    reg_lambda: float = Field(default=1.0, ge=0)
    """L2 penalty on leaf values."""


class Gbm:
    """XGBoost with the histogram method and native missing values."""

    config: GbmConfig
    answers = ("event",)
    space = "log-odds"

    def __init__(self, config: GbmConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._booster: xgboost.Booster | None = None

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Boost the logistic loss."""
        import xgboost

        self.columns = tuple(X.columns)
        settings = self.config.model_dump()
        rounds = settings.pop("trees")
        data = xgboost.DMatrix(matrix(X, self.columns), label=y, weight=weight)
        parameters = {
            "objective": "binary:logistic",
            "tree_method": "hist",
            "seed": seed,
            **settings,
        }
        self._booster = xgboost.train(parameters, data, num_boost_round=rounds)

    def score(self, X: Floats) -> Floats:
        """Margins in log-odds, shape (n_rows,)."""
        assert self._booster is not None, "fit or load first"
        margins = self._booster.inplace_predict(X, predict_type="margin")
        return np.asarray(margins, dtype=np.float64)

    def explain(self, X: Floats) -> Explanation:
        """Path-dependent TreeSHAP (Lundberg et al. 2018, algorithm 2) as XGBoost computes it."""
        import xgboost

        assert self._booster is not None, "fit or load first"
        found = self._booster.predict(xgboost.DMatrix(X), pred_contribs=True)
        found = np.asarray(found, dtype=np.float64)
        return Explanation(found[:, -1], found[:, :-1], X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """The booster in XGBoost's own binary JSON."""
        assert self._booster is not None, "fit or load first"
        return {FILE: bytes(self._booster.save_raw("ubj"))}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the booster from verified bytes."""
        import xgboost

        self.columns = tuple(columns)
        self._booster = xgboost.Booster(model_file=bytearray(files[FILE]))

"""Several models in one score: a weighted sum of their log-odds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field, field_validator
from scipy.optimize import minimize
from scipy.special import expit

from features.errors import ConfigError
from features.settings import Part, Strict, resolve
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, Model, matrix

HOME = "training.models"
FILE = "blend.npz"


class BlendConfig(Strict):
    """Which models are blended."""

    parts: tuple[Part, ...] = Field(
        default=(Part(use="gbm.Gbm"), Part(use="logistic.Logistic")), min_length=2, max_length=8
    )
    first_share: float | None = Field(default=None, gt=0, lt=1)
    """What the first part weighs; the others share the rest alike, and nothing in the teaching rows
    can mislead them. None: weights are learned from scores out of fold."""
    folds: int = Field(default=3, ge=2, le=20)
    """Parts of the teaching rows; each is scored by models of the others to stack."""

    @field_validator("parts")
    @classmethod
    def _no_blend_of_blends(cls, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        if any(part.use.startswith("blend.") for part in parts):
            raise ValueError("a blend has plain models as parts")
        return parts


class Blend:
    """``intercept + sum of weight * score of a part``, no weight below 0.

    Stacked regression (Wolpert 1992; Breiman 1996, who asks for weights not below 0): weights and
    intercept minimise the log loss of scores that each part gave to rows it had not learned from.
    Or weights that are not learned, which estimated ones seldom beat where forecasts are combined
    (Smith and Wallis 2009). Every part learns from all rows. A sum of scores has the sum of their
    contributions, so explanations stay exact.
    """

    config: BlendConfig
    answers = ("event",)
    space = "log-odds"

    def __init__(self, config: BlendConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._parts: list[Model] = [resolve(HOME, part) for part in config.parts]
        odd = [part.use for part, made in zip(config.parts, self._parts, strict=True)
               if "event" not in made.answers or made.space != self.space]  # fmt: skip
        if odd:
            raise ConfigError(f"blend.Blend: {odd} give no log-odds of an event")
        self._weights: Floats = np.zeros(len(self._parts))
        self._intercept = 0.0

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """All parts, and their weights.

        Raises
        ------
        ConfigError
            If weights are to be learned and a part of the rows leaves one label to learn from.
        """
        self.columns = tuple(X.columns)
        others = len(self._parts) - 1
        if (own := self.config.first_share) is not None:
            self._weights, self._intercept = np.array([own, *[(1 - own) / others] * others]), 0.0
        else:
            self._weights, self._intercept = self._stack(X, y, weight, seed)
        for model in self._parts:
            model.fit(X, y, weight=weight, seed=seed)

    def _stack(
        self, X: pd.DataFrame, y: Floats, weight: Floats | None, seed: int
    ) -> tuple[Floats, float]:
        """Weights and intercept from runs of neighbouring rows, which are of one time."""
        block = np.arange(len(y)) * self.config.folds // len(y)
        scores = np.zeros((len(y), len(self._parts)))
        for held in range(self.config.folds):
            here, rest = block == held, block != held
            if len(np.unique(y[rest])) < 2:
                raise ConfigError(
                    "blend.Blend: a part of the teaching rows leaves one label only to learn from; "
                    "use fewer folds, `first_share` or a plain model"
                )
            for k, part in enumerate(self.config.parts):
                model: Model = resolve(HOME, part)
                model.fit(X[rest], y[rest], weight=_of(weight, rest), seed=seed)
                scores[here, k] = model.score(matrix(X[here], model.columns))
        return stacked(scores, y, weight)

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        total = np.full(len(X), self._intercept)
        for weight, model in zip(self._weights, self._parts, strict=True):
            total = total + weight * model.score(X)
        return total

    def explain(self, X: Floats) -> Explanation:
        """The weighted sum of the parts' explanations."""
        base, contributions = np.full(len(X), self._intercept), np.zeros(X.shape)
        for weight, model in zip(self._weights, self._parts, strict=True):
            told = model.explain(X)
            base = base + weight * told.base
            contributions = contributions + weight * told.contributions
        return Explanation(base, contributions, X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """Weights, and the files of each part under its number."""
        weights = {"weights": self._weights, "intercept": np.array(self._intercept)}
        parts = {
            f"{k}.{name}": data
            for k, model in enumerate(self._parts)
            for name, data in model.save().items()
        }
        return {FILE: packed(weights), **parts}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore weights and parts from verified bytes."""
        self.columns = tuple(columns)
        stored = unpacked(files[FILE])
        self._weights, self._intercept = stored["weights"], float(stored["intercept"])
        for k, model in enumerate(self._parts):
            own = {n.removeprefix(f"{k}."): b for n, b in files.items() if n.startswith(f"{k}.")}
            model.load(own, columns)

    @property
    def unsupported(self) -> str:
        """Why explanations of a part are left to XGBoost; empty if none are."""
        return "; ".join(filter(None, (getattr(model, "unsupported", "") for model in self._parts)))


def stacked(scores: Floats, y: Floats, weight: Floats | None = None) -> tuple[Floats, float]:
    """Weights not below 0 and an intercept that minimise the log loss of ``scores @ weights``.

    Parameters
    ----------
    scores
        Log-odds, shape (n_rows, n_models).
    """
    w = np.ones(len(y)) if weight is None else weight
    w = w / w.sum()

    def loss(x: Floats) -> tuple[float, Floats]:
        total = scores @ x[:-1] + x[-1]
        slope = w * (expit(total) - y)
        value = float(w @ (np.logaddexp(0.0, total) - y * total))
        return value, np.append(scores.T @ slope, slope.sum())

    k = scores.shape[1]
    found: Any = minimize(
        loss, np.append(np.full(k, 1.0 / k), 0.0), jac=True, method="L-BFGS-B",
        bounds=[(0.0, None)] * k + [(None, None)], options={"ftol": 1e-13, "gtol": 1e-9},
    )  # fmt: skip
    return np.asarray(found.x[:-1], np.float64), float(found.x[-1])


def _of(weight: Floats | None, rows: Any) -> Floats | None:
    return None if weight is None else weight[rows]

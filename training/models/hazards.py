"""When an event comes: the chance that it comes in each period, given that it has not come yet."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix
from training.models import gbm
from training.models.gbm import Gbm, GbmConfig

RATES = "rates.npz"
LEAST_EVENTS = 20
"""With fewer events, or fewer who go without, a period is known by its rate alone."""
STEPS = 24
"""Points of the Gauss-Legendre rule; the path is smooth, its error lies below 1e-8."""


class HazardsConfig(GbmConfig):
    """Settings of the trees of each period, and the periods."""

    trees: int = Field(default=80, ge=1, le=5000)
    """Boosting rounds of each period."""
    learning_rate: float = Field(default=0.07, gt=0, le=1)
    min_child_weight: float = Field(default=20, ge=0)
    """Least sum of hessians in a leaf; those of small hazards are small."""
    periods_days: tuple[int, ...] = Field(default=(30, 60, 90), min_length=1, max_length=24)
    """Ends of the periods in days after the cutoff; the last one is the task's horizon."""
    asks: Literal["whether", "whether not"] = "whether"
    """What the score is about: that the event comes by the last end, or that it does not."""

    @field_validator("periods_days")
    @classmethod
    def _rising(cls, ends: tuple[int, ...]) -> tuple[int, ...]:
        if list(ends) != sorted(set(ends)) or ends[0] < 1:
            raise ValueError(f"expected rising days from 1 on, found {list(ends)}")
        return ends


class Hazards:
    """One boosted model a period of the hazard h_k = P(event in k | none before k).

    The discrete-time model of survival: Singer and Willett (1993), "It's about time: using
    discrete-time survival analysis to study duration and the timing of events", J. of Educational
    Statistics 18(2). Its likelihood is a product over periods, so each can be learned apart, with
    effects that change from period to period. Survival S = (1 - h_1) (1 - h_2) ... cannot rise.

    The score is the log-odds of the event by the last end, log(exp(A) - 1) with A = -log S.
    """

    config: HazardsConfig
    answers = ("event", "time")
    space = "log-odds"

    def __init__(self, config: HazardsConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        trees = {name: getattr(config, name) for name in GbmConfig.model_fields}
        self._periods = [Gbm(GbmConfig(**trees)) for _ in config.periods_days]
        self._rates = np.full(len(self._periods), np.nan)

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Learn each period from those whom the event had not reached before it.

        Parameters
        ----------
        y
            The day on which the event comes, 1 being the first after the cutoff; 0 where it does
            not come by the last end.
        """
        self.columns = tuple(X.columns)
        matrix(X, self.columns)  # refuses what no model can take, whoever is at risk
        heed = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        start = 0
        for k, end in enumerate(self.config.periods_days):
            waiting = (y == 0) | (y > start)
            comes = ((y > start) & (y <= end))[waiting].astype(np.float64)
            w = heed[waiting]
            came, went = float(w @ comes), float(w @ (1.0 - comes))
            self._rates[k] = np.nan
            if min(came, went) < LEAST_EVENTS:
                self._rates[k] = np.log((came + 0.5) / (went + 0.5))
            else:
                self._periods[k].fit(X[waiting], comes, weight=w, seed=seed)
            start = end

    def _margins(self, X: Floats) -> Floats:
        """Log-odds of the hazards, shape (n_rows, n_periods)."""
        known = np.isnan(self._rates)
        return np.stack([
            period.score(X) if learned else np.full(len(X), rate)
            for period, rate, learned in zip(self._periods, self._rates, known, strict=True)
        ], axis=1)  # fmt: skip

    def cumulated(self, X: Floats) -> Floats:
        """A = -log S at the end of each period, shape (n_rows, n_periods): rising."""
        found: Floats = np.cumsum(np.logaddexp(0.0, self._margins(X)), axis=1)
        return found

    def score(self, X: Floats) -> Floats:
        """Log-odds of the event by the last end, or of its absence; shape (n_rows,)."""
        return self._sign * _log_odds(self._margins(X))

    @property
    def _sign(self) -> float:
        return 1.0 if self.config.asks == "whether" else -1.0

    def explain(self, X: Floats) -> Explanation:
        """TreeSHAP of every period, carried through the log-odds of the event.

        Along the straight way from the bases of all periods to a row's own margins each
        contribution is credited with its share of what the score gains there: Aumann and Shapley
        (1974), "Values of non-atomic games". The score's slope in the margin of period k is
        h_k / (1 - S); its mean along the way is a Gauss-Legendre sum.
        """
        bases = np.where(np.isnan(self._rates), 0.0, self._rates)
        moved = np.zeros((len(self._periods), *X.shape))
        for k, period in enumerate(self._periods):
            if np.isnan(self._rates[k]):
                told = period.explain(X)
                # One for all rows; summed in blocks it may differ in its last bit.
                bases[k], moved[k] = told.base[0], told.contributions
        way = moved.sum(axis=2).T
        nodes, weights = np.polynomial.legendre.leggauss(STEPS)
        slope = np.zeros_like(way)
        for node, share in zip((nodes + 1.0) / 2.0, weights / 2.0, strict=True):
            at = np.logaddexp(0.0, bases + node * way)
            slope += share * -np.expm1(-at) / -np.expm1(-at.sum(axis=1, keepdims=True))
        contributions = np.einsum("nk,knj->nj", slope, moved)
        base = float(_log_odds(bases[None, :])[0])
        sign = self._sign
        return Explanation(
            np.full(len(X), sign * base), sign * contributions, X, self.columns, self.space
        )

    def save(self) -> dict[str, bytes]:
        """A booster for each period that was learned, and the rates of the others."""
        files = {RATES: packed({"rates": self._rates})}
        for k, period in enumerate(self._periods):
            if np.isnan(self._rates[k]):
                files[_file(k)] = period.save()[gbm.FILE]
        return files

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the boosters from verified bytes, ready for the first request."""
        self.columns = tuple(columns)
        self._rates = unpacked(files[RATES])["rates"]
        for k, period in enumerate(self._periods):
            if np.isnan(self._rates[k]):
                period.load({gbm.FILE: files[_file(k)]}, columns)

    @property
    def unsupported(self) -> str:
        """Why explanations are left to XGBoost, some 20 times slower; empty if they are not."""
        learned = np.isnan(self._rates)
        found = (p.unsupported for p, known in zip(self._periods, learned, strict=True) if known)
        return next(filter(None, found), "")


def _file(period: int) -> str:
    return f"period_{period + 1}.ubj"


def _log_odds(margins: Floats) -> Floats:
    """log(exp(A) - 1) with A the sum of log(1 + exp(margin)), exact in both tails."""
    cumulated = np.logaddexp(0.0, margins).sum(axis=1)
    found: Floats = cumulated + np.log(-np.expm1(-cumulated))
    return found

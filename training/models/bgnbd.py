"""The published baseline: purchase histories alone, by the BG/NBD model."""

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict
from training.arrays import InArrays
from training.contract import Explanation, Floats, matrix
from training.models import purchases
from training.models.history import LONGEST, MOST_ORDERS, NEVER
from training.models.shapley import shapley


class BgNbdConfig(Strict):
    """The horizon, and which columns are the history."""

    horizon_days: float = Field(default=90, gt=0)
    """No purchase in so many days is the event; take the task's horizon."""
    recency: str = "rfm__recency_days"
    """Days since the last order."""
    frequency: str = "rfm__frequency_orders"
    """Repeat orders."""
    T: str = "rfm__T_days"
    """Days since the first order."""
    gap: str = "cadence__gap_mean_days"
    """Mean days between orders; tells the first order where ``T`` is not among the features."""
    modified: bool = False
    """Whether customers may be gone after their first order, too: else who ordered once is taken
    for alive for ever."""
    prior: float = Field(default=1.0, ge=0)
    """Strength of weak priors that hold a parameter on data that leave it open; 0 = none."""


class BgNbd(InArrays):
    """Log-odds of no purchase in the horizon by BG/NBD, put on the label's scale by a line.

    Fader, Hardie, Lee (2005), see :class:`training.models.purchases.BgNbd`, or the modified model
    (Batislam, Denizel, Filiztekin 2007), see :class:`training.models.purchases.MbgNbd`. The four
    parameters describe when people buy and stop; they come from the histories (x, t_x, T) alone and
    *ignore the labels*. Two more numbers, intercept and slope of a logistic regression on the
    model's log-odds, come from the labels: who is asked (those active of late, of several cutoffs)
    and what is asked (an order that was kept) are not the model's population and event, and it
    cannot know by how much. Customers keep the order that the published model puts them in.

    Rows of all cutoffs are pooled. Each is a true history of the same process, stopped at another
    time, so the likelihood is a composite one: that a customer comes several times makes its
    parameters no less consistent, only their standard errors too small, and those are not used. A
    row's weight is the number of customers it stands for.

    A customer without a kept order is taken for one who ordered once, ten years ago. Where only the
    first order's time is missing, it is told from the frequency and the typical gap. Repeat orders
    that a caller makes up are rounded; times and orders beyond any life count as the most there
    can be.
    """

    config: BgNbdConfig
    answers = ("event",)
    space = "log-odds"

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Four parameters by (penalised) maximum likelihood of histories, two by the labels.

        Raises
        ------
        ConfigError
            If a column of the history is not among the features.
        DataError
            If nobody ordered twice, or the likelihood has no maximum.
        """
        from sklearn.linear_model import LogisticRegression

        self.columns = tuple(X.columns)
        inputs = self._inputs(matrix(X, self.columns))
        counts = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        known = ~np.isnan(inputs[:2]).any(axis=0)
        gap = self._typical_gap(inputs[:, known], counts[known])
        self._arrays = {"gap": np.array([gap])}
        recency, x, third = (column[known] for column in self._filled(inputs))
        histories = self._histories(recency, x, third, counts[known])
        fitted = purchases.fit(self._process, histories, prior=self.config.prior)
        names = self._process.names
        means = [histories.average(column) for column in (recency, x, third)]
        # Half a repeat order is no history, and one without any shows no recency.
        means[1] = max(1.0, float(np.round(means[1])))
        self._arrays |= {
            "parameters": np.array([fitted.parameters[name] for name in names]),
            "reference": np.array(means),
        }
        odds = self._odds(*self._filled(inputs))
        line = LogisticRegression(C=np.inf, random_state=seed)
        line.fit(odds[:, None], y, sample_weight=weight)
        self._arrays["line"] = np.array([line.intercept_[0], line.coef_[0, 0]])

    @property
    def _process(self) -> type[purchases.BgNbd]:
        return purchases.MbgNbd if self.config.modified else purchases.BgNbd

    @property
    def _uses(self) -> tuple[int, int, int]:
        """Positions of recency, frequency, and T or, where there is none, the mean gap."""
        c = self.config
        missing = [name for name in (c.recency, c.frequency) if name not in self.columns]
        third = c.T if c.T in self.columns else c.gap
        if third not in self.columns:
            missing.append(c.T)
        if missing:
            raise ConfigError(f"BG/NBD: no feature {missing}; add the set to features (rfm.Rfm)")
        first, second, last = (self.columns.index(name) for name in (c.recency, c.frequency, third))
        return first, second, last

    @property
    def _has_T(self) -> bool:
        return self.config.T in self.columns

    def _inputs(self, X: Floats) -> Floats:
        """The three columns as rows of shape (3, n_rows), one after the other in memory."""
        return np.ascontiguousarray(X[:, list(self._uses)].T)

    def _typical_gap(self, inputs: Floats, counts: Floats) -> float:
        """Mean days between orders, over gaps rather than customers; a month if there are none."""
        recency, x, third = inputs
        between = third - recency if self._has_T else third * x
        told = (x > 0) & ~np.isnan(between)
        gaps = float(counts[told] @ x[told])
        return float(counts[told] @ np.maximum(between[told], 0.0)) / gaps if gaps > 0 else 30.0

    def _filled(self, inputs: Floats) -> tuple[Floats, Floats, Floats]:
        """The three columns with an answer for whatever is missing."""
        recency, x, third = inputs
        gap = self._arrays["gap"][0]
        never = np.isnan(recency)
        x = np.where(never | np.isnan(x), 0.0, np.maximum(x, 0.0))
        recency = np.where(never, NEVER, np.maximum(recency, 0.0))
        guess = recency + gap * x if self._has_T else np.full(len(x), gap)
        return recency, x, np.where(np.isnan(third), guess, np.maximum(third, 0.0))

    def _histories(
        self, recency: Floats, x: Floats, third: Floats, count: Floats | None = None
    ) -> purchases.Histories:
        """Histories; the last order before the first one counts as on the same day."""
        t_x = np.maximum(third - recency, 0.0) if self._has_T else third * x
        t_x = np.where(x > 0, t_x, 0.0)
        return purchases.Histories(x, t_x, recency + t_x, count)

    def _odds(self, recency: Floats, x: Floats, third: Floats) -> Floats:
        """The published model's log-odds of no purchase in the horizon, shape (n_rows,)."""
        model = self._process(*self._arrays["parameters"].tolist())
        recency, x = np.minimum(recency, LONGEST), np.rint(np.minimum(x, MOST_ORDERS))
        longest = LONGEST if self._has_T else (LONGEST - recency) / np.maximum(x, 1.0)
        third = np.minimum(third, longest)
        none, some = model.log_no_purchase(
            self._histories(recency, x, third), self.config.horizon_days
        )
        return none - some

    def score(self, X: Floats) -> Floats:
        """Log-odds, shape (n_rows,)."""
        intercept, slope = self._arrays["line"]
        scores: Floats = intercept + slope * self._odds(*self._filled(self._inputs(X)))
        return scores

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of the three inputs; every other column's is zero."""
        intercept, slope = self._arrays["line"]

        def worth(*inputs: Floats) -> Floats:
            found: Floats = intercept + slope * self._odds(*inputs)
            return found

        own = self._filled(self._inputs(X))
        base, moved = shapley(worth, own, self._arrays["reference"].tolist())
        contributions = np.zeros_like(X)
        for at, column in zip(self._uses, moved, strict=True):
            contributions[:, at] += column
        return Explanation(np.full(len(X), base), contributions, X, self.columns, self.space)

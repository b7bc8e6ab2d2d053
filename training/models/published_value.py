"""The published forecast of spend: chance to be alive x orders x value of an order."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from training.arrays import InArrays
from training.contract import Explanation, Floats, category_columns, matrix
from training.models import purchases
from training.models.history import LONGEST, MOST_ORDERS, HistoryColumns, history
from training.models.shapley import shapley

LEAST = 1e-300
"""Below this an expected number of orders has no logarithm worth having."""

MOST_SD = 5.0
"""Covariates beyond so many standard deviations count as there."""

PROCESSES: dict[str, type[purchases.BgNbd] | type[purchases.ParetoNbd]] = {
    "bgnbd": purchases.BgNbd,
    "mbgnbd": purchases.MbgNbd,
    "pareto": purchases.ParetoNbd,
}


class PublishedValueConfig(HistoryColumns):
    """The horizon, the purchase process, and which columns are the history."""

    horizon_days: float = Field(default=90, gt=0)
    """Take the task's horizon."""
    process: Literal["bgnbd", "mbgnbd", "pareto"] = "mbgnbd"
    """BG/NBD takes who never came back for certainly alive, the others do not."""
    prior: float = Field(default=1.0, ge=0)
    """Strength of weak priors that hold a parameter on data that leave it open; 0 = none."""
    covariates: tuple[str, ...] = Field(default=(), max_length=3)
    """Feature columns that rates of buying and leaving depend on and that stay with a customer:
    acquisition channel, region, first basket; numbers or words."""


class PublishedValue(InArrays):
    """A purchase process times Gamma-Gamma: nothing is learned from labels.

    Fader, Hardie, Lee (2005), "RFM and CLV: using iso-value curves for customer base analysis":
    expected spend is P(alive) x expected orders if alive x expected value of an order, so its
    logarithm is a sum of three. Parameters come from the histories of all cutoffs, pooled: each row
    is a true history of one process, stopped at another time. Covariates enter the parameters as in
    Fader, Hardie (2007), standardised; words as one indicator each but the first. One that is
    missing counts as the average.

    A customer without a kept order is taken for one who ordered once, ten years ago; where the
    first order or the number of orders is missing, the last one counts as the only one.
    """

    config: PublishedValueConfig
    answers = ("amount",)
    space = "log-currency"
    file = "published.npz"

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """(Penalised) maximum likelihood of histories and of mean values.

        Raises
        ------
        ConfigError
            If a column of the history is not among the features.
        DataError
            If nobody ordered twice, or a likelihood has no maximum.
        """
        self.columns = tuple(X.columns)
        values = matrix(X, self.columns)
        counts = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        values, counts = values[counts > 0], counts[counts > 0]
        recency, x, T, value = history(values, self.columns, self.config)
        words = [len(X[n].cat.categories) if n in category_columns(X) else 0 for n in X.columns]
        self._arrays = {"levels": np.array(words, dtype=np.float64)}
        covariates = self._times(values)[3:]
        if covariates:
            design = self._design(covariates)
            told = np.nanstd(design, axis=0)
            indicator = np.nanmax(design, axis=0) <= 1.0
            self._arrays |= {
                "centre": np.nanmean(design, axis=0),
                "spread": np.where(told > 0, np.where(indicator, 1.0, told), 0.0),
            }
        histories = self._histories(recency, x, T, *covariates, count=counts)
        process = PROCESSES[self.config.process]
        fitted = purchases.fit(process, histories, prior=self.config.prior)
        spend = purchases.fit(
            purchases.GammaGamma, _spend(x, value, counts), prior=self.config.prior
        )
        # Half a repeat order is no history, and one without any shows no recency.
        usual = [histories.average(column) for column in (recency, x, T)]
        usual[1] = max(1.0, float(np.round(usual[1])))
        self._arrays |= {
            "process": fitted.estimates,
            "spend": np.array([spend.parameters[name] for name in purchases.GammaGamma.names]),
            "reference": np.array([*usual, float(np.exp(np.log(value[value > 0]).mean()))]),
        }

    def _inputs(self, X: Floats) -> list[Floats]:
        """The history of who is asked about, nothing of it beyond what a life may hold."""
        most = (LONGEST, MOST_ORDERS, LONGEST, np.inf)
        told = history(X, self.columns, self.config)
        return [np.minimum(column, bound) for column, bound in zip(told, most, strict=True)]

    def _times(self, X: Floats) -> list[Floats]:
        """What the process depends on: recency, repeat orders, T, then covariates as they are."""
        missing = [name for name in self.config.covariates if name not in self.columns]
        if missing:
            raise ConfigError(
                f"value: no feature {missing} for covariates; add its set to features"
            )
        places = [self.columns.index(name) for name in self.config.covariates]
        return [*self._inputs(X)[:3], *(X[:, place] for place in places)]

    def _design(self, covariates: Sequence[Floats]) -> Floats:
        """Numbers as they are, words as indicators; shape (n_rows, n_wide), NaN where missing."""
        wide = []
        for name, column in zip(self.config.covariates, covariates, strict=True):
            levels = int(self._arrays["levels"][self.columns.index(name)])
            for code in range(1, levels):
                wide.append(np.where(np.isnan(column), np.nan, column == code))
            if not levels:
                wide.append(column)
        return np.stack(wide, axis=1)

    def _histories(
        self,
        recency: Floats,
        x: Floats,
        T: Floats,
        *covariates: Floats,
        count: Floats | None = None,
    ) -> purchases.Histories:
        t_x = np.where(x > 0, np.maximum(T - recency, 0.0), 0.0)
        z = None
        if covariates:
            told = self._arrays["spread"] > 0
            centre, spread = self._arrays["centre"][told], self._arrays["spread"][told]
            z = np.nan_to_num((self._design(covariates)[:, told] - centre) / spread)
            z = np.clip(z, -MOST_SD, MOST_SD)
        return purchases.Histories(x, t_x, np.maximum(T, recency), count, z)

    @property
    def process(self) -> purchases.BgNbd | purchases.ParetoNbd:
        """The fitted purchase process, of the average of covariates; rates per day."""
        return self._process(None)

    def _process(self, z: Floats | None) -> purchases.BgNbd | purchases.ParetoNbd:
        return purchases.model_at(PROCESSES[self.config.process], self._arrays["process"], z)

    def log_orders(self, *times: Floats) -> Floats:
        """Logarithm of the expected orders of the horizon, from what :meth:`_times` gives."""
        alive, orders = self._log_alive_and_orders(times)
        return alive + orders

    def _log_alive_and_orders(self, times: Sequence[Floats]) -> tuple[Floats, Floats]:
        histories = self._histories(*times)
        process = self._process(histories.z)
        orders = process.expected_if_alive(histories, self.config.horizon_days)
        return process.log_p_alive(histories), np.log(np.maximum(orders, LEAST))

    def spend(self, X: Floats) -> purchases.Spend:
        """Orders and their mean value, as the Gamma-Gamma model sees them."""
        _, x, _, value = self._inputs(X)
        return _spend(x, value)

    def log_value(self, x: Floats, value: Floats) -> Floats:
        """Logarithm of the expected value of an order."""
        spend = purchases.GammaGamma(*self._arrays["spend"].tolist())
        return np.log(spend.expected(_spend(x, value)))

    def parts(self, X: Floats) -> dict[str, Floats]:
        """``alive`` x ``orders`` x ``value`` is the expected spend; each of shape (n_rows,).

        ``orders`` are those of a customer who is alive.
        """
        alive, orders = self._log_alive_and_orders(self._times(X))
        _, x, _, value = self._inputs(X)
        return {
            "alive": np.exp(alive),
            "orders": np.exp(orders),
            "value": np.exp(self.log_value(x, value)),
        }

    def discounted_orders(self, X: Floats, days: float, yearly_rate: float) -> Floats:
        """Expected orders of the next ``days`` if alive, each worth less the later it comes.

        Parameters
        ----------
        yearly_rate
            Such as 0.1: an order in a year is worth 1 / 1.1 of one today.
        """
        return self._discounted(self._histories(*self._times(X)), days, yearly_rate)

    def _discounted(self, histories: purchases.Histories, days: float, rate: float) -> Floats:
        process = self._process(histories.z)
        return process.discounted_if_alive(histories, days, float(np.log1p(rate)) / 365.0)

    def explained_parts(self, X: Floats, days: float, yearly_rate: float) -> dict[str, Floats]:
        """What columns add to the logarithms of ``alive``, discounted ``orders`` and ``value``.

        Exact Shapley values as in :meth:`explain`, each of shape (n_rows, n_features); every column
        but those of the history and covariates has zeros.
        """

        def alive_and_orders(*times: Floats) -> Floats:
            h = self._histories(*times)
            orders = np.maximum(self._discounted(h, days, yearly_rate), LEAST)
            return np.stack([self._process(h.z).log_p_alive(h), np.log(orders)])

        _, (alive, orders) = self._shared(alive_and_orders, X, self._timely)
        _, value = self._shared(self.log_value, X, self._worthy)
        return {"alive": alive, "orders": orders, "value": value}

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected spend in the horizon, shape (n_rows,)."""
        _, x, _, value = self._inputs(X)
        return self.log_orders(*self._times(X)) + self.log_value(x, value)

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of the inputs; every other column's is zero.

        Orders depend on times and covariates, the value of an order on two inputs, and the Shapley
        values of a sum are the sums of theirs.
        """
        orders_base, orders = self._shared(self.log_orders, X, self._timely)
        value_base, values = self._shared(self.log_value, X, self._worthy)
        base = np.full(len(X), float(orders_base + value_base))
        return Explanation(base, orders + values, X, self.columns, self.space)

    @property
    def _timely(self) -> tuple[str, ...]:
        c = self.config
        return (c.recency, c.frequency, c.T, *c.covariates)

    @property
    def _worthy(self) -> tuple[str, ...]:
        return (self.config.frequency, self.config.monetary)

    def _shared(
        self, worth: Callable[..., Floats], X: Floats, names: Sequence[str]
    ) -> tuple[Floats, Floats]:
        """Shapley values of ``worth`` of the named inputs, shape (..., n_rows, n_features).

        The reference customer has the average of covariates: they are missing.
        """
        c, usual = self.config, self._arrays["reference"].tolist()
        own = dict(zip((c.recency, c.frequency, c.T, c.monetary), self._inputs(X), strict=True))
        own |= dict(zip(c.covariates, self._times(X)[3:], strict=True))
        references = dict(zip((c.recency, c.frequency, c.T, c.monetary), usual, strict=True))
        base, moved = shapley(
            worth, [own[n] for n in names], [references.get(n, float("nan")) for n in names]
        )
        found = np.zeros((*np.shape(base), *X.shape))
        for name, column in zip(names, moved, strict=True):
            found[..., self.columns.index(name)] += column
        return base, found

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the arrays from verified bytes, ready for the first request."""
        super().load(files, columns)
        self.score(np.zeros((1, len(columns))))


def _spend(x: Floats, value: Floats, count: Floats | None = None) -> purchases.Spend:
    return purchases.Spend(np.where(value > 0, x + 1.0, 0.0), value, count)

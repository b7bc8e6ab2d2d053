"""The published forecast of spend: chance to be alive x orders x value of an order."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix
from training.models import purchases
from training.models.shapley import shapley

FILE = "published.npz"
NEVER = 3650.0
"""Days since the last order of who has none that was kept: the longest time seen in data."""
LEAST = 1e-300
"""Below this an expected number of orders has no logarithm worth having."""

PROCESSES: dict[str, type[purchases.BgNbd] | type[purchases.ParetoNbd]] = {
    "bgnbd": purchases.BgNbd,
    "mbgnbd": purchases.MbgNbd,
    "pareto": purchases.ParetoNbd,
}


class PublishedValueConfig(Strict):
    """The horizon, the purchase process, and which columns are the history."""

    horizon_days: float = Field(default=90, gt=0)
    """Take the task's horizon."""
    process: Literal["bgnbd", "mbgnbd", "pareto"] = "mbgnbd"
    """BG/NBD takes who never came back for certainly alive, the others do not."""
    recency: str = "rfm__recency_days"
    """Days since the last order."""
    frequency: str = "rfm__frequency_orders"
    """Repeat orders."""
    T: str = "rfm__T_days"
    """Days since the first order."""
    monetary: str = "rfm__monetary_value"
    """Mean value of an order."""
    prior: float = Field(default=1.0, ge=0)
    """Strength of weak priors that hold a parameter on data that leave it open; 0 = none."""


class PublishedValue:
    """A purchase process times Gamma-Gamma: nothing is learned from labels.

    Fader, Hardie, Lee (2005), "RFM and CLV: using iso-value curves for customer base analysis":
    expected spend is P(alive) x expected orders if alive x expected value of an order, so its
    logarithm is a sum of three. Parameters come from the histories of all cutoffs, pooled: each row
    is a true history of one process, stopped at another time.

    A customer without a kept order is taken for one who ordered once, ten years ago; where the
    first order or the number of orders is missing, the last one counts as the only one.
    """

    config: PublishedValueConfig
    answers = ("amount",)
    space = "log-currency"

    def __init__(self, config: PublishedValueConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        self._arrays: dict[str, Floats] = {}

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
        inputs = self._inputs(matrix(X, self.columns))
        counts = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        some = counts > 0
        recency, x, T, value = (column[some] for column in inputs)
        histories = _histories(recency, x, T, counts[some])
        process = PROCESSES[self.config.process]
        fitted = purchases.fit(process, histories, prior=self.config.prior)
        spend = purchases.fit(
            purchases.GammaGamma, _spend(x, value, counts[some]), prior=self.config.prior
        )
        # Half a repeat order is no history, and one without any shows no recency.
        usual = [histories.average(column) for column in (recency, x, T)]
        usual[1] = max(1.0, float(np.round(usual[1])))
        self._arrays = {
            "process": np.array([fitted.parameters[name] for name in process.names]),
            "spend": np.array([spend.parameters[name] for name in purchases.GammaGamma.names]),
            "reference": np.array([*usual, float(np.exp(np.log(value[value > 0]).mean()))]),
        }

    def _inputs(self, X: Floats) -> list[Floats]:
        """Recency, repeat orders, T and mean value of an order, with an answer for what is missing.

        A value of 0 says that none is known.
        """
        c = self.config
        wanted = (c.recency, c.frequency, c.T, c.monetary)
        missing = [name for name in wanted if name not in self.columns]
        if missing:
            raise ConfigError(
                f"published value: no feature {missing}; add the set to features (rfm.Rfm)"
            )
        recency, x, T, value = (X[:, self.columns.index(name)] for name in wanted)
        recency = np.where(np.isnan(recency), NEVER, np.maximum(recency, 0.0))
        told = ~np.isnan(x) & ~np.isnan(T)
        x = np.where(told, np.round(np.maximum(x, 0.0)), 0.0)
        T = np.where(told, np.maximum(T, recency), recency)
        return [recency, x, T, np.where(value > 0, value, 0.0)]

    @property
    def process(self) -> purchases.BgNbd | purchases.ParetoNbd:
        """The fitted purchase process; rates per day."""
        return PROCESSES[self.config.process](*self._arrays["process"].tolist())

    def log_orders(self, recency: Floats, x: Floats, T: Floats) -> Floats:
        """Logarithm of the expected orders of the horizon."""
        alive, orders = self._log_alive_and_orders(_histories(recency, x, T))
        return alive + orders

    def _log_alive_and_orders(self, histories: purchases.Histories) -> tuple[Floats, Floats]:
        process = self.process
        orders = process.expected_if_alive(histories, self.config.horizon_days)
        return process.log_p_alive(histories), np.log(np.maximum(orders, LEAST))

    def log_value(self, x: Floats, value: Floats) -> Floats:
        """Logarithm of the expected value of an order."""
        spend = purchases.GammaGamma(*self._arrays["spend"].tolist())
        return np.log(spend.expected(_spend(x, value)))

    def parts(self, X: Floats) -> dict[str, Floats]:
        """``alive`` x ``orders`` x ``value`` is the expected spend; each of shape (n_rows,).

        ``orders`` are those of a customer who is alive.
        """
        recency, x, T, value = self._inputs(X)
        alive, orders = self._log_alive_and_orders(_histories(recency, x, T))
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
        recency, x, T, _ = self._inputs(X)
        rate = float(np.log1p(yearly_rate)) / 365.0
        return self.process.discounted_if_alive(_histories(recency, x, T), days, rate)

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected spend in the horizon, shape (n_rows,)."""
        recency, x, T, value = self._inputs(X)
        return self.log_orders(recency, x, T) + self.log_value(x, value)

    def explain(self, X: Floats) -> Explanation:
        """Exact Shapley values of the four inputs; every other column's is zero.

        Orders depend on three of them and the value of an order on two, and the Shapley values of a
        sum are the sums of theirs.
        """
        recency, x, T, value = self._inputs(X)
        usual = self._arrays["reference"].tolist()
        orders_base, orders = shapley(self.log_orders, (recency, x, T), usual[:3])
        value_base, values = shapley(self.log_value, (x, value), usual[1::2])
        c, contributions = self.config, np.zeros_like(X)
        for name, moved in (
            (c.recency, orders[0]),
            (c.frequency, orders[1] + values[0]),
            (c.T, orders[2]),
            (c.monetary, values[1]),
        ):
            contributions[:, self.columns.index(name)] += moved
        base = np.full(len(X), orders_base + value_base)
        return Explanation(base, contributions, X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """Parameters and the reference customer."""
        return {FILE: packed(self._arrays)}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore the arrays from verified bytes, ready for the first request."""
        self.columns = tuple(columns)
        self._arrays = unpacked(files[FILE])
        self.score(np.zeros((1, len(columns))))


def _histories(
    recency: Floats, x: Floats, T: Floats, count: Floats | None = None
) -> purchases.Histories:
    t_x = np.where(x > 0, np.maximum(T - recency, 0.0), 0.0)
    return purchases.Histories(x, t_x, np.maximum(T, recency), count)


def _spend(x: Floats, value: Floats, count: Floats | None = None) -> purchases.Spend:
    return purchases.Spend(np.where(value > 0, x + 1.0, 0.0), value, count)

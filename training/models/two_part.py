"""Whether a customer buys at all, and how much if so: two boosted models of one amount."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, matrix
from training.models import gbm
from training.models.gbm import Gbm, GbmConfig

FILES = {"buys": "buys.ubj", "amount": "amount.ubj"}
SPREAD = "spread.npz"
LEAST = 0.01
"""What an amount above 0 is at least, in whole units, before its logarithm is taken."""


class TwoPartConfig(GbmConfig):
    """Settings of the trees, the same for both parts."""


class _LogAmount(Gbm):
    """Trees for the logarithm of an amount that is above 0, by squared error."""

    config: GbmConfig
    space = "log-currency"

    def _loss(self) -> dict[str, object]:
        return {"objective": "reg:squarederror"}


class TwoPart:
    """P(anything) times the mean of a lognormal amount: E = sigmoid(f) exp(g + s^2 / 2).

    Duan, Manning, Morris, Newhouse (1983), "A comparison of alternative models for the demand for
    medical care", section 3: f is learned from everybody, g from those with an amount above 0. The
    spread s of the logarithm is one number; it keeps the order of customers.
    """

    config: TwoPartConfig
    answers = ("amount",)
    space = "log-currency"

    def __init__(self, config: TwoPartConfig) -> None:
        self.config = config
        self.columns: tuple[str, ...] = ()
        settings = GbmConfig(**{name: getattr(config, name) for name in GbmConfig.model_fields})
        self._buys, self._amount = Gbm(settings), _LogAmount(settings)
        self._spread = 0.0

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Boost both parts, and take the spread of what the second leaves unexplained."""
        self.columns = tuple(X.columns)
        bought = y > 0
        weights = np.ones(len(y)) if weight is None else np.asarray(weight, dtype=np.float64)
        self._buys.fit(X, bought.astype(np.float64), weight=weight, seed=seed)
        logs, some, heed = np.log(np.maximum(y[bought], LEAST)), X[bought], weights[bought]
        self._amount.fit(some, logs, weight=heed, seed=seed)
        left = logs - self._amount.score(matrix(some, self.columns))
        self._spread = float(np.sqrt(np.average(left**2, weights=heed)))

    def odds(self, X: Floats) -> Floats:
        """Log-odds of an amount above 0, shape (n_rows,)."""
        return self._buys.score(X)

    def score(self, X: Floats) -> Floats:
        """Logarithms of expected amounts, shape (n_rows,)."""
        return _log_chance(self.odds(X)) + self._amount.score(X) + self._spread**2 / 2

    def explain(self, X: Floats) -> Explanation:
        """TreeSHAP of both parts, that of the first carried through log sigmoid.

        Along the straight way from the base's log-odds to the row's each contribution is credited
        with its share of what log sigmoid gains: Aumann and Shapley (1974), "Values of non-atomic
        games". As all contributions enter by their sum, that is one factor for a row, the slope of
        the secant.
        """
        chance, amount = self._buys.explain(X), self._amount.explain(X)
        start, end = chance.base, chance.scores
        gained, way = _log_chance(end) - _log_chance(start), end - start
        short = np.abs(way) < 1e-6  # there the secant is the tangent
        secant = np.where(short, np.exp(_log_chance(-start)), gained / np.where(short, 1.0, way))
        return Explanation(
            _log_chance(start) + amount.base + self._spread**2 / 2,
            secant[:, None] * chance.contributions + amount.contributions,
            X,
            self.columns,
            self.space,
        )

    def save(self) -> dict[str, bytes]:
        """Two boosters in XGBoost's own binary JSON, and the spread."""
        return {
            FILES["buys"]: self._buys.save()[gbm.FILE],
            FILES["amount"]: self._amount.save()[gbm.FILE],
            SPREAD: packed({"spread": np.array([self._spread])}),
        }

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore both boosters from verified bytes, ready for the first request."""
        self.columns = tuple(columns)
        self._buys.load({gbm.FILE: files[FILES["buys"]]}, columns)
        self._amount.load({gbm.FILE: files[FILES["amount"]]}, columns)
        self._spread = float(unpacked(files[SPREAD])["spread"][0])

    @property
    def unsupported(self) -> str:
        """Why explanations are left to XGBoost, some 20 times slower; empty if they are not."""
        return self._buys.unsupported or self._amount.unsupported


def _log_chance(odds: Floats) -> Floats:
    """Log sigmoid, exact in both tails."""
    found: Floats = -np.logaddexp(0.0, -odds)
    return found

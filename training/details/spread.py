"""How an amount scatters around its mean: nothing at all, or a lognormal amount."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, ndtri

from training.calibrate import season_shift
from training.contract import Floats

CERTAIN = 1e-6
"""How near to 0 and 1 a chance is taken for."""
LIKELY = 0.2
"""Intervals are fitted to rows with at least this chance of any amount: of others [0, 0] covers
more than it should."""
LEVELS = np.linspace(0.02, 0.998, 490)


@dataclass(frozen=True)
class Spread:
    """0 with probability 1 - chance, else lognormal with mean ``mean / chance``.

    The zero-inflated lognormal of Wang, Liu, Miao (2019), "A deep probabilistic model for customer
    lifetime value prediction", equation 3, around means and chances that others have learned.
    """

    sigma: float
    """Standard deviation of the logarithm of an amount above 0."""
    level: float
    """Nominal level of intervals that cover as often as they should."""

    @classmethod
    def fit(cls, y: Floats, mean: Floats, chance: Floats, coverage: float) -> "Spread":
        """``sigma`` by moments, and the least level at which ``coverage`` is reached.

        On rows that did not teach, the latter is split-conformal prediction (Vovk, Gammerman,
        Shafer 2005, "Algorithmic learning in a random world", section 4.2).

        Parameters
        ----------
        y, mean, chance
            Amounts, and their means and chances as answers have them.
        """
        chance, some = _inside(chance), y > 0
        sigma = float(np.std(np.log(y[some] * chance[some] / mean[some]))) if some.any() else 1.0
        drawn = cls(max(sigma, 1e-3), coverage)
        likely = chance >= LIKELY
        if not likely.any():
            return drawn
        rows = y[likely], mean[likely], chance[likely]
        wanted = min(np.ceil(coverage * (len(rows[0]) + 1)) / len(rows[0]), 1.0)
        for level in LEVELS:
            found = replace(drawn, level=float(level))
            if found.covers(*rows).mean() >= wanted:
                break
        return found

    def quantile(self, q: Floats | float, mean: Floats, chance: Floats) -> Floats:
        """Quantiles, shape (n_rows,)."""
        chance = _inside(chance)
        inside = (np.asarray(q, dtype=np.float64) - (1.0 - chance)) / chance
        z = ndtri(np.clip(inside, 1e-12, 1.0 - 1e-12))
        amount = mean / chance * np.exp(self.sigma * z - self.sigma**2 / 2)
        found: Floats = np.where(inside > 0, amount, 0.0)
        return found

    def interval(self, mean: Floats, chance: Floats) -> tuple[Floats, Floats]:
        """Lower and upper end; an interval begins at 0 where 0 is likelier than a tail."""
        tail = (1.0 - self.level) / 2.0
        low = np.where(1.0 - chance >= tail, 0.0, tail)
        return self.quantile(low, mean, chance), self.quantile(low + self.level, mean, chance)

    def covers(self, y: Floats, mean: Floats, chance: Floats) -> Floats:
        """1 where the interval holds the amount, else 0."""
        lower, upper = self.interval(mean, chance)
        found: Floats = ((y >= lower) & (y <= upper)).astype(np.float64)
        return found


def recentred(y: Floats, scores: Floats, odds: Floats) -> tuple[Floats, Floats]:
    """Means and chances of a block, moved to its own total and rate.

    A block's level is the season's; where nothing foretold it, the shape alone can be learned.
    """
    mean = np.exp(scores + season_shift(scores, y, "amount"))
    return mean, expit(odds + season_shift(odds, (y > 0).astype(np.float64)))


def _inside(chance: Floats) -> Floats:
    return np.clip(chance, CERTAIN, 1.0 - CERTAIN)

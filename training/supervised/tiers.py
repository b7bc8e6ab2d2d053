"""Tiers of an event: high, medium or low, from probabilities that are published with the answer."""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from features.settings import Strict
from training.contract import Floats
from training.details import Detail

COLUMN = "tier"
NAMES = ("high", "medium", "low")


class TiersConfig(Strict):
    """How many customers the upper tiers are to hold."""

    shares: tuple[float, float] = Field(default=(0.1, 0.2))
    """Shares of the customers asked that are high and medium; the rest is low."""

    @model_validator(mode="after")
    def _leaves_a_rest(self) -> "TiersConfig":
        if min(self.shares) <= 0 or sum(self.shares) >= 1:
            raise ValueError("shares are above 0 and leave a rest for the low tier")
        return self


class Tiers(Strict):
    """Probabilities from which on a customer is high, and medium, and what that promised."""

    high_from: float
    medium_from: float
    volumes: tuple[float, float, float]
    """Shares of the customers that were high, medium, low where the cut-offs were learned."""
    precisions: tuple[float, float, float]
    """Their rates of the event there."""

    @classmethod
    def learned(cls, config: TiersConfig, y: Floats, p: Floats) -> "Tiers":
        """From out-of-time answers ``p``, shape (n_rows,), to customers with labels ``y``.

        Customers with equal answers are in one tier, so a tier may be larger than asked for.
        """
        high, medium = config.shares
        cuts = np.quantile(p, [1 - high, 1 - high - medium], method="lower")
        bare = cls(high_from=cuts[0], medium_from=cuts[1], volumes=(0, 0, 0), precisions=(0, 0, 0))
        inside = [bare.words(p) == name for name in NAMES]
        return bare.model_copy(
            update={
                "volumes": tuple(float(mask.mean()) for mask in inside),
                "precisions": tuple(float(y[m].mean()) if m.any() else 0.0 for m in inside),
            }
        )

    def words(self, p: Floats) -> NDArray[np.str_]:
        """The tier of each answer."""
        return np.select([p >= self.high_from, p >= self.medium_from], NAMES[:2], NAMES[2])

    def column(self) -> Detail:
        """The column that says it."""
        meaning = (
            f"high from probability {self.high_from:.4f} on, medium from {self.medium_from:.4f}; "
            f"{self.precisions[0]:.0%} and {self.precisions[1]:.0%} of them had the event on the "
            "validation cutoffs"
        )
        return Detail(name=COLUMN, unit="tier", dtype="string", meaning=meaning)

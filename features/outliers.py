"""How far out a number lies: the one rule that checks of tables and repairs of models share."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict


class Outliers(Strict):
    """From where on a value is an outlier."""

    by: Literal["z_score", "iqr"]
    """``z_score``: by standard deviations from the mean; ``iqr``: by interquartile ranges below
    the first quartile or above the third (Tukey 1977)."""
    beyond: float = Field(default=3.0, gt=0)
    """How many of them."""

    def __str__(self) -> str:
        return f"by {self.by} beyond {self.beyond:g}"

    def bounds(self, values: NDArray[np.float64]) -> tuple[float, float]:
        """Smallest and largest of ``values``, shape (n,), that is none; NaN counts for nothing.

        Raises
        ------
        ValueError
            If too few values differ for a spread: everything else would be an outlier.
        """
        known = values[~np.isnan(values)]
        if not len(known):
            raise ValueError("no value is known")
        if self.by == "iqr":
            low, high = (float(q) for q in np.quantile(known, (0.25, 0.75)))
        else:
            low = high = float(known.mean())
        unit = high - low if self.by == "iqr" else float(known.std())
        # Equal decimals may have a mean that misses them by rounding.
        if unit <= 1e-12 * max(abs(low), abs(high)):
            raise ValueError(
                "half of the values or more are one and the same: take z_score"
                if self.by == "iqr" else "all values are one and the same"
            )  # fmt: skip
        return low - self.beyond * unit, high + self.beyond * unit

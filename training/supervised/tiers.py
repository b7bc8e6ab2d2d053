"""Tiers of an event: high, medium or low, from probabilities that are published with the answer."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, model_validator

from features.settings import Strict
from training.contract import Floats
from training.metrics import customer_weights, interval
from training.report import Section
from training.rows import Rows

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


def table(rows: Rows, tiers: Tiers, p: Floats, repeats: int, seed: int) -> pd.DataFrame:
    """By tier: cut-off, volume and precision as expected and as found, with the finding's interval.

    Parameters
    ----------
    p
        Calibrated answers to ``rows``, shape (n_rows,).
    """
    weights = customer_weights(rows.customers, repeats, seed)
    words, total = tiers.words(p), rows.y.sum()
    lines = []
    for i, name in enumerate(NAMES):
        mask = words == name
        line = {
            "tier": name, "from_probability": (tiers.high_from, tiers.medium_from, 0.0)[i],
            "customers": int(mask.sum()), "expected_volume": tiers.volumes[i],
            "volume": float(mask.mean()), "expected_precision": tiers.precisions[i],
            "precision": np.nan, "ci_low": np.nan, "ci_high": np.nan,
            "share_of_events": float(rows.y[mask].sum() / total) if total else np.nan,
        }  # fmt: skip
        if mask.any():
            drawn = weights[:, mask]
            with np.errstate(invalid="ignore"):
                low, high = interval((drawn @ rows.y[mask]) / drawn.sum(axis=1))
            line |= {"precision": float(rows.y[mask].mean()), "ci_low": low, "ci_high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def section(found: pd.DataFrame) -> Section:
    """The section of the card."""
    text = (
        "Cut-offs were learned on validation blocks; volume and precision there are what is to be "
        "expected, those beside them were found on the test. Whoever needs a list that is never "
        "longer than so many takes the highest answers instead."
    )
    shown = found.round(4).astype(object).where(found.notna(), "nobody is in it")
    return Section("Tiers", [text], shown)

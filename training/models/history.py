"""A customer's purchase history among the features: which columns hold it, and what gaps mean."""

from collections.abc import Sequence

import numpy as np

from features.errors import ConfigError
from features.settings import Strict
from training.contract import Floats

NEVER = 3650.0
"""Days since the last order of who has none that was kept: the longest time seen in data."""
LONGEST, MOST_ORDERS = 36_000.0, 1e6
"""Days and repeat orders; asked about more, models answer as for these. Learning refuses it."""


class HistoryColumns(Strict):
    """Which feature columns are a customer's history."""

    recency: str = "rfm__recency_days"
    """Days since the last order."""
    frequency: str = "rfm__frequency_orders"
    """Repeat orders."""
    T: str = "rfm__T_days"
    """Days since the first order."""
    monetary: str = "rfm__monetary_value"
    """Mean value of an order."""


def history(X: Floats, columns: Sequence[str], names: HistoryColumns) -> list[Floats]:
    """Recency, repeat orders, T and mean value of an order, with an answer for what is missing.

    A value of 0 says that none is known.

    Raises
    ------
    ConfigError
        If a column of the history is not among the features.
    """
    wanted = (names.recency, names.frequency, names.T, names.monetary)
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise ConfigError(f"value: no feature {missing}; add the set to features (rfm.Rfm)")
    recency, x, T, value = (X[:, columns.index(name)] for name in wanted)
    recency = np.where(np.isnan(recency), NEVER, np.maximum(recency, 0.0))
    told = ~np.isnan(x) & ~np.isnan(T)
    x = np.where(told, np.round(np.maximum(x, 0.0)), 0.0)
    T = np.where(told, np.maximum(T, recency), recency)
    return [recency, x, T, np.where(value > 0, value, 0.0)]

"""Customers of known types, for the tests of segmentations."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.cutoffs import Moments
from features.schema import FeatureColumn
from training.rows import Rows
from training.splits import Splits

COLUMNS = (
    "rfm__recency_days",
    "rfm__frequency_orders",
    "orders__spend_total",
    "orders__spend_365d",
    "orders__orders_365d",
    "orders__discount_share_365d",
    "cadence__gap_mean_days",
)
SCHEMA = tuple(
    FeatureColumn(name=name, unit=unit, meaning=meaning, missing=missing, low=0, high=high)
    for name, unit, meaning, missing, high in (
        (COLUMNS[0], "days", "time since the last order", "no order", None),
        (COLUMNS[1], "orders", "repeat orders", "never", None),
        (COLUMNS[2], "currency", "net value of all orders", "never", None),
        (COLUMNS[3], "currency", "net value of orders, last 365 days", "never", None),
        (COLUMNS[4], "orders", "orders, last 365 days", "never", None),
        (COLUMNS[5], "ratio", "discount over list value", "no order", 1),
        (COLUMNS[6], "days", "mean gap between orders", "fewer than two orders", None),
    )
)
ACTIVITY = ("rfm__recency_days", "orders__orders_365d", "orders__spend_365d")
VALUE = "orders__spend_365d"

# Mean recency (days), orders a year, order value, discount share, probability of buying next.
TYPES = (
    (10.0, 24.0, 90.0, 0.05, 0.95),
    (40.0, 6.0, 45.0, 0.5, 0.6),
    (25.0, 1.5, 150.0, 0.1, 0.35),
    (300.0, 1.2, 20.0, 0.1, 0.05),
)


def customers(
    n: int, seed: int = 0, spread: float = 0.25
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Feature rows, types 0 to 3 by falling spend, and the spend of the next period."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(4, n, p=[0.1, 0.3, 0.2, 0.4])
    recency, orders, value, discount, buys = (
        np.array([t[j] for t in TYPES])[kind] for j in range(5)
    )
    noise = rng.lognormal(0.0, spread, (3, n))
    recency, orders, value = recency * noise[0], orders * noise[1], value * noise[2]
    frequency = np.maximum(np.round(orders * rng.uniform(1.0, 2.0, n)) - 1, 0.0)
    gap = np.where(frequency > 0, 365.0 / np.maximum(frequency, 1.0), np.nan)
    X = pd.DataFrame(
        dict(
            zip(
                COLUMNS,
                (
                    recency, frequency, (frequency + 1) * value, orders * value, orders,
                    np.clip(discount + rng.normal(0, 0.05, n), 0, 1), gap,
                ),
                strict=True,
            )
        )
    )  # fmt: skip
    spend = (rng.random(n) < buys) * value * rng.lognormal(0.0, 0.3, n)
    order = np.argsort([-a * b for _, a, b, _, _ in TYPES])
    return X, np.argsort(order)[kind], spend


def rows_at(cutoffs: Sequence[datetime], n: int, seed: int = 0) -> tuple[Rows, np.ndarray]:
    """The same ``n`` customers at each cutoff with features drawn anew, and their types."""
    drawn = [customers(n, seed + i) for i in range(len(cutoffs))]
    rows = Rows(
        pd.concat([X for X, _, _ in drawn], ignore_index=True),
        np.concatenate([spend for _, _, spend in drawn]),
        np.tile(np.arange(n, dtype=np.int64), len(cutoffs)),
        np.repeat(np.array(cutoffs, dtype="datetime64[us]"), n),
    )
    return rows, np.concatenate([kind for _, kind, _ in drawn])


def splits(n: int = 300, seed: int = 0) -> Splits:
    """Six teaching cutoffs 30 days apart, the last two validating, horizon 60 days."""
    teaching = tuple(datetime(2024, 1, 1) + timedelta(days=30 * k) for k in range(6))
    moments = Moments(teaching, teaching[-1] + timedelta(days=60), teaching[-2:])
    rows, _ = rows_at(moments.all, n, seed)
    return Splits(rows, moments, timedelta(days=60), "amount", SCHEMA)

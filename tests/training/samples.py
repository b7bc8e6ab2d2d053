"""Small samples for the tests of this package: rows with a known signal, splits, bundles."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.cutoffs import Moments
from features.schema import FeatureColumn
from features.settings import resolve
from training.bundle import MODELS
from training.calibrate import Calibrator
from training.contract import Floats
from training.model_part import ModelPart
from training.rows import Rows
from training.splits import Splits
from training.supervised.bundle import Answer, Bundle

COLUMNS = (
    "rfm__recency_days",
    "rfm__frequency_orders",
    "cadence__gap_mean_days",
    "orders__spend_90d",
    "orders__trend_orders",
)
BEGAN = datetime(2024, 1, 1)
DAY = timedelta(days=1)


def customers(n: int, seed: int = 0) -> tuple[pd.DataFrame, Floats, Floats]:
    """Feature rows, labels and the probabilities that the labels were drawn from.

    Recency carries most of the signal, frequency some; the gap is missing for single buyers; spend
    is mostly zero and says nothing, nor does the trend.
    """
    rng = np.random.default_rng(seed)
    recency = rng.exponential(90.0, n)
    frequency = rng.geometric(0.35, n) - 1.0
    gap = np.where(frequency > 0, rng.gamma(2.0, 30.0, n), np.nan)
    spend = np.where(rng.random(n) < 0.6, 0.0, rng.lognormal(4.0, 2.0, n))
    trend = rng.random(n)
    logit = 1.6 * (np.log1p(recency) - 4.0) - 0.7 * np.log1p(frequency) + 0.6
    p = 1.0 / (1.0 + np.exp(-logit))
    X = pd.DataFrame(dict(zip(COLUMNS, (recency, frequency, gap, spend, trend), strict=True)))
    return X, (rng.random(n) < p).astype(np.float64), p


SPENT = "orders__spend_365d"
VALUE = "rfm__monetary_value"


def spenders(n: int, seed: int = 0) -> tuple[pd.DataFrame, Floats, Floats]:
    """Feature rows, amounts and what was to be expected of them: mostly what was spent before.

    A fifth of the amounts are zero; those that are not scatter widely. The mean value of an order
    goes with what was spent, loosely.
    """
    X, _, p = customers(n, seed)
    rng = np.random.default_rng(seed + 1_000)
    spent = rng.lognormal(5.0, 1.0, n)
    expected = 0.25 * spent * (1.2 - p)
    amounts = np.where(rng.random(n) < 0.2, 0.0, rng.gamma(2.0, expected / 2 / 0.8))
    gaps = np.where(X["rfm__frequency_orders"] > 0, X["cadence__gap_mean_days"], 0.0)
    first = X["rfm__recency_days"] + gaps * X["rfm__frequency_orders"]
    value = 0.5 * spent * rng.lognormal(0.0, 0.5, n)
    return X.assign(**{SPENT: spent, "rfm__T_days": first, VALUE: value}), amounts, expected


def rows_at(cutoffs: Sequence[datetime], n: int, seed: int = 0) -> Rows:
    """``n`` customers at each cutoff, the same ones at all of them."""
    samples = [customers(n, seed + i) for i in range(len(cutoffs))]
    return Rows(
        pd.concat([X for X, _, _ in samples], ignore_index=True),
        np.concatenate([y for _, y, _ in samples]),
        np.tile(np.arange(n, dtype=np.int64), len(cutoffs)),
        np.repeat(np.array(cutoffs, dtype="datetime64[us]"), n),
    )


def splits(n: int = 120, seed: int = 0, folds: int = 2) -> Splits:
    """Six teaching cutoffs a month apart, the last ``folds`` validating, horizon 60 days."""
    teaching = tuple(BEGAN + 30 * k * DAY for k in range(6))
    test = teaching[-1] + 60 * DAY
    moments = Moments(teaching, test, teaching[-folds:])
    return Splits(rows_at(moments.all, n, seed), moments, 60 * DAY)


def declared(names: Sequence[str] = COLUMNS) -> tuple[FeatureColumn, ...]:
    """Declarations of feature columns."""
    return tuple(FeatureColumn(name=n, unit="days", meaning=n, missing="unseen") for n in names)


def bundle(use: str = "gbm.Gbm", seed: int = 0, **config: object) -> tuple[Bundle, Floats]:
    """A fitted bundle that was never written, and rows to ask it about."""
    part = ModelPart(use=use, config=dict(config))
    model = resolve(MODELS, part)
    X, y, _ = customers(300, seed)
    model.fit(X, y, weight=None, seed=seed)
    answer = Answer(
        task="churn", question="Will they?", output="churn_probability", space=model.space,
        model=part, columns=declared(model.columns), threshold=0.5, cutoff="2024-06-01",
        horizon_days=60, source="simulated", currency="EUR", run_key=f"run-{use}-{seed}",
    )  # fmt: skip
    calibrator = Calibrator("platt", {"line": (1.1, -0.2)}, 0.05)
    return Bundle(answer, model, calibrator), X.to_numpy(np.float64)[:40]

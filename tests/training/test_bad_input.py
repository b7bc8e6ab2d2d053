"""Data that are hard to learn from: answers stay finite and near the rate, or are refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from features.settings import Part, Workspace
from tests.training.samples import splits
from tests.worlds import CONFIGS
from training.calibrate import CalibrateConfig
from training.pipeline import load_plan
from training.splits import Splits
from training.supervised.learn import Learned, learn
from training.supervised.stages import telling

MODELS = ("gbm.Gbm", "logistic.Logistic", "splines.Splines", "rates.Rates", "recency.Recency")


def learned(made: Splits, use: str) -> Learned:
    """The shipped answer of ``use``."""
    trees = {"trees": 20, "min_child_weight": 1} if use == "gbm.Gbm" else {}
    part = Part(use=use, config=trees)
    return learn(made.shipped, "event", part, CalibrateConfig(season=False), 0, lambda: None)


def changed(made: Splits, y: np.ndarray | None = None, **columns: object) -> Splits:
    """With other labels or columns."""
    rows = made.rows
    return replace(
        made, rows=replace(rows, X=rows.X.assign(**columns), y=rows.y if y is None else y)
    )


@pytest.mark.parametrize("use", MODELS)
def test_constant_and_missing_columns_move_nothing(use: str) -> None:
    """Beside what is known: answers are finite, and neither column is credited."""
    made = splits(n=150)
    size = len(made.rows)
    hollow = changed(made, hollow__missing=np.full(size, np.nan), hollow__constant=np.ones(size))
    answer = learned(hollow, use)
    X = hollow.test.X
    assert np.isfinite(answer.predict(X)).all()
    moved = answer.model.explain(X.to_numpy(np.float64)).contributions
    assert np.abs(moved[:, -2:]).max() < 1e-9
    assert moved.any()


@pytest.mark.parametrize("rate", [0.02, 0.98])
@pytest.mark.parametrize("use", MODELS)
def test_rare_and_near_certain_events_keep_their_rate(use: str, rate: float) -> None:
    """No answer is 0 or 1, and their mean is near the rate."""
    made = splits(n=400)
    risk = made.rows.X["rfm__recency_days"].to_numpy() * np.random.default_rng(1).random(
        len(made.rows)
    )
    answer = learned(changed(made, y=(risk > np.quantile(risk, 1 - rate)).astype(float)), use)
    p = answer.predict(made.test.X)
    assert ((p > 0) & (p < 1)).all()
    assert p.mean() == pytest.approx(rate, abs=0.02)


@pytest.mark.parametrize("use", MODELS)
def test_tiny_data_are_learned_from(use: str) -> None:
    """A dozen customers at each cutoff: finite answers, whatever they are worth."""
    assert np.isfinite(learned(splits(n=12, seed=3), use).predict(splits(n=12).test.X)).all()


def test_words_never_seen_are_scored_like_missing_ones() -> None:
    """A code that no row had is no reason to fail."""
    made = splits(n=150)
    words = pd.Categorical(np.where(np.arange(len(made.rows)) % 3, "a", "b"), categories=["a", "b"])
    answer = learned(changed(made, attributes__plan=words), "gbm.Gbm")
    X = made.test.X.assign(attributes__plan=np.nan).to_numpy(np.float64)
    assert np.isfinite(answer.predict(pd.DataFrame(X, columns=list(answer.model.columns)))).all()


@pytest.mark.parametrize(
    ("name", "assignments", "said"),
    [
        ("timing", ["task.config.horizon_days=200"], "set model.config.periods_days"),
        ("timing", ["task.config.points_days=[31]"], "no ends of its periods"),
        ("timing", ["task.config.absent=true"], "set model.config.asks to 'whether not'"),
        ("timing", ["model={use: gbm.Gbm}"], "take hazards.Hazards"),
        ("timing", ["cutoffs={snapshots: [2024-06-02]}"], "a question of when needs a clock"),
        ("timing", ["gates={roc_auc_31d: {min: 0.5}}"], "unknown metric"),
        ("timing", ["gates={mean_probability_30d: {beats_baseline: true}}"], "no better or worse"),
        ("timing", ["model.config.periods_days=[30, 20]"], "expected rising days"),
        ("churn", ["model={use: hazards.Hazards}"], "take the task timing.Timing"),
        (
            "churn",
            ["data=online_retail_II", "features=[{use: subscription.Subscription}]"],
            "subscription.Subscription reads subscriptions; source 'online_retail_II' ",
        ),
        ("spend", ["sets={coverage: 0.9}"], "sets: are about events"),
    ],
)
def test_questions_that_do_not_fit_are_refused(
    name: str, assignments: list[str], said: str
) -> None:
    """Before data are read, with the setting to change."""
    place = Workspace.locate(configs=CONFIGS)
    with pytest.raises(ConfigError) as caught:
        load_plan(place, CONFIGS / f"{name}.yaml", assignments)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["timing", "churn_curve", "contract"])
def test_shipped_questions_of_when_are_whole(name: str) -> None:
    """Their parts fit each other and the simulated retailer; gates know every day."""
    plan = load_plan(Workspace.locate(configs=CONFIGS), CONFIGS / f"{name}.yaml", [])
    assert 30 in plan.task.points_days  # type: ignore[attr-defined]
    assert "integrated_brier" in plan.config.gates


def test_a_constant_column_that_a_baseline_asks_for_stays() -> None:
    """Where no payment ever failed, groups of contracts by failed payments are one group."""
    plan: Any = load_plan(Workspace.locate(configs=CONFIGS), CONFIGS / "contract.yaml", [])
    rows = pd.DataFrame({
        "customer_id": [1, 2], "cutoff": [0, 0], "subscription__contract_days": [5.0, 9.0],
        "subscription__failed_payments_365d": [0.0, 0.0], "subscription__renewals": [0.0, 0.0],
    })  # fmt: skip
    assert list(telling(rows, plan)) == list(rows.columns)[:-1]

"""The churn baseline: what it learns from, what it answers, and how it explains it."""

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError, DataError
from features.settings import validated
from tests.training.purchases import worlds
from training.contract import Floats, matrix
from training.models import purchases
from training.models.bgnbd import NEVER, BgNbd, BgNbdConfig

NAMES = ["rfm__recency_days", "rfm__frequency_orders", "rfm__T_days"]


def world(n: int = 4_000, seed: int = 0) -> tuple[pd.DataFrame, Floats]:
    """BG/NBD customers at day T, and whether they buy nothing in the 90 days after it."""
    whole = worlds.bg_histories(n, 0.6, 40.0, 0.8, 2.5, seed)
    frame = pd.DataFrame(
        {NAMES[0]: whole.T - whole.t_x, NAMES[1]: whole.x, NAMES[2]: whole.T, "web__visits": 1.0}
    )
    p = purchases.BgNbd(0.6, 40.0, 0.8, 2.5).no_purchase(whole, 90.0)
    return frame, (np.random.default_rng(seed).random(n) < p).astype(np.float64)


def learned(X: pd.DataFrame, y: Floats, weight: Floats | None = None, **config: Any) -> BgNbd:
    """A fitted baseline."""
    model = BgNbd(BgNbdConfig(**config))
    model.fit(X, y, weight=weight, seed=0)
    return model


def test_labels_place_the_scores_and_nothing_else() -> None:
    """In its own world the line is the identity; with other labels the parameters stay."""
    X, y = world(20_000)
    model = learned(X, y)
    assert model._arrays["line"] == pytest.approx([0.0, 1.0], abs=0.08)
    assert model._arrays["parameters"] == pytest.approx([0.6, 40.0, 0.8, 2.5], rel=0.15)
    turned = learned(X, 1.0 - y)
    assert np.array_equal(turned._arrays["parameters"], model._arrays["parameters"])
    assert turned._arrays["line"] == pytest.approx(-model._arrays["line"], abs=1e-3)


@pytest.mark.parametrize("modified", [False, True])
def test_score_is_the_published_models(modified: bool) -> None:
    """Log-odds of silence by the fitted purchase model, on its line."""
    X, y = world()
    model = learned(X, y, prior=0.0, modified=modified)
    histories = purchases.Histories(X[NAMES[1]], X[NAMES[2]] - X[NAMES[0]], X[NAMES[2]])
    fitted = purchases.fit(purchases.MbgNbd if modified else purchases.BgNbd, histories)
    p = fitted.model.no_purchase(histories, 90.0)
    intercept, slope = model._arrays["line"]
    expected = intercept + slope * np.log(p / (1.0 - p))
    assert model.score(matrix(X, model.columns)) == pytest.approx(expected, abs=1e-6)


def test_one_old_order_is_silence_to_the_modified_model_alone() -> None:
    """Against a customer with one young order: BG/NBD holds both for alive."""
    X, y = world()
    young, old = (np.array([[days, 0.0, days, 1.0]]) for days in (5.0, 600.0))

    def apart(model: BgNbd) -> float:
        slope = model._arrays["line"][1]
        return float((model.score(old) - model.score(young))[0] / slope)

    plain, modified = apart(learned(X, y)), apart(learned(X, y, modified=True))
    assert modified > plain + 0.5


def test_weights_count_customers() -> None:
    """A weight of 2 is the row twice; a weight of 0 is no row."""
    X, y = world(600)
    weight = np.arange(600) % 3.0
    weighed = learned(X, y, weight)
    times = np.repeat(np.arange(600), weight.astype(int))
    repeated = learned(X.iloc[times].reset_index(drop=True), y[times])
    for name, found in weighed._arrays.items():
        assert found == pytest.approx(repeated._arrays[name], rel=1e-3, abs=1e-3), name


def test_explanation_is_the_mean_over_orders_of_revealing() -> None:
    """Shapley's other definition: inputs made known one by one, in all 6 orders."""
    X, y = world(1_000)
    model = learned(X, y)
    asked = matrix(X, model.columns)[:50].copy()
    asked[3, 0] = np.nan
    asked[4] = np.nan
    asked[5, 2] = np.nan
    filled = np.stack(model._filled(model._inputs(asked)), axis=1)
    reference = model._arrays["reference"]
    total = np.zeros((50, 3))
    for order in itertools.permutations(range(3)):
        mixed = np.column_stack([np.tile(reference, (50, 1)), np.ones(50)])
        before = model.score(mixed)
        for i in order:
            mixed[:, i] = filled[:, i]
            after = model.score(mixed)
            total[:, i] += (after - before) / 6.0
            before = after
    explained = model.explain(asked)
    assert explained.contributions[:, :3] == pytest.approx(total, abs=1e-9)
    assert (explained.contributions[:, 3] == 0.0).all()
    assert np.abs(explained.scores - model.score(asked)).max() < 1e-9
    assert explained.base == pytest.approx(model.score(np.append(reference, 1.0)[None, :])[0])


def test_missing_values_have_the_documented_answer() -> None:
    """No kept order: once, ten years ago. No first order: by the typical gap."""
    X, y = world(1_000)
    model = learned(X, y)
    gap = model._arrays["gap"][0]
    asked = np.array(
        [
            [np.nan, np.nan, np.nan, 1.0],
            [np.nan, 0.0, np.nan, 1.0],
            [NEVER, 0.0, NEVER, 1.0],
            [50.0, 4.0, np.nan, 1.0],
            [50.0, 4.0, 50.0 + 4.0 * gap, 1.0],
            [50.0, np.nan, 50.0, 1.0],
            [50.0, 0.0, 50.0, 1.0],
        ]
    )
    scores = model.score(asked)
    assert scores[0] == scores[1] == scores[2]
    assert scores[3] == pytest.approx(scores[4], abs=1e-12)
    assert scores[5] == scores[6]
    holed = X.copy()
    holed.loc[:99, NAMES] = np.nan
    assert np.isfinite(learned(holed, y).score(matrix(holed, model.columns))).all()


def test_the_gap_stands_in_for_the_first_order() -> None:
    """Without T the mean gap tells it: equal scores where the gap is t_x / x."""
    X, y = world(2_000)
    t_x = X[NAMES[2]] - X[NAMES[0]]
    X["cadence__gap_mean_days"] = np.where(X[NAMES[1]] > 0, t_x / X[NAMES[1]].clip(1), np.nan)
    with_T, without = X, X.drop(columns=NAMES[2])
    by_T, by_gap = learned(with_T, y), learned(without, y)
    assert by_gap.score(matrix(without, by_gap.columns)) == pytest.approx(
        by_T.score(matrix(with_T, by_T.columns)), abs=1e-5
    )
    credit = np.abs(by_gap.explain(matrix(without, by_gap.columns)).contributions).mean(axis=0)
    assert credit[list(without.columns).index("cadence__gap_mean_days")] > 0
    loaded = BgNbd(BgNbdConfig())
    loaded.load(by_gap.save(), by_gap.columns)
    rows = matrix(without, by_gap.columns)
    assert np.array_equal(loaded.score(rows), by_gap.score(rows))


def test_odd_rows_are_taken_as_they_can_be() -> None:
    """Clocks that disagree: an order after the cutoff, a last order before the first."""
    X, y = world(500)
    model = learned(X, y)
    asked = np.array([[-1.0, 2.0, 50.0, 1.0], [90.0, 2.0, 50.0, 1.0], [90.0, 2.0, 90.0, 1.0]])
    scores = model.score(asked)
    assert np.isfinite(scores).all()
    assert scores[1] == scores[2]


@pytest.mark.parametrize("third", ["rfm__T_days", "cadence__gap_mean_days"])
@pytest.mark.parametrize("modified", [False, True])
def test_whatever_is_asked_has_an_answer(modified: bool, third: str) -> None:
    """Half a repeat order, times of no life, nothing known: a caller may post them."""
    X, y = world(500)
    model = learned(X.rename(columns={NAMES[2]: third}), y, modified=modified)
    values = [np.nan, 0.0, 0.4, 2.5, 7.0, 1e3, 36_600.0, 1e9, 1e300, -3.0]
    asked = np.array([[*row, 1.0] for row in itertools.product(values, repeat=3)])
    told = model.explain(asked)
    assert np.isfinite(model.score(asked)).all()
    assert np.isfinite(told.contributions).all()
    usual = model.score(np.array([[30.0, 2.0, 300.0, 1.0], [30.0, 2.4, 300.0, 1.0]]))
    assert usual[0] == usual[1]


def test_what_it_cannot_learn_from() -> None:
    """Columns that are not there, nobody who came back, parts of an order."""
    X, y = world(300)
    for gone in NAMES:
        with pytest.raises(ConfigError, match=rf"no feature \['{gone}'\]; add the set"):
            learned(X.drop(columns=gone), y)
    once = X.assign(**{NAMES[1]: 0.0, NAMES[0]: X[NAMES[2]]})
    with pytest.raises(DataError, match="nobody of 300 customers bought again"):
        learned(once, y)
    with pytest.raises(DataError, match="no whole number"):
        learned(X.assign(**{NAMES[1]: 0.5}), y)
    with pytest.raises(ConfigError, match="horizon_days"):
        validated(BgNbdConfig, {"horizon_days": 0}, "config")

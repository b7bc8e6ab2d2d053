"""Metrics of amounts against other libraries and by hand; curves, plots and seasons of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from features.errors import ConfigError
from tests.training.samples import rows_at
from training import value_plots
from training.calibrate import CalibrateConfig, Calibrator, Fold, choose, season_shift
from training.contract import Floats
from training.evaluate import judge, slices
from training.gates import CANDIDATE, Gate, check_gates
from training.metrics import LOWER_IS_BETTER, METRICS, OF_KIND, UNDIRECTED, Ranked


def found(name: str, y: Floats, p: Floats, w: Floats | None = None) -> float:
    """One metric; rows and weights in any order."""
    ranked = Ranked.of(y, p, 0.0)
    return METRICS[name](ranked, (np.ones(len(y)) if w is None else w)[ranked.order])


def spend(n: int, seed: int = 0) -> tuple[Floats, Floats]:
    """Amounts, mostly zero and a few large, and what could be expected of them."""
    rng = np.random.default_rng(seed)
    expected = rng.lognormal(3, 1, n)
    return np.where(rng.random(n) < 0.5, 0.0, 2 * expected * rng.gamma(2, 0.5, n)), expected


@given(st.integers(2, 60), st.integers(0, 9))
def test_they_are_those_of_other_libraries(n: int, seed: int) -> None:
    """Errors as in scikit-learn with weights; rank correlation with ties as in scipy."""
    y, p = spend(n, seed)
    p = np.round(p, -1)
    w = np.random.default_rng(seed).uniform(0.1, 2.0, n)
    assert found("mae", y, p, w) == pytest.approx(mean_absolute_error(y, p, sample_weight=w))
    assert found("rmse", y, p, w) == pytest.approx(root_mean_squared_error(y, p, sample_weight=w))
    if np.ptp(y) > 0 and np.ptp(p) > 0:
        assert found("spearman", y, p) == pytest.approx(stats.spearmanr(y, p).statistic)
    if y.sum() > 0:
        assert found("total_ratio", y, p) == pytest.approx(p.sum() / y.sum())


def test_gini_and_capture_by_hand() -> None:
    """Four customers, all the money with one: found first, last, or not told apart."""
    y = np.array([8.0, 0.0, 0.0, 0.0])
    assert found("gini", y, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(1.0)
    assert found("gini", y, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(-1.0)
    assert found("gini", y, np.ones(4)) == pytest.approx(0.0)
    # A tenth of four customers is two fifths of the first.
    assert found("capture_at_10", y, np.array([4.0, 3.0, 2.0, 1.0])) == pytest.approx(0.4)


def test_nothing_spent_has_no_ratio() -> None:
    """Without any amount there is neither a ratio nor an order to be found."""
    for name in ("gini", "total_ratio", "capture_at_10", "spearman"):
        assert np.isnan(found(name, np.zeros(5), np.arange(5.0)))


def test_answers_are_judged_beside_each_other() -> None:
    """Table, differences and slices hold amount metrics alone, with intervals around the values."""
    rows = rows_at([np.datetime64("2024-01-01").astype(object)], 400)
    y, expected = spend(400)
    rows = type(rows)(rows.X, y, rows.customers, rows.cutoffs)
    answers = {CANDIDATE: expected, "blind": np.full(400, y.mean())}
    judged = judge(rows, answers, dict.fromkeys(answers, np.nan), 50, 1, "amount")
    table = judged.table()
    assert set(table["metric"]) == set(OF_KIND["amount"])
    assert "mean" in table
    told = table[table["answer"] == CANDIDATE]
    assert (told["ci_low"] <= told["value"]).all()
    assert (told["value"] <= told["ci_high"]).all()
    against = judged.differences().set_index("metric")
    assert set(against.index) == set(OF_KIND["amount"]) - UNDIRECTED
    assert against.loc["gini", "ci_low"] > 0
    assert {"mae", "rmse"} <= LOWER_IS_BETTER
    part = slices(judged, {"some": np.arange(400) < 200}, 30, 1)
    assert list(part["note"]) == ["judged", "judged"]
    assert {"mean", "spearman", "mae", "mean_value"} <= set(part.columns)
    drawn = value_plots.of_amounts(judged.ranked, "EUR")
    assert set(drawn) == {"deciles", "calibration", "gain"}
    deciles = drawn["deciles"][0]
    assert deciles.groupby("answer")["n"].sum().eq(400).all()
    blind = deciles[deciles["answer"] == "blind"]
    assert np.allclose(blind["predicted"], y.mean())


def test_gates_speak_of_metrics_of_the_kind() -> None:
    """A ranking of events is no demand on amounts, and a ratio is neither better nor worse."""
    check_gates(
        {"spearman": Gate(min=0.1), "total_ratio": Gate(min=0.8, max=1.2)}, OF_KIND["amount"]
    )
    with pytest.raises(ConfigError, match=r"unknown metric\(s\) \['roc_auc'\].*spearman"):
        check_gates({"roc_auc": Gate(min=0.5)}, OF_KIND["amount"])
    with pytest.raises(ConfigError, match="no better or worse"):
        check_gates({"total_ratio": Gate(beats_baseline=True)}, OF_KIND["amount"])


def test_one_factor_makes_the_totals_equal() -> None:
    """Calibration of amounts is a factor, learned on the folds; order and zero stay."""
    y, expected = spend(500)
    scores = np.log(3 * expected)  # three times too much
    folds = [Fold(scores, y, None), Fold(scores, y, None)]
    calibrator, table = choose(CalibrateConfig(), folds, None, "amount")
    assert [(line["kind"], line["chosen"]) for line in table] == [
        ("identity", False), ("factor", True),
    ]  # fmt: skip
    assert calibrator.apply(scores).sum() == pytest.approx(y.sum())
    again = Calibrator.load(calibrator.save())
    assert np.array_equal(again.apply(scores), calibrator.apply(scores))
    assert np.array_equal(np.argsort(again.apply(scores)), np.argsort(scores))
    with pytest.raises(ConfigError, match=r"calibrate.kinds: \['platt'\] do not fit"):
        choose(CalibrateConfig(kinds=("platt",)), folds, None, "amount")


def test_totals_that_err_both_ways_are_left_alone() -> None:
    """A factor learned on the other folds would only make each of them worse."""
    y, expected = spend(500)
    scores = np.log(expected * y.sum() / expected.sum())
    folds = [Fold(scores + by, y, None) for by in (-0.4, 0.0, 0.4)]
    calibrator, table = choose(CalibrateConfig(), folds, None, "amount")
    assert [line["kind"] for line in table if line["chosen"]] == ["identity"]
    assert np.array_equal(calibrator.apply(scores), np.exp(scores))
    again = Calibrator.load(calibrator.save())
    assert np.array_equal(again.apply(scores), calibrator.apply(scores))


def test_the_season_moves_amounts_by_its_ratio() -> None:
    """Where every year the season doubles what the features say, the shift is the log of two."""
    y, expected = spend(2_000)
    scores = np.log(expected * y.sum() / expected.sum())
    assert season_shift(scores, 2 * y, "amount") == pytest.approx(np.log(2))
    folds = [Fold(scores - np.log(2) * k, y, np.log(2) * k) for k in (0, 1, 0)]
    calibrator, table = choose(CalibrateConfig(), folds, np.log(2), "amount")
    assert [line["season"] for line in table if line["chosen"]] == [True]
    assert calibrator.apply(scores).sum() == pytest.approx(2 * y.sum())

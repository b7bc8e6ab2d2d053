"""Metrics against scikit-learn, by hand, and the bootstrap that their intervals come from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from training.contract import Floats
from training.metrics import (
    LOWER_IS_BETTER,
    METRICS,
    OF_KIND,
    Ranked,
    best_threshold,
    customer_weights,
    evaluate,
    interval,
)

TENTHS = {"lift_at_10", "capture_at_10"}
THRESHOLD = 0.5

Answers = tuple[Floats, Floats, Floats]


@st.composite
def answers(draw: st.DrawFn) -> Answers:
    """Labels of both classes, probabilities full of ties, weights some of which are zero."""
    n = draw(st.integers(2, 40))
    steps = draw(st.sampled_from([2, 5, 1000]))
    y = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=np.float64)
    y[:2] = 0.0, 1.0
    p = np.array(draw(st.lists(st.integers(0, steps), min_size=n, max_size=n))) / steps
    w = np.array(draw(st.lists(st.integers(0, 4), min_size=n, max_size=n)), dtype=np.float64)
    w[:2] = np.maximum(w[:2], 1.0)
    return y, p, w


def found(name: str, y: Floats, p: Floats, w: Floats, threshold: float = THRESHOLD) -> float:
    """The metric ``name``, its weights given in the order of the rows."""
    ranked = Ranked.of(y, p, threshold)
    return METRICS[name](ranked, w[ranked.order])


@given(answers())
def test_ranking_metrics_are_those_of_scikit_learn(case: Answers) -> None:
    """ROC-AUC and average precision with ties and weights."""
    y, p, w = case
    assert found("roc_auc", y, p, w) == pytest.approx(
        sk.roc_auc_score(y, p, sample_weight=w), abs=1e-12
    )
    assert found("average_precision", y, p, w) == pytest.approx(
        sk.average_precision_score(y, p, sample_weight=w), abs=1e-12
    )


@given(answers())
def test_distance_metrics_are_those_of_scikit_learn(case: Answers) -> None:
    """Log loss and Brier score with weights; certain probabilities stay finite."""
    y, p, w = case
    inside = np.clip(p, 1e-15, 1 - 1e-15)
    assert found("log_loss", y, p, w) == pytest.approx(
        sk.log_loss(y, inside, sample_weight=w), rel=1e-12
    )
    assert np.isfinite(found("log_loss", y, p, w))
    assert found("brier", y, p, w) == pytest.approx(
        sk.brier_score_loss(y, p, sample_weight=w), abs=1e-12
    )


@given(answers())
def test_threshold_metrics_are_those_of_scikit_learn(case: Answers) -> None:
    """Accuracy, precision, recall and F1 with weights; a row at the threshold counts as named."""
    y, p, w = case
    named = (p >= THRESHOLD).astype(np.float64)
    assert found("accuracy", y, p, w) == pytest.approx(
        sk.accuracy_score(y, named, sample_weight=w), abs=1e-12
    )
    assert found("recall", y, p, w) == pytest.approx(
        sk.recall_score(y, named, sample_weight=w), abs=1e-12
    )
    assert found("f1", y, p, w) == pytest.approx(
        sk.f1_score(y, named, sample_weight=w, zero_division=0.0), abs=1e-12
    )
    if (w * named).sum() > 0:
        assert found("precision", y, p, w) == pytest.approx(
            sk.precision_score(y, named, sample_weight=w), abs=1e-12
        )
    else:
        assert np.isnan(found("precision", y, p, w))


@given(answers())
def test_a_weight_is_a_number_of_copies(case: Answers) -> None:
    """Whole-number weights give what as many copies of the rows give."""
    y, p, w = case
    times = w.astype(int)
    copies = [np.repeat(values, times) for values in (y, p)]
    ones = np.ones(int(times.sum()))
    for name in set(METRICS) - {"ece", *TENTHS}:  # their bins and tenths are those of the rows
        value = found(name, *copies, ones)
        assert found(name, y, p, w) == pytest.approx(value, abs=1e-9, nan_ok=True), name
    if len(np.unique(p)) == len(p):  # the tenth does not cut through a tie
        assert found("lift_at_10", y, p, w) == pytest.approx(found("lift_at_10", *copies, ones))


@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(case: Answers, rng: object) -> None:
    """Every metric but the lift through a tie is the same for rows in another order."""
    y, p, w = case
    turned = np.array(rng.sample(range(len(y)), len(y)))  # type: ignore[attr-defined]
    for name in set(METRICS) - TENTHS:
        assert found(name, y[turned], p[turned], w[turned]) == pytest.approx(
            found(name, y, p, w), abs=1e-9, nan_ok=True
        ), name


def test_ece_by_hand() -> None:
    """Twenty rows in ten bins of two: the mean of the bins' gaps."""
    p = np.linspace(0.025, 0.975, 20)
    y = np.zeros(20)
    y[10:] = 1.0
    # Bin k holds p = 0.025 + 0.1 k and 0.075 + 0.1 k: mean 0.05 + 0.1 k, rate 0 below 0.5, else 1.
    gaps = [0.05, 0.15, 0.25, 0.35, 0.45, 0.45, 0.35, 0.25, 0.15, 0.05]
    assert found("ece", y, p, np.ones(20)) == pytest.approx(np.mean(gaps))


def test_ece_sees_what_cancels_over_all() -> None:
    """Probabilities that are right on average and wrong at both ends are not calibrated."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 20_000)
    y = (rng.random(len(p)) < p).astype(np.float64)
    ones = np.ones(len(p))
    assert found("ece", y, p, ones) < 0.02
    stretched = np.clip(0.5 + 1.8 * (p - 0.5), 0.001, 0.999)
    assert abs(found("mean_probability", y, stretched, ones) - y.mean()) < 0.01
    assert found("ece", y, stretched, ones) > 0.1


def test_lift_by_hand() -> None:
    """Ten rows, two positives, the best row positive: the first tenth has five times the rate."""
    p = np.linspace(1.0, 0.1, 10)
    y = np.array([1, 0, 0, 1, 0, 0, 0, 0, 0, 0], dtype=np.float64)
    assert found("lift_at_10", y, p, np.ones(10)) == pytest.approx(5.0)
    # With 15 rows the tenth is the first row and half of the second: (1 + 0) / 1.5 over 2 / 15.
    p, y = np.linspace(1, 0.1, 15), np.append(y, np.zeros(5))
    assert found("lift_at_10", y, p, np.ones(15)) == pytest.approx((1 / 1.5) / (2 / 15))


def test_one_class_has_no_ranking() -> None:
    """Where a class is absent the ranking metrics are not a number rather than a lucky one."""
    p, w = np.array([0.2, 0.7]), np.ones(2)
    assert np.isnan(found("roc_auc", np.zeros(2), p, w))
    assert np.isnan(found("roc_auc", np.ones(2), p, w))
    assert np.isnan(found("average_precision", np.zeros(2), p, w))
    assert np.isnan(found("lift_at_10", np.zeros(2), p, w))


def test_perfect_answers_are_best() -> None:
    """The labels themselves reach the best value of every metric with a direction."""
    y = np.array([0, 1] * 30, dtype=np.float64)
    for name in OF_KIND["event"]:
        value = found(name, y, y, np.ones(60))
        if name in LOWER_IS_BETTER:
            assert value == pytest.approx(0.0, abs=1e-12), name
        elif name == "lift_at_10":
            assert value == pytest.approx(2.0)
        elif name == "mean_probability":
            assert value == pytest.approx(0.5)
        else:
            assert value == pytest.approx(1.0), name


@given(answers())
def test_best_threshold_is_the_best_of_all(case: Answers) -> None:
    """No probability as threshold has a larger recall less share of false positives (Youden)."""
    y, p, _ = case

    def gain(threshold: float) -> float:
        return float((p[y == 1] >= threshold).mean() - (p[y == 0] >= threshold).mean())

    chosen = best_threshold(y, p)
    assert chosen in p
    assert gain(chosen) == pytest.approx(max(gain(t) for t in p))


def test_bootstrap_draws_whole_customers() -> None:
    """All rows of a customer have one weight in a draw, and each draw has as many customers."""
    rng = np.random.default_rng(1)
    customers = rng.integers(0, 50, 400) * 1_000_003
    weights = customer_weights(customers, 200, seed=5)
    assert weights.shape == (200, 400)
    people, first = np.unique(customers, return_index=True)
    for person in people:
        own = weights[:, customers == person]
        assert (own == own[:, :1]).all()
    assert (weights[:, first].sum(axis=1) == len(people)).all()
    assert weights[:, first].mean() == pytest.approx(1.0)
    assert np.array_equal(weights, customer_weights(customers, 200, seed=5))
    assert not np.array_equal(weights, customer_weights(customers, 200, seed=6))


def test_evaluate_gives_the_value_then_the_draws() -> None:
    """The first number is the metric itself; the others are those of the reweighed rows."""
    rng = np.random.default_rng(2)
    y, p = (rng.random(60) < 0.4).astype(np.float64), rng.random(60)
    weights = customer_weights(np.arange(60) % 20, 8, seed=0)
    ranked = Ranked.of(y, p, THRESHOLD)
    draws = evaluate(ranked, weights, ["roc_auc", "brier"])
    assert list(draws) == ["roc_auc", "brier"]
    for name, values in draws.items():
        assert len(values) == 9
        assert values[0] == pytest.approx(found(name, y, p, np.ones(60)))
        expected = [found(name, y, p, w) for w in weights]
        assert values[1:] == pytest.approx(expected)


def test_interval_covers_the_truth() -> None:
    """The 95 % interval of the Brier score holds the true one about as often."""
    rng = np.random.default_rng(3)
    truth = 1.0 / 6.0  # E[(p - y)^2] = E[p (1 - p)] for p uniform and y drawn from it
    hits, repeats = 0, 120
    for seed in range(repeats):
        p = np.repeat(rng.random(150), 2)  # two rows a customer, alike but for the label
        y = (rng.random(300) < p).astype(np.float64)
        weights = customer_weights(np.repeat(np.arange(150), 2), 100, seed)
        draws = evaluate(Ranked.of(y, p, THRESHOLD), weights, ["brier"])["brier"]
        low, high = interval(draws[1:])
        assert low <= draws[0] <= high
        hits += low <= truth <= high
    assert 0.87 <= hits / repeats <= 0.995


def test_rows_of_one_customer_widen_the_interval() -> None:
    """Ten copies of every row, one customer each, tell no more than the rows: same interval."""
    rng = np.random.default_rng(4)
    p = rng.random(200)
    y = (rng.random(200) < p).astype(np.float64)
    once = evaluate(
        Ranked.of(y, p, THRESHOLD), customer_weights(np.arange(200), 300, 0), ["roc_auc"]
    )
    many, people = (np.repeat(v, 10) for v in (y, p)), np.repeat(np.arange(200), 10)
    tenfold = evaluate(Ranked.of(*many, THRESHOLD), customer_weights(people, 300, 0), ["roc_auc"])
    assert interval(tenfold["roc_auc"][1:]) == pytest.approx(interval(once["roc_auc"][1:]))

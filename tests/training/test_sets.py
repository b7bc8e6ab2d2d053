"""Answer sets: the declared share of both labels, for any answers, and words that say them."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.samples import BEGAN
from training.report import check_complete
from training.rows import Rows
from training.supervised import coverage
from training.supervised.sets import Sets, SetsConfig


def drawn(n: int, seed: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and answers that rank them somewhat and are wrong in level."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < rate).astype(float)
    return y, 1 / (1 + np.exp(-(rng.normal(size=n) + 1.2 * y - 3.0)))


@pytest.mark.parametrize("rate", [0.5, 0.05])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_both_labels_are_covered_as_asked(rate: float, share: float) -> None:
    """Among later customers like those who taught, rare events included, and not by much more."""
    y, p = drawn(8_000, 1, rate)
    sets = Sets.learned(SetsConfig(coverage=share), y, p)
    later, answers = drawn(40_000, 2, rate)
    yes, no = sets.holds(answers)
    for held, label in ((yes, 1.0), (no, 0.0)):
        assert held[later == label].mean() == pytest.approx(share, abs=0.03)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=60),
    st.floats(0.55, 0.99),
)
def test_no_more_than_allowed_lie_outside(rows: list[tuple[bool, float]], share: float) -> None:
    """Of n customers with a label fewer than (1 - share) (n + 1) are not covered."""
    y, p = np.array([float(label) for label, _ in rows]), np.array([p for _, p in rows])
    yes, no = Sets.learned(SetsConfig(coverage=share), y, p).holds(p)
    for held, label in ((yes, 1.0), (no, 0.0)):
        outside = (~held[y == label]).sum()
        assert outside <= max((1 - share) * ((y == label).sum() + 1) - 1, 0)


def test_words_say_what_cannot_be_ruled_out() -> None:
    """Both where classes overlap, neither where a gap lies between them."""
    p = np.array([0.1, 0.4, 0.9])
    overlap = Sets(coverage=0.9, yes_from=0.3, no_to=0.5)
    assert overlap.words(p).tolist() == ["no", "yes or no", "yes"]
    gap = Sets(coverage=0.9, yes_from=0.6, no_to=0.3)
    assert gap.words(p).tolist() == ["no", "neither", "yes"]


def test_coverage_is_shown_by_label() -> None:
    """With intervals, and how often one answer is left."""
    y, p = drawn(2_000, 3, 0.3)
    sets = Sets.learned(SetsConfig(coverage=0.8), y, p)
    at = np.full(len(y), np.datetime64(BEGAN, "us"))
    rows = Rows(pd.DataFrame({"x": p}), y, np.arange(len(y), dtype=np.int64), at)
    found = coverage.table(rows, sets, p, 50, 1)
    assert found["label"].tolist() == ["yes", "no", "all"]
    assert ((found["ci_low"] <= found["found"]) & (found["found"] <= found["ci_high"])).all()
    assert found["found"].to_numpy() == pytest.approx(0.8, abs=0.01)
    parts = found[["one_answer", "yes_or_no", "neither"]].sum(axis=1)
    assert parts.to_numpy() == pytest.approx(1.0)
    check_complete([coverage.section(found, sets, crossed=False)])

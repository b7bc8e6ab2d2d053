"""Tiers: cut-offs from validation, what they promised, and what the test found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.training import samples
from training.supervised.tier_report import section, table
from training.supervised.tiers import NAMES, Tiers, TiersConfig


@given(st.lists(st.floats(0, 1), min_size=5, max_size=60), st.integers(0, 99))
def test_volumes_are_at_least_as_asked(p: list[float], seed: int) -> None:
    """By counting: the upper tiers hold their shares, and everyone is in one tier."""
    answers = np.array(p)
    y = (np.random.default_rng(seed).random(len(p)) < answers).astype(np.float64)
    tiers = Tiers.learned(TiersConfig(shares=(0.2, 0.3)), y, answers)
    words = tiers.words(answers)
    assert (words == "high").sum() >= int(0.2 * len(p))
    assert (words != "low").sum() >= int(0.5 * len(p))
    assert sum(tiers.volumes) == pytest.approx(1)
    for name, promised in zip(NAMES, tiers.precisions, strict=True):
        inside = words == name
        assert promised == pytest.approx(y[inside].mean() if inside.any() else 0.0)
    order = np.argsort(answers)
    ranks = np.array([NAMES.index(word) for word in words[order]])
    assert (np.diff(ranks) <= 0).all(), "a higher answer is never in a lower tier"


def test_the_table_holds_promise_against_finding() -> None:
    """Precision found is the rate of the rows in the tier, inside its interval."""
    rows = samples.splits().test
    p = np.clip(0.2 + 0.6 * rows.y + np.linspace(-0.2, 0.2, len(rows)), 0, 1)
    tiers = Tiers.learned(TiersConfig(), rows.y, p)
    found = table(rows, tiers, p, 50, 0).set_index("tier")
    assert found["customers"].sum() == len(rows)
    assert found["share_of_events"].sum() == pytest.approx(1)
    assert found["precision"].tolist() == pytest.approx(list(tiers.precisions))
    told = found.dropna()
    assert ((told["ci_low"] <= told["precision"]) & (told["precision"] <= told["ci_high"])).all()
    assert section(found.reset_index()).table is not None


def test_shares_leave_a_rest() -> None:
    """Nobody low, or a share of nothing, is refused."""
    for shares in ((0.5, 0.5), (0.0, 0.2)):
        with pytest.raises(ValidationError, match="leave a rest"):
            TiersConfig(shares=shares)

"""Measures of ranking against plain loops and numbers worked by hand."""

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from training.recommend.metrics import hits, measure, top


def test_worked_by_hand():
    """Hits at ranks 1 and 3 of 3 true items."""
    found = measure(np.array([[True, False, True, False, False]]), np.array([3]), 5)
    ideal = 1 + 1 / np.log2(3) + 0.5
    assert found["ndcg"][0] == pytest.approx((1 + 0.5) / ideal)
    assert found["recall"][0] == pytest.approx(2 / 3)
    assert found["map"][0] == pytest.approx((1 + 2 / 3) / 3)
    assert found["mrr"][0] == 1
    assert found["hit_rate"][0] == 1


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_against_a_loop(seed, k):
    """Every measure for random lists; customers without truth say nothing."""
    rng = np.random.default_rng(seed)
    truth = sp.csr_matrix(rng.random((5, 8)) < 0.3, dtype=float)
    lists = np.array([rng.permutation(8)[:6] for _ in range(5)])
    lists[:, 5] = -1
    beyond = rng.integers(0, 2, 5)
    relevant = np.diff(truth.indptr) + beyond
    found = measure(hits(lists, truth), relevant, k)
    for c in range(5):
        true, own = set(truth[c].indices.tolist()), lists[c][:k].tolist()
        total = len(true) + beyond[c]
        if not total:
            assert all(np.isnan(values[c]) for values in found.values())
            continue
        hit = [i in true for i in own]
        precisions = [sum(hit[: r + 1]) / (r + 1) for r in range(len(own)) if hit[r]]
        assert found["recall"][c] == pytest.approx(sum(hit) / total)
        assert found["map"][c] == pytest.approx(sum(precisions) / min(k, total))
        assert found["mrr"][c] == pytest.approx(1 / (hit.index(True) + 1) if any(hit) else 0)
        best = sum(1 / np.log2(r + 2) for r in range(min(k, total)))
        gain = sum(h / np.log2(r + 2) for r, h in enumerate(hit))
        assert found["ndcg"][c] == pytest.approx(gain / best)


@given(st.integers(0, 10_000), st.integers(1, 12))
def test_top_is_a_stable_sort(seed, k):
    """Ties by place, -inf never listed."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (6, 9)).astype(float)
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    values = np.take_along_axis(scores, expected, axis=1)
    assert np.array_equal(top(scores, k), np.where(values == -np.inf, -1, expected))

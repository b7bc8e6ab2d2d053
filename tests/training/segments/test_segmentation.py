"""Margins, explanations and least changes, whatever the way; stability and confidence."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import adjusted_rand_score

from features.settings import Part, resolve
from tests.training.segments.samples import ACTIVITY, SCHEMA, VALUE, customers
from tests.training.segments.test_ways import PARTS, made
from training.segments import segmentation
from training.segments.choose import WAYS
from training.segments.segmentation import Segmentation
from training.segments.space import GRID
from training.segments.stability import (
    adjusted_rand,
    bootstrap,
    jaccard,
    matched,
    table_of,
    with_confidence,
)


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_margins_add_up_over_columns(part: Part) -> None:
    """Base + contributions = margin, which is never below 0; also with missing values."""
    X = customers(300, 1)[0]
    found = made(part, X)
    rows = found.rows(X)
    rows = np.where(np.random.default_rng(0).random(rows.shape) < 0.1, np.nan, rows)
    assigned, explained = found.assign(rows), found.explain(rows)
    np.testing.assert_allclose(explained.scores, assigned.margin, atol=1e-9)
    assert (assigned.margin >= 0).all()
    assert (assigned.segment != assigned.runner_up).all()


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_the_least_change_moves_and_less_does_not(part: Part) -> None:
    """At the told value the customer is in the told segment; nothing nearer moves."""
    X = customers(300, 2)[0]
    found = made(part, X)
    rows = found.rows(X)[:6]
    own = found.assign(rows).segment
    changes = found.least_changes(rows)
    assert any(changes)
    for row, segment, change in zip(rows, own, changes, strict=True):
        if change is None:
            continue
        j = found.columns.index(change.column)
        now = found.space.scaled(row[None])[0]
        there = row.copy()
        there[j] = change.after
        z = found.space.scaled(there[None])[0, j]
        assert found.assign(there[None]).segment[0] == change.segment != segment
        assert change.before == row[j]
        nearer = np.tile(now, (200, 1))
        nearer[:, j] = np.linspace(now[j], z, 202)[1:-1]
        still = found.cells.assign(nearer[:-1]) == segment
        # Between two tried quantiles a narrow segment may lie; elsewhere nothing nearer moves.
        assert still.mean() > 0.9


@pytest.mark.parametrize("part", PARTS, ids=lambda p: p.use)
def test_distances_along_a_column_are_those_of_the_changed_rows(part: Part) -> None:
    """What is told of a step is what a row that took it would be told."""
    X = customers(300, 5)[0]
    found = made(part, X)
    Z = found.space.scaled(found.rows(X)[:20])
    for j in range(len(found.columns)):
        values = np.random.default_rng(j).normal(0, 3, (len(Z), 4))
        along = found.cells.along(Z, j)(values)
        for k, value in enumerate(values.T):
            there = Z.copy()
            there[:, j] = value
            np.testing.assert_allclose(along[:, k], found.cells.distances(there), atol=1e-8)


def test_least_changes_of_many_rows_are_those_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where they are found in several blocks."""
    X = customers(300, 6)[0]
    found = made(PARTS[0], X)
    rows = found.rows(X)[:7]
    each = [found.least_changes(row[None])[0] for row in rows]
    monkeypatch.setattr(segmentation, "CHUNK", 3 * GRID)
    assert found.least_changes(rows) == each
    assert any(each)
    assert found.least_changes(rows[:0]) == []


def test_a_least_change_between_two_centres_is_the_exact_one() -> None:
    """For two centres the border in one column has a closed form."""
    X = customers(300, 3)[0]
    part = Part(use="kmeans.KMeans", config={"columns": list(ACTIVITY), "k": 2})
    found = made(part, X)
    rows = found.rows(X)[:20]
    Z, c = found.space.scaled(rows), found.cells
    own = found.assign(rows).segment
    for z, row, segment, change in zip(Z, rows, own, found.least_changes(rows), strict=True):
        a, b = (c.centre[c.segment == s][0] for s in (segment, 1 - segment))
        margin = ((z - b) ** 2).sum() - ((z - a) ** 2).sum()
        shift = margin / (2 * (b - a))
        reach = z + shift
        low, high = found.space.scaled(found.space.grid[[0, -1]])
        possible = np.where((reach >= low) & (reach <= high), np.abs(shift), np.inf)
        assert (change is None) == np.isinf(possible).all()
        if change is None:
            continue
        assert found.columns.index(change.column) == possible.argmin()
        there = row.copy()
        there[possible.argmin()] = change.after
        z_there = found.space.scaled(there[None])[0, possible.argmin()]
        assert z_there == pytest.approx(reach[possible.argmin()], abs=1e-5)


def test_saved_segmentations_answer_alike() -> None:
    """Bit for bit after a round trip through files."""
    X = customers(300, 4)[0]
    found = made(PARTS[6], X)
    again = Segmentation.load(found.save())
    rows = found.rows(X)
    for name in ("segment", "runner_up", "margin", "confidence"):
        now, then = (getattr(s.assign(rows), name) for s in (again, found))
        np.testing.assert_array_equal(now, then)


labels = hnp.arrays(np.int64, st.integers(2, 40), elements=st.integers(0, 4))


@given(labels, st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_adjusted_rand_is_scikit_learns(a: np.ndarray, seed: int) -> None:
    """For any labels, also of one group; labels may be called anything."""
    b = np.random.default_rng(seed).integers(0, 3, len(a))
    ours = adjusted_rand(table_of(a, b, 5, 3))
    assert ours == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)
    assert adjusted_rand(table_of((a + 2) % 5, b, 5, 3)) == pytest.approx(ours, abs=1e-12)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)),
                  elements=st.floats(0, 1, width=16)))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_matching_is_the_best_there_is(likeness: np.ndarray) -> None:
    """Against all permutations."""
    n, m = likeness.shape
    size = max(n, m)
    whole = np.zeros((size, size))
    whole[:n, :m] = likeness
    best = max(sum(whole[i, p[i]] for i in range(size)) for p in permutations(range(size)))
    found = matched(likeness)
    assert sum(likeness[i, j] for i, j in enumerate(found) if j >= 0) == pytest.approx(best)
    used = [j for j in found if j >= 0]
    assert len(used) == len(set(used))


def test_jaccard_of_sets() -> None:
    """Against the sets themselves."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 3, 50), rng.integers(0, 4, 50)
    found = jaccard(table_of(a, b, 3, 4))
    for i in range(3):
        for j in range(4):
            one, two = set(np.flatnonzero(a == i)), set(np.flatnonzero(b == j))
            assert found[i, j] == pytest.approx(len(one & two) / len(one | two))


def test_confidence_is_what_refits_agree_on() -> None:
    """Well parted types are found again; confidence rises with the margin and fits the share."""
    X = customers(500, 5, spread=0.15)[0]
    way, found = resolve(WAYS, PARTS[0]), made(PARTS[0], X)
    (stable,) = bootstrap(way, X, SCHEMA, VALUE, found, [X], repeats=8, seed=1)
    assert stable.ari.mean() > 0.9
    assert stable.jaccard.min() > 0.8
    sure = with_confidence(found, found.assign(found.rows(X)), stable.agreed)
    assigned = sure.assign(found.rows(X))
    assert ((assigned.confidence >= 0) & (assigned.confidence <= 1)).all()
    assert assigned.confidence.mean() == pytest.approx(stable.agreed.mean(), abs=0.03)
    for s in range(4):
        own = assigned.segment == s
        order = np.argsort(assigned.margin[own])
        assert (np.diff(assigned.confidence[own][order]) >= -1e-12).all()
    shuffled = X.sample(frac=1.0, random_state=1)
    (again,) = bootstrap(way, shuffled, SCHEMA, VALUE, found, [X], repeats=8, seed=1)
    np.testing.assert_array_equal(again.ari, stable.ari)


def test_noise_is_not_stable() -> None:
    """Seven clusters in one cloud are not found again."""
    X = customers(400, 6)[0]
    X[list(ACTIVITY)] = np.random.default_rng(0).lognormal(3, 0.5, (400, 3))
    part = Part(use="kmeans.KMeans", config={"columns": list(ACTIVITY), "k": 7})
    way, found = resolve(WAYS, part), made(part, X)
    (stable,) = bootstrap(way, X, SCHEMA, VALUE, found, [X], repeats=6, seed=1)
    assert stable.ari.mean() < 0.8

"""The scaled space and its cells, held against plain loops and textbook densities."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from features.errors import DataError
from tests.training.segments.samples import COLUMNS, SCHEMA, customers
from training.segments.cells import Cells
from training.segments.space import Space


def space_of(n: int = 500, seed: int = 0) -> tuple[Space, np.ndarray]:
    """A space and the rows that it was learned from."""
    rows = customers(n, seed)[0].to_numpy(np.float64)
    return Space.fit(rows, SCHEMA)[0], rows


def random_cells(k: int, d: int, seed: int) -> Cells:
    """Cells with boxes, centres, offsets and full precisions."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(k, d, d))
    edge = rng.normal(size=(k, d))
    lower = np.where(rng.random((k, d)) < 0.5, -np.inf, edge)
    return Cells(
        np.arange(k) % max(k - 1, 1), rng.normal(size=k) ** 2, lower,
        np.where(rng.random((k, d)) < 0.5, np.inf, edge + 1.0), rng.normal(size=(k, d)),
        roots @ roots.transpose(0, 2, 1),
    )  # fmt: skip


def test_a_row_goes_there_and_back() -> None:
    """Scaling is undone, but for values further out than the learned ends, which are kept."""
    space, rows = space_of()
    Z = space.scaled(rows)
    back, known = space.unscaled(Z), ~np.isnan(rows)
    inside = known & (space.low < Z) & (space.high > Z)
    np.testing.assert_allclose(back[inside], rows[inside], rtol=1e-9, atol=1e-9)
    far = space.scaled(rows[:1] * 1e12)
    assert (far <= space.high).all()


def test_missing_values_lie_in_the_middle() -> None:
    """A missing value counts as the median, in scaled rows as 0."""
    space, rows = space_of()
    nothing = np.full((1, len(COLUMNS)), np.nan)
    np.testing.assert_array_equal(space.scaled(nothing), np.zeros((1, len(COLUMNS))))
    middle = np.nanmedian(rows, axis=0)
    np.testing.assert_allclose(space.unscaled(np.zeros((1, 7)))[0], middle, rtol=1e-3)


def test_columns_that_say_nothing_are_left_out_with_the_reason() -> None:
    """Constant and empty columns are named; with none left it is an error with a remedy."""
    X = customers(50)[0]
    X["rfm__frequency_orders"], X["cadence__gap_mean_days"] = 3.0, np.nan
    space, left_out = Space.fit(X.to_numpy(np.float64), SCHEMA)
    assert set(COLUMNS) - set(space.columns) == set(left_out)
    assert set(left_out) == {"rfm__frequency_orders", "cadence__gap_mean_days"}
    assert "fewer than two orders" in left_out["cadence__gap_mean_days"]
    with pytest.raises(DataError, match="do not differ in any column"):
        Space.fit(np.ones((9, 7)), SCHEMA)


def test_one_extreme_customer_moves_nobody() -> None:
    """An outlier moves the others by less than a hundredth, and itself lies at the end."""
    X = customers(2000)[0].to_numpy(np.float64).copy()
    plain, _ = Space.fit(X, SCHEMA)
    X[0, :5] = 1e12
    odd, _ = Space.fit(X, SCHEMA)
    before, after = plain.scaled(X[1:]), odd.scaled(X[1:])
    inside = (before > plain.low) & (before < plain.high) & (after > odd.low) & (after < odd.high)
    assert np.abs(after - before)[inside].max() < 0.01
    np.testing.assert_array_equal(odd.scaled(X[:1])[0, :5], odd.high[:5])


@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_distances_are_those_of_the_formula(k: int, d: int, seed: int) -> None:
    """Against plain loops: boxes, centres and offsets; parts add up to the distances."""
    cells, Z = random_cells(k, d, seed), np.random.default_rng(seed + 1).normal(size=(7, d)) * 2
    expected = np.empty((7, k))
    for i, z in enumerate(Z):
        for c in range(k):
            total = cells.offset[c]
            for j in range(d):
                outside = max(cells.lower[c, j] - z[j], z[j] - cells.upper[c, j], 0.0)
                total += outside**2
                for m in range(d):
                    gap = (z[j] - cells.centre[c, j]) * (z[m] - cells.centre[c, m])
                    total += gap * cells.precision[c, j, m]
            expected[i, c] = total
    np.testing.assert_allclose(cells.distances(Z), expected, rtol=1e-9, atol=1e-9)
    own, other, distance = cells.nearest(Z)
    np.testing.assert_array_equal(own, expected.argmin(axis=1))
    np.testing.assert_array_equal(cells.assign(Z), cells.segment[own])
    for i in range(7):
        rest = [c for c in range(k) if cells.segment[c] != cells.segment[own[i]]]
        if rest:
            assert other[i] == min(rest, key=lambda c: expected[i, c])
        else:
            assert other[i] == own[i]
    for side, cell in enumerate((own, other)):
        total = cells.parts(Z, cell).sum(axis=1) + cells.offset[cell]
        np.testing.assert_allclose(total, distance[:, side], rtol=1e-9, atol=1e-9)


def test_a_mixture_is_twice_the_log_density() -> None:
    """Distances with precisions differ by -2 log density, as scipy has it."""
    rng = np.random.default_rng(3)
    mean, weight = rng.normal(size=(3, 2)), np.array([0.2, 0.5, 0.3])
    root = rng.normal(size=(3, 2, 2))
    covariance = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(2)
    plain = Cells.around(mean, np.linalg.inv(covariance))
    offset = np.linalg.slogdet(covariance)[1] - 2 * np.log(weight)
    cells = Cells(plain.segment, offset, plain.lower, plain.upper, mean, plain.precision)
    Z = rng.normal(size=(50, 2))
    log = np.stack(
        [np.log(w) + multivariate_normal(m, c).logpdf(Z)
         for w, m, c in zip(weight, mean, covariance, strict=True)], axis=1,
    )  # fmt: skip
    constant = 2 * np.log(2 * np.pi)
    np.testing.assert_allclose(cells.distances(Z), -2 * log - constant, rtol=1e-8, atol=1e-8)


def test_saved_cells_and_space_are_the_same() -> None:
    """They come back bit for bit, and without pickle."""
    space, rows = space_of()
    cells = random_cells(5, 7, 1)
    files = {**space.save(), **cells.save()}
    for data in files.values():
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            assert stored.files
    assert Space.load(files).columns == space.columns
    Z = Space.load(files).scaled(rows)
    np.testing.assert_array_equal(Z, space.scaled(rows))
    np.testing.assert_array_equal(Cells.load(files).distances(Z), cells.distances(Z))


def test_more_columns_change_nothing() -> None:
    """Widened cells do not look at the columns beside."""
    cells, Z = random_cells(4, 2, 5), np.random.default_rng(6).normal(size=(20, 5))
    wide = cells.widened(np.array([3, 1]), 5)
    np.testing.assert_allclose(wide.distances(Z), cells.distances(Z[:, [3, 1]]), rtol=1e-12)

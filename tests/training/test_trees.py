"""Compiled trees: margins to the bit, contributions of XGBoost and of the definition, refusals."""

import itertools
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from features.settings import validated
from tests.training.samples import customers
from training.contract import Floats
from training.models import trees as module
from training.models.gbm import Gbm, GbmConfig
from training.models.trees import Trees, Unsupported, leaves, tables
from training.models.trees.leaves import MOST, Leaves
from training.models.trees.nodes import ARRAYS, Nodes
from training.models.trees.tables import Tables


def rows(n: int, columns: int, seed: int = 0, missing: float = 0.1) -> Floats:
    """Rows of floats that are no float32, rounded ones in even columns, some missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, columns))
    X[:, ::2] = np.round(X[:, ::2], 1)
    X[rng.random(X.shape) < missing] = np.nan
    return X


def boosted(X: Floats, rounds: int = 10, seed: int = 0, **parameters: Any) -> xgboost.Booster:
    """A booster that learned interactions of the columns of ``X``."""
    rng = np.random.default_rng(seed)
    filled = np.nan_to_num(X, nan=0.3)
    y = filled @ rng.normal(size=X.shape[1]) + np.prod(np.sign(filled[:, :3]), axis=1)
    y = (y + rng.normal(size=len(X)) > 0).astype(np.float64)
    y[:2] = 0.0, 1.0
    given = {"objective": "binary:logistic", "nthread": 1, "seed": seed, **parameters}
    classes = int(given.get("num_class", 1))
    label = np.arange(len(X)) % classes if classes > 1 else y
    return xgboost.train(given, xgboost.DMatrix(X, label=label), num_boost_round=rounds)


def margins(booster: xgboost.Booster, X: Floats) -> Floats:
    """XGBoost's margins, found by both of its ways."""
    placed = booster.inplace_predict(X, predict_type="margin")
    assert np.array_equal(placed, booster.predict(xgboost.DMatrix(X), output_margin=True))
    return np.asarray(placed)


def assert_same(booster: xgboost.Booster, X: Floats) -> None:
    """Margins to the bit, few rows and many; base and contributions to float32 rounding, a sum."""
    trees, expected = Trees(booster), margins(booster, X)
    assert np.array_equal(trees.score(X), expected)
    assert np.array_equal(trees.score(X[: module.FEW - 1]), expected[: module.FEW - 1])
    reference = booster.predict(xgboost.DMatrix(X), pred_contribs=True).astype(np.float64)
    base, found = trees.explain(X)
    scale = max(1.0, float(np.abs(reference).max()))
    assert np.abs(found - reference[:, :-1]).max() <= 2e-5 * scale
    assert abs(base - reference[0, -1]) <= 1e-5 * scale
    total = base + found.sum(axis=1)
    assert (np.abs(total - expected) <= 1e-5 * np.maximum(1.0, np.abs(expected))).all()


@settings(max_examples=40)
@given(
    depth=st.integers(1, 8),
    rounds=st.integers(1, 60),
    columns=st.integers(1, 9),
    missing=st.sampled_from([0.0, 0.1, 0.6]),
    constant=st.booleans(),
    more=st.sampled_from(
        [
            {},
            {"objective": "reg:squarederror", "base_score": 7.5},
            {"objective": "count:poisson", "num_parallel_tree": 2, "subsample": 0.5},
            {"gamma": 1.0, "tree_method": "exact"},
            {"grow_policy": "lossguide", "max_leaves": 20, "max_depth": 0},
            {"min_child_weight": 0, "reg_lambda": 0, "learning_rate": 1.0},
        ]
    ),
    seed=st.integers(0, 2**20),
)
def test_equals_xgboost(
    depth: int,
    rounds: int,
    columns: int,
    missing: float,
    constant: bool,
    more: dict[str, Any],
    seed: int,
) -> None:
    """Random models, with repeated features, pruned nodes and columns that say nothing."""
    X = rows(150, columns, seed, missing)
    if constant:
        X[:, 0] = 4.0
    assert_same(boosted(X, rounds, seed, **{"max_depth": depth, **more}), X)


def test_margins_of_20000_rows() -> None:
    """Equal on 20,000 of 20,000 rows, also beyond float32, between its values, and on limits."""
    X = rows(20_000, 8, seed=1)
    booster = boosted(X, 60, max_depth=6)
    trees = Trees(booster)
    limits = trees.nodes.limit[trees.nodes.split].astype(np.float64)
    rng = np.random.default_rng(0)
    # A hair beside a limit is the limit itself once it is rounded to float32.
    near = rng.choice(limits, X.shape) * (1 + rng.choice([-1e-7, -1e-9, 0, 1e-9, 1e-7], X.shape))
    X = np.where(rng.random(X.shape) < 0.3, near, X)
    X[::50, 1], X[1::50, 2], X[2::50, 3] = 1e300, -1e300, -0.0
    assert (trees.score(X) == booster.inplace_predict(X, predict_type="margin")).sum() == 20_000


def test_any_batch_gives_the_same_bits() -> None:
    """Rows alone, in odd splits, in two threads at once and in any layout; compiled only once."""
    X = rows(2 * module.ROWS + 77, 8, seed=2)
    trees = Trees(boosted(X, 30, max_depth=6))
    scores, (base, contributions) = trees.score(X), trees.explain(X)
    for size in (1, 7, module.FEW, module.ROWS - 1, module.ROWS + 1):
        cuts = range(0, len(X) if size > 1 else 60, size)
        parts = [trees.explain(X[at : at + size]) for at in cuts]
        joined = np.concatenate([part for _, part in parts])
        assert np.array_equal(joined, contributions[: len(joined)])
        assert {part for part, _ in parts} == {base}
        joined = np.concatenate([trees.score(X[at : at + size]) for at in cuts])
        assert np.array_equal(joined, scores[: len(joined)])
    frozen = X.copy()
    frozen.setflags(write=False)
    wide = np.repeat(X, 2, axis=1)[:, ::2]
    for other in (np.asfortranarray(X), frozen, wide, X[::-1][::-1], X.astype(np.float32)):
        assert np.array_equal(trees.score(other), scores)
        assert np.array_equal(trees.explain(other)[1], contributions)
    with ThreadPoolExecutor(2) as pool:
        for _, found in pool.map(trees.explain, [X] * 6):
            assert np.array_equal(found, contributions)
    assert trees.score(X[:0]).shape == (0,)
    assert trees.explain(X[:0])[1].shape == (0, 8)
    assert len(module._walk.signatures) == 1
    assert len(leaves._strike.signatures) == 1
    # The tests against the definition compile a second form, for tables in float64.
    assert len(tables._add.signatures) <= 2


@settings(max_examples=40)
@given(depth=st.integers(0, 9), seed=st.integers(0, 2**20))
def test_struck_leaves_are_those_of_the_walk(depth: int, seed: int) -> None:
    """Up to 64 leaves, the whole word among them; more are left to the walk."""
    rng = np.random.default_rng(seed)
    forest = [grown(rng, depth, 3) for _ in range(4)]
    if depth == 6:
        forest.append(grown(rng, 6, 3, least=6))
    nodes = Nodes.of(forest, 3)
    made = Leaves.of(nodes)
    largest = max(np.bincount(nodes.tree[~nodes.split]))
    assert (made is None) == (largest > MOST)
    if made is None:
        return
    X = rng.normal(size=(50, 3)).astype(np.float32)
    X[rng.random(X.shape) < 0.3] = np.nan
    out = np.zeros(50, np.float32)
    made.add(np.ascontiguousarray(X.T), out)
    every = frozenset(range(3))
    for row, found in zip(X, out, strict=True):
        total = np.float32(0)
        for tree in forest:
            total += np.float32(worth(tree, row, every))
        assert found == total


def test_leaves_alone() -> None:
    """Trees that are one leaf add to the base and to nothing else, beside trees that split."""
    X = rows(200, 3)
    stumps = boosted(X, 5, min_child_weight=1e9)
    assert_same(stumps, X)
    assert not Trees(stumps).explain(X)[1].any()
    mixed = boosted(X, 10, max_depth=3, gamma=8.0, learning_rate=0.8)
    assert {tree.count("leaf") == 1 for tree in mixed.get_dump()} == {True, False}
    assert_same(mixed, X)


# --- against the definition -------------------------------------------------------------------


def grown(rng: np.random.Generator, depth: int, columns: int, least: int = 1) -> dict[str, Any]:
    """A random tree in XGBoost's arrays; few columns, so that paths repeat them.

    No leaf lies above the level ``least``.
    """
    tree: dict[str, Any] = {key: [] for key in ARRAYS}

    def grow(left: int, cover: float) -> int:
        at = len(tree["left_children"])
        leaf = left == 0 or (depth - left >= least and rng.random() < 0.2)
        value = float(np.float32(rng.normal()))
        column, default_left = int(rng.integers(columns)), int(rng.integers(2))
        entries = (-1, -1, 0 if leaf else column, value, default_left, cover)
        for key, entry in zip(ARRAYS, entries, strict=True):
            tree[key].append(entry)
        if not leaf:
            share = rng.choice([0.0, 0.5, rng.random()], p=[0.05, 0.15, 0.8])
            tree["left_children"][at] = grow(left - 1, float(np.float32(cover * share)) + 1e-30)
            tree["right_children"][at] = grow(left - 1, float(np.float32(cover * (1 - share))))
        return at

    grow(depth, 100.0)
    return tree


def worth(tree: dict[str, Any], row: Floats, known: frozenset[int], at: int = 0) -> float:
    """The game of algorithm 2: follow known features, average the others by cover."""
    left, right = tree["left_children"][at], tree["right_children"][at]
    condition, column = tree["split_conditions"][at], tree["split_indices"][at]
    if left < 0:
        return float(condition)
    if column in known:
        v = np.float32(row[column])
        goes_left = tree["default_left"][at] if np.isnan(v) else v < np.float32(condition)
        return worth(tree, row, known, left if goes_left else right)
    cover = [np.float64(np.float32(tree["sum_hessian"][i])) for i in (at, left, right)]
    return float(
        cover[1] / cover[0] * worth(tree, row, known, left)
        + cover[2] / cover[0] * worth(tree, row, known, right)
    )


def shapley(tree: dict[str, Any], row: Floats) -> list[float]:
    """Shapley values by their definition, over all subsets of the columns."""
    d = len(row)
    found = []
    for i in range(d):
        others = [j for j in range(d) if j != i]
        total = 0.0
        for size in range(d):
            weight = math.factorial(size) * math.factorial(d - 1 - size) / math.factorial(d)
            for chosen in itertools.combinations(others, size):
                known = frozenset(chosen)
                total += weight * (worth(tree, row, known | {i}) - worth(tree, row, known))
        found.append(total)
    return found


@settings(max_examples=25)
@given(
    depth=st.integers(0, 6),
    columns=st.integers(1, 5),
    shared=st.sampled_from([0, 4, 7, 9]),
    seed=st.integers(0, 2**20),
)
def test_equals_the_definition(depth: int, columns: int, shared: int, seed: int) -> None:
    """In float64 to 1e-9, with parts that no row ever reached, however leaves are grouped."""
    rng = np.random.default_rng(seed)
    forest = [grown(rng, depth, columns) for _ in range(2)]
    X = rng.normal(size=(3, columns))
    X[rng.random(X.shape) < 0.2] = np.nan
    nodes = Nodes.of(forest, columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "SHARED_BITS", shared)
        planned = Tables.of(nodes, np.float64)
    out = np.zeros(X.shape[::-1])
    planned.add(np.array(X.T, dtype=np.float32, order="C"), out)
    expected = [np.sum([shapley(tree, row) for tree in forest], axis=0) for row in X]
    assert np.abs(out.T - expected).max() <= 1e-9
    mean = sum(worth(tree, X[0], frozenset()) for tree in forest)
    assert planned.mean == pytest.approx(mean, abs=1e-9)


# --- splits by category --------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    depth=st.integers(1, 7),
    codes=st.integers(2, 40),
    one_hot=st.sampled_from([1, 4, 50]),
    objective=st.sampled_from(["binary:logistic", "reg:tweedie"]),
    seed=st.integers(0, 99),
)
def test_categories_equal_xgboost(
    depth: int, codes: int, one_hot: int, objective: str, seed: int
) -> None:
    """Sets of codes and single ones, missing codes and codes beyond those that were learned."""
    rng = np.random.default_rng(seed)
    X = rows(400, 4, seed)
    for column in (1, 2):
        X[:, column] = np.where(rng.random(400) < 0.1, np.nan, rng.integers(0, codes, 400))
    chosen = rng.random(codes) < 0.4
    told = np.where(np.isnan(X[:, 1]), False, chosen[np.nan_to_num(X[:, 1]).astype(int)])
    y = (told + np.nan_to_num(X[:, 0]) * 0.3 + rng.normal(size=400) * 0.3 > 0.4).astype(float)
    kinds = ["q", "c", "c", "q"]
    data = xgboost.DMatrix(X, label=y, feature_types=kinds, enable_categorical=True)
    settings_ = {
        "objective": objective, "max_depth": depth, "max_cat_to_onehot": one_hot, "nthread": 1,
        "min_child_weight": 0.1, "tree_method": "hist", "seed": seed,
    }  # fmt: skip
    booster = xgboost.train(settings_, data, 12)
    beyond = X.copy()
    beyond[:40, 1] = codes + 3
    for asked in (X, beyond):
        assert_same(booster, asked)
    trees = Trees(booster)
    singles = np.concatenate([trees.score(X[i : i + 1]) for i in range(30)])
    assert np.array_equal(singles, trees.score(X)[:30])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, ""),
        ({"categories_nodes": [3]}, "categories lie outside"),
        ({"categories_nodes": [1]}, "not those of its splits"),
        ({"split_type": [0, 0, 0]}, "not those of its splits"),
        ({"categories_sizes": [9]}, "categories lie outside"),
        ({"categories_segments": [4]}, "categories lie outside"),
        ({"categories": [0, -2]}, "no code"),
        ({"categories": [0, 1 << 20]}, "no code"),
        ({"split_indices": [2, 0, 0]}, "beyond the 2"),
        ({"split_indices": [math.nan, 0, 0]}, "beyond the 2"),
    ],
)
def test_malformed_categories_are_refused(change: dict[str, Any], says: str) -> None:
    """No code is looked up before it was checked."""
    words = {
        "split_type": [1, 0, 0], "categories": [0, 2], "categories_nodes": [0],
        "categories_segments": [0], "categories_sizes": [2],
    }  # fmt: skip
    tree = {**three(), **words, **change}
    if not says:
        assert Nodes.of([tree, three()], 2).words == [(1, (0, 2))]
        return
    with pytest.raises(DataError, match=says):
        Nodes.of([three(), tree], 2)


# --- what is refused and what is left to XGBoost -------------------------------------------------


def three() -> dict[str, Any]:
    """A split with two leaves."""
    return {
        "left_children": [1, -1, -1],
        "right_children": [2, -1, -1],
        "split_indices": [1, 0, 0],
        "split_conditions": [0.5, -1.0, 1.0],
        "default_left": [0, 0, 0],
        "sum_hessian": [4.0, 1.0, 3.0],
    }


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"left_children": [5, -1, -1]}, "outside"),
        ({"left_children": [-2, -1, -1]}, "outside"),
        ({"left_children": [1.5, -1, -1]}, "outside"),
        ({"left_children": [math.nan, -1, -1]}, "outside"),
        ({"right_children": [-1, -1, -1]}, "outside"),
        ({"right_children": [1, -1, -1]}, "twice"),
        ({"right_children": [0, -1, -1]}, "twice"),
        ({"left_children": [1, 2, -1], "right_children": [2, 0, -1]}, "twice"),
        ({"split_indices": [2, 0, 0]}, "beyond the 2"),
        ({"split_indices": [-1, 0, 0]}, "beyond the 2"),
        ({"split_indices": [0.5, 0, 0]}, "beyond the 2"),
        ({"split_conditions": [math.nan, 0.0, 0.0]}, "not finite"),
        ({"split_conditions": [0.5, math.inf, 0.0]}, "not finite"),
        ({"split_conditions": [1e39, 0.0, 0.0]}, "not finite"),
        ({"split_conditions": [0.5, 0.0]}, "differ in length"),
        ({key: [] for key in three()}, "empty"),
    ],
)
def test_malformed_trees_are_refused(change: dict[str, Any], says: str) -> None:
    """No index is followed before it was checked, in whichever tree it stands."""
    Nodes.of([three(), three()], 2)
    for damaged in ([{**three(), **change}, three()], [three(), {**three(), **change}]):
        with pytest.raises(DataError, match=says):
            Nodes.of(damaged, 2)


def test_a_split_without_cover_has_no_shares() -> None:
    """XGBoost's own contributions are NaN there."""
    for cover in ([0.0, 0.0, 0.0], [-1.0, 1.0, 1.0], [math.nan, 1.0, 1.0], [1e39, 1.0, 1.0]):
        with pytest.raises(Unsupported, match="no cover"):
            Tables.of(Nodes.of([three(), {**three(), "sum_hessian": cover}], 2))


def test_rows_of_another_width_are_refused() -> None:
    """Too few columns would be read from beyond the array."""
    trees = Trees(boosted(rows(100, 3)))
    for X in (rows(2, 2), rows(2, 4), np.zeros(3)):
        with pytest.raises(DataError, match="3 columns"):
            trees.score(X)
        with pytest.raises(DataError, match="3 columns"):
            trees.explain(X)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"booster": "dart", "rate_drop": 0.5}, "booster is dart"),
        ({"booster": "gblinear"}, "booster is gblinear"),
        ({"objective": "multi:softprob", "num_class": 3}, "several outputs"),
    ],
)
def test_other_boosters_are_unsupported(parameters: dict[str, Any], says: str) -> None:
    """What is no plain sum of trees is left to XGBoost, with the reason."""
    with pytest.raises(Unsupported, match=says):
        Trees(boosted(rows(100, 3), 3, **parameters))


def test_margins_that_differ_are_unsupported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Should another XGBoost sum in another order, it is noticed when the model is read."""
    booster = boosted(rows(300, 4))
    monkeypatch.setattr(module, "_base_margin", lambda _: np.float32(1e-3))
    with pytest.raises(Unsupported, match="not XGBoost's"):
        Trees(booster)


def test_long_paths_keep_their_margins() -> None:
    """More than 12 features on a path: no tables, and margins all the same."""
    X = rows(3_000, 20, missing=0.0)
    booster = boosted(X, 2, max_depth=16, min_child_weight=0)
    trees = Trees(booster)
    assert np.array_equal(trees.score(X), margins(booster, X))
    assert trees.tables == "a path asks more than 12 features"
    with pytest.raises(Unsupported, match="more than 12"):
        trees.explain(X)


@pytest.fixture
def model() -> Gbm:
    """A fitted model."""
    fitted = Gbm(validated(GbmConfig, {"trees": 20, "min_child_weight": 1}, "gbm"))
    X, y, _ = customers(400)
    fitted.fit(X, y, seed=0)
    return fitted


def test_a_model_answers_by_compiled_trees(model: Gbm) -> None:
    """Scores are XGBoost's to the bit, explanations reach them, before and after loading."""
    X = customers(1_500, seed=5)[0].to_numpy(np.float64)
    booster = model._booster
    assert booster is not None
    assert model.unsupported == ""
    expected = margins(booster, X)
    assert np.array_equal(model.score(X), expected)
    assert np.array_equal(model.score(X[:900]), expected[:900])
    explained = model.explain(X)
    assert np.abs(explained.scores - model.score(X)).max() <= 1e-5
    loaded = Gbm(model.config)
    loaded.load(model.save(), model.columns)
    assert np.array_equal(loaded.explain(X).contributions, explained.contributions)
    assert np.array_equal(loaded.score(X[:9]), expected[:9])


def test_a_round_of_several_trees_adds_their_mean() -> None:
    """Alike where nothing is drawn; drawn apart, all of them are walked, explained and staged."""
    X, y, _ = customers(400)
    values, drawn = X.to_numpy(np.float64), {"subsample": 0.7, "colsample_bytree": 0.6}

    def fitted(**settings: float) -> Gbm:
        few = {"trees": 20, "min_child_weight": 1, "subsample": 1, "colsample_bytree": 1}
        model = Gbm(validated(GbmConfig, few | settings, "gbm"))
        model.fit(X, y, seed=0)
        return model

    alone, alike = fitted(), fitted(num_parallel_tree=3)
    assert alike.score(values) == pytest.approx(alone.score(values), abs=1e-5)
    several = fitted(num_parallel_tree=3, **drawn)
    assert not np.allclose(several.score(values), fitted(**drawn).score(values), atol=1e-3)
    assert np.array_equal(several.score(values), margins(several._booster, values))
    assert several.explain(values).scores == pytest.approx(several.score(values), abs=1e-5)
    rounds, last = list(several.staged(values))[-1]
    assert (rounds, last) == (20, pytest.approx(several.score(values), abs=1e-6))


def test_a_second_fit_replaces_the_trees(model: Gbm) -> None:
    """No answer comes from trees of an earlier fit."""
    X, y, _ = customers(400)
    values = X.to_numpy(np.float64)
    before = model.score(values)
    model.fit(X, 1.0 - y, seed=0)
    assert np.array_equal(model.score(values), margins(model._booster, values))
    assert np.corrcoef(before, model.score(values))[0, 1] < 0


def test_large_tables_are_left_to_xgboost(
    model: Gbm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the limit of memory the same explanation comes from XGBoost, and the log says so."""
    X = customers(50, seed=6)[0].to_numpy(np.float64)
    compiled = model.explain(X)
    monkeypatch.setattr(tables, "MAX_BYTES", 1 << 10)
    large = Gbm(model.config)
    large.load(model.save(), model.columns)
    assert "need more than" in large.unsupported
    assert "need more than" in caplog.text
    explained = large.explain(X)
    assert np.abs(explained.contributions - compiled.contributions).max() <= 2e-5
    assert np.array_equal(large.score(X), model.score(X))


def test_whole_models_are_left_to_xgboost(model: Gbm, monkeypatch: pytest.MonkeyPatch) -> None:
    """If trees cannot be compiled at all, XGBoost scores and explains."""
    X = customers(50, seed=6)[0].to_numpy(np.float64)
    scores, compiled = model.score(X), model.explain(X)
    monkeypatch.setattr(module, "_base_margin", lambda _: np.float32(1e-3))
    left = Gbm(model.config)
    left.load(model.save(), model.columns)
    assert left.unsupported == "its margins are not XGBoost's"
    assert np.array_equal(left.score(X), scores)
    assert np.abs(left.explain(X).contributions - compiled.contributions).max() <= 2e-5


def test_nothing_is_unpickled_or_written(model: Gbm) -> None:
    """Code is compiled in the process that runs it: no cache on disk, which numba would pickle."""
    code = """
import sys
def hook(event, arguments):
    if event.startswith("pickle."):
        sys.exit(f"unpickled {arguments}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        sys.exit(f"written {arguments[0]}")
sys.dont_write_bytecode = True
from training.models.gbm import Gbm, GbmConfig
import xgboost
sys.addaudithook(hook)
model = Gbm(GbmConfig())
model.load({"model.ubj": sys.stdin.buffer.read()}, list("abcde"))
print(repr(model.unsupported))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=model.save()["model.ubj"],
        capture_output=True,
        check=False,
    )
    assert done.stdout.decode().strip() == "''", done.stderr.decode()

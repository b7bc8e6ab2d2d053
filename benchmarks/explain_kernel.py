"""Explanations by the compiled trees, beside XGBoost's ``pred_contribs`` and other explainers.

Models of 100 x 4 x 20, 500 x 6 x 40 and 1,000 x 7 x 80 (trees x depth x features) learn from all
features, a tenth of the values missing. All ways explain the same rows on one thread, in turns; a
figure is the median of its turns. Of up to 100 rows a turn is the second of two calls: the way
before it has emptied the caches, which who explains one customer after another finds as they were.
What takes too long explains fewer rows and is scaled, marked ``*``: ``pred_contribs`` and SHAP by
rows (2,000 at most), woodelf along the line through 2,000 and 10,000 rows, as it spends most on
what does not depend on rows. Ratios are an opponent's time by ours. Start-up is measured in a fresh
process that has XGBoost loaded; nothing is cached on disk, so every start is a cold one.

    python benchmarks/explain_kernel.py [100x4x20 500x6x40 1000x7x80]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import xgboost  # noqa: E402

from training.models.trees import Trees  # noqa: E402

MODELS = ("100x4x20", "500x6x40", "1000x7x80")
GOALS = {1: 4, 10: 10, 100: 20, 1_000: 20, 100_000: 20}
LEARNED = 10_000
"""Rows that a model learns from."""
PATIENCE = 3.0
"""Seconds that one turn of an opponent may take."""
FEW = 100
"""Rows up to which a call is so short that caches decide what it takes."""
Way = Callable[[np.ndarray], object]

START = """
import sys, time, resource
import numpy, scipy.sparse, scipy.linalg, pandas, xgboost
booster = xgboost.Booster(model_file=sys.argv[1])
row = numpy.zeros((1, booster.num_features()))
booster.inplace_predict(row)
at = [time.perf_counter()]
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
from training.models.trees import Trees
at.append(time.perf_counter())
trees = Trees(booster)
at.append(time.perf_counter())
trees.tables
at.append(time.perf_counter())
trees.explain(row)
at.append(time.perf_counter())
memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1e3
print(*(b - a for a, b in zip(at, at[1:])), memory)
"""


def model(trees: int, depth: int, columns: int) -> tuple[xgboost.Booster, np.ndarray]:
    """A booster and 100,000 rows like those it learned from."""
    rng = np.random.default_rng(trees)
    X = rng.normal(size=(100_000, columns))
    truth = X @ rng.normal(size=columns) + 3 * (X[:, ::2] * X[:, 1::2]).sum(axis=1)
    X[rng.random(X.shape) < 0.1] = np.nan
    data = xgboost.DMatrix(X[:LEARNED], label=truth[:LEARNED] > 0, nthread=os.cpu_count())
    settings = {
        "objective": "binary:logistic",
        "max_depth": depth,
        "learning_rate": 0.03,
        "max_bin": 64,
    }
    booster = xgboost.train({**settings, "nthread": os.cpu_count()}, data, trees)
    booster.set_param({"nthread": 1})
    return booster, X


def ways(booster: xgboost.Booster, trees: Trees) -> dict[str, Way]:
    """Each explainer; those that are not installed are left out."""
    found: dict[str, Way] = {
        "ours": trees.explain,
        "pred_contribs": lambda X: booster.predict(
            xgboost.DMatrix(X, nthread=1), pred_contribs=True
        ),
    }
    if find_spec("shap"):
        import shap

        explainer = shap.TreeExplainer(booster, feature_perturbation="tree_path_dependent")
        found["shap"] = explainer.shap_values
    if find_spec("woodelf"):
        import pandas as pd
        from woodelf.explainer import WoodelfExplainer

        other = WoodelfExplainer(booster)
        found["woodelf"] = lambda X: other.shap_values(pd.DataFrame(X), verbose=False)
    return found


def timed(way: Way, X: np.ndarray) -> float:
    """Seconds of one call."""
    begun = time.perf_counter()
    way(X)
    return time.perf_counter() - begun


def turn(name: str, way: Way, X: np.ndarray, most: int) -> float:
    """Seconds for all of ``X``, from ``most`` rows if it has more."""
    if name == "woodelf" and len(X) > 10_000:
        few, more = timed(way, X[:2_000]), timed(way, X[:10_000])
        return few + (more - few) * (len(X) - 2_000) / 8_000
    seconds = timed(way, X[:most]) * max(1.0, len(X) / most)
    if len(X) > FEW or seconds > PATIENCE:
        return seconds
    return timed(way, X)  # again, as the one before it had emptied the caches


def measure(booster: xgboost.Booster, X: np.ndarray, trees: Trees) -> None:
    """Print the table of one model."""
    every = ways(booster, trees)
    reference, (_, contributions) = every["pred_contribs"](X[:200]), trees.explain(X[:200])
    gap = np.abs(contributions - reference[:, :-1]).max()
    same = np.array_equal(
        trees.score(X[:20_000]), booster.inplace_predict(X[:20_000], predict_type="margin")
    )
    print(f"  largest difference to pred_contribs {gap:.1e}, margins of 20,000 rows equal: {same}")
    print(
        f"  {'rows':>7} {'ours ms':>10} {'2 threads':>10}"
        + "".join(f"{n:>20}" for n in list(every)[1:])
        + "   goal"
    )
    most = dict.fromkeys(every, 10_000_000)
    for name in ("pred_contribs", "shap"):
        if name in every:
            most[name] = max(20, min(2_000, int(PATIENCE / timed(every[name], X[:20]) * 20)))
    for rows, goal in GOALS.items():
        part, turns = X[:rows], []
        begun = time.perf_counter()
        while len(turns) < (15 if rows <= FEW else 3) and time.perf_counter() - begun < 40:
            # Of few rows the slowest have one turn.
            left = [n for n in every if not turns or turns[0][n] < PATIENCE or rows > FEW]
            turns.append({n: turn(n, every[n], part, most[n]) for n in left})
        seconds = {name: statistics.median(t[name] for t in turns if name in t) for name in every}
        halves = np.array_split(part, 2) if rows > 1 else [part]
        with ThreadPoolExecutor(2) as pool:
            both = statistics.median(
                timed(partial(_spread, pool, trees, halves), part) for _ in turns
            )
        line = f"  {rows:>7} {seconds['ours'] * 1e3:>10.2f} {both * 1e3:>10.2f}"
        for name in list(every)[1:]:
            mark = "*" if rows > most[name] or (name == "woodelf" and rows > 10_000) else " "
            line += f"{seconds[name] * 1e3:>11.1f}{mark}{seconds[name] / seconds['ours']:>7.1f}x"
        print(
            f"{line} {goal:>5}x",
            "" if seconds["pred_contribs"] >= goal * seconds["ours"] else "MISSED",
            flush=True,
        )


def _spread(pool: ThreadPoolExecutor, trees: Trees, halves: list[np.ndarray], _: object) -> object:
    return list(pool.map(trees.explain, halves))


def scoring(booster: xgboost.Booster, X: np.ndarray, trees: Trees) -> None:
    """Print what a margin costs, beside ``inplace_predict``."""
    for rows in (1, 100, 10_000):
        part = X[:rows]
        pairs = [
            (
                timed(trees.score, part),
                timed(lambda x: booster.inplace_predict(x, predict_type="margin"), part),
            )
            for _ in range(25 if rows <= 100 else 5)
        ]
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(
            f"  margins of {rows:>6} rows: {ours * 1e3:8.3f} ms, "
            f"XGBoost {theirs * 1e3:8.3f} ms, {theirs / ours:.1f}x"
        )


def main() -> None:
    """Measure the named models, or all."""
    for named in sys.argv[1:] or MODELS:
        booster, X = model(*(int(n) for n in named.split("x")))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.ubj"
            booster.save_model(file)
            starts = [
                [
                    float(n)
                    for n in subprocess.check_output([sys.executable, "-c", START, file]).split()
                ]
                for _ in range(3)
            ]
        imported, walked, tabled, added, memory = (
            statistics.median(c) for c in zip(*starts, strict=True)
        )
        trees = Trees(booster)
        tables = trees.tables
        size = tables if isinstance(tables, str) else f"{tables.table.nbytes / 1e6:.1f} MB"
        print(f"{named}: {trees.nodes.split.sum():,} splits")
        print(
            f"  ready after {imported + walked + tabled + added:.2f} s: import {imported:.2f}, "
            f"read and compile margins {walked:.2f}, fill tables {tabled:.2f}, "
            f"compile explanations {added:.2f}; tables {size}, memory {memory:+.0f} MB"
        )
        measure(booster, X, trees)
        scoring(booster, X, trees)


if __name__ == "__main__":
    main()

"""Explanations by the compiled trees, beside XGBoost's ``pred_contribs`` and other explainers.

Models of 100 x 4 x 20, 500 x 6 x 40 and 1,000 x 7 x 80 (trees x depth x features) learn
interactions of all features, a tenth of the values missing. All ways explain the same rows on one
thread, in turns; a figure is the median of its turns, of which slow ways have fewer. What takes
too long explains fewer rows and is scaled, marked ``*``: ``pred_contribs`` and SHAP by rows (2,000
at most), woodelf (if installed) along the line through 2,000 and 10,000 rows, as most of its time
does not depend on rows. Ratios are an opponent's time by ours. Getting ready is measured in fresh
processes that have XGBoost loaded; no compiled code is kept on disk, so each start is a cold one.

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
from importlib.util import find_spec
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import numpy as np
import xgboost

from training.models.trees import Trees

MODELS = ("100x4x20", "500x6x40", "1000x7x80")
GOALS = {1: 4, 10: 10, 100: 20, 1_000: 20, 100_000: 20}
LEARNED = 10_000
"""Rows that a model learns from."""
PATIENCE = 2.0
"""Seconds that XGBoost and SHAP may take for one turn."""
TOO_SLOW = 20.0
"""Seconds for one row beyond which a way is left out."""
Way = Callable[[np.ndarray], object]

START = """
import sys, time
import numpy, pandas, psutil, scipy.linalg, scipy.sparse, xgboost
booster = xgboost.Booster(model_file=sys.argv[1])
row = numpy.zeros((1, booster.num_features()))
booster.inplace_predict(row)
memory = psutil.Process().memory_info().rss
at = [time.perf_counter()]
from training.models.trees import Trees
at.append(time.perf_counter())
trees = Trees(booster)
at.append(time.perf_counter())
trees.tables
at.append(time.perf_counter())
trees.explain(row)
at.append(time.perf_counter())
memory = (psutil.Process().memory_info().rss - memory) / 1e6
print(*(b - a for a, b in zip(at, at[1:])), memory)
"""


def model(trees: int, depth: int, columns: int) -> tuple[xgboost.Booster, np.ndarray]:
    """A booster and 100,000 rows, the first of which it learned from."""
    rng = np.random.default_rng(trees)
    X = rng.normal(size=(100_000, columns))
    truth = X @ rng.normal(size=columns) + 3 * (X[:, ::2] * X[:, 1::2]).sum(axis=1)
    X[rng.random(X.shape) < 0.1] = np.nan
    threads = os.cpu_count()
    data = xgboost.DMatrix(X[:LEARNED], label=truth[:LEARNED] > 0, nthread=threads)
    settings = {"objective": "binary:logistic", "learning_rate": 0.03, "max_bin": 64}
    booster = xgboost.train({**settings, "max_depth": depth, "nthread": threads}, data, trees)
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
    """Seconds for all of ``X``, scaled if it has more than ``most`` rows."""
    if name == "woodelf" and len(X) > most:
        few, more = timed(way, X[: most // 5]), timed(way, X[:most])
        return few + (more - few) * (len(X) - most // 5) / (most - most // 5)
    return timed(way, X[:most]) * max(1.0, len(X) / most)


def medians(every: dict[str, Way], X: np.ndarray, most: dict[str, int]) -> dict[str, float]:
    """Median seconds of each way, all of them in turns."""
    taken = {name: [turn(name, way, X, most[name])] for name, way in every.items()}
    for i in range(1, 15):
        for name, way in every.items():
            first = taken[name][0] * min(1.0, most[name] / len(X))
            if i < (15 if first < 0.1 else 5 if first < 1.0 else 3 if first < 5.0 else 1):
                taken[name].append(turn(name, way, X, most[name]))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def explaining(booster: xgboost.Booster, X: np.ndarray, trees: Trees) -> None:
    """Print times and ratios by number of rows."""
    every = ways(booster, trees)
    reference, (_, contributions) = (
        booster.predict(xgboost.DMatrix(X[:200]), pred_contribs=True),
        trees.explain(X[:200]),
    )
    gap = np.abs(contributions - reference[:, :-1]).max()
    margins = booster.inplace_predict(X[:20_000], predict_type="margin")
    equal = int((trees.score(X[:20_000]) == margins).sum())
    print(f"  difference to pred_contribs {gap:.1e}; margins equal on {equal:,} of 20,000 rows")
    for name in list(every):
        if (alone := timed(every[name], X[:1])) > TOO_SLOW:
            print(f"  {name} took {alone:.0f} s for one row and is left out")
            del every[name]
    most = dict.fromkeys(every, len(X))
    for name in {"pred_contribs", "shap"} & set(every):
        most[name] = max(20, min(2_000, int(PATIENCE / timed(every[name], X[:20]) * 20)))
    if "woodelf" in every:
        most["woodelf"] = 10_000
    others = [name for name in every if name != "ours"]
    titles = "".join(f"{name:>21}" for name in others)
    print(f"  {'rows':>7} {'ours, ms':>10} {'2 threads':>10}{titles}   goal")
    with ThreadPoolExecutor(2) as pool:
        for rows, goal in GOALS.items():
            both = lambda X: list(pool.map(trees.explain, np.array_split(X, 2)))  # noqa: E731
            seconds = medians({**every, "both": both}, X[:rows], {**most, "both": len(X)})
            ours = seconds["ours"]
            line = f"  {rows:>7} {ours * 1e3:>10.2f} {seconds['both'] * 1e3:>10.2f}"
            for name in others:
                mark = "*" if rows > most[name] else " "
                line += f"{seconds[name] * 1e3:>11.1f}{mark}{seconds[name] / ours:>8.1f}x"
            missed = "" if seconds["pred_contribs"] >= goal * ours else " MISSED"
            print(f"{line}{goal:>6}x{missed}", flush=True)


def scoring(booster: xgboost.Booster, X: np.ndarray, trees: Trees) -> None:
    """Print what margins cost."""
    every: dict[str, Way] = {
        "ours": trees.score,
        "XGBoost": lambda X: booster.inplace_predict(X, predict_type="margin"),
    }
    for rows in (1, 100, 10_000):
        ours, theirs = medians(every, X[:rows], dict.fromkeys(every, rows)).values()
        print(
            f"  margins of {rows:>6} rows: {ours * 1e3:8.3f} ms, inplace_predict "
            f"{theirs * 1e3:8.3f} ms, {theirs / ours:.1f}x"
        )


def main() -> None:
    """Measure the named models, or all."""
    for named in sys.argv[1:] or MODELS:
        booster, X = model(*(int(n) for n in named.split("x")))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.ubj"
            booster.save_model(file)
            command = [sys.executable, "-c", START, str(file)]
            starts = [subprocess.check_output(command, text=True).split() for _ in range(5)]
        median = [statistics.median(map(float, column)) for column in zip(*starts, strict=True)]
        trees = Trees(booster)
        tables = trees.tables
        size = tables if isinstance(tables, str) else f"{tables.table.nbytes / 1e6:.1f} MB"
        print(
            f"{named}: {(~trees.nodes.split).sum():,} leaves; tables {size}, memory "
            f"{median[4]:+.0f} MB\n  ready in {sum(median[:4]):.2f} s: import {median[0]:.2f}, "
            f"read and compile margins {median[1]:.2f}, fill tables {median[2]:.2f}, "
            f"compile explanations {median[3]:.2f}"
        )
        explaining(booster, X, trees)
        scoring(booster, X, trees)


if __name__ == "__main__":
    main()

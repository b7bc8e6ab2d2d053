"""LIME as a second local view of churn's answers, and how far it agrees with ours.

LIME (Ribeiro, Singh and Guestrin 2016) fits a weighted linear model around each row on values cut
into quarters; our contributions (TreeSHAP of trees) take the score apart exactly. Both say for each
column how much it pushes this answer up or down. Compared over rows of the test cutoff: columns
among the five strongest of both, signs of our five strongest, and the rank correlation of strengths
over all columns.
Needs ``lime`` beside the locked packages (the extra ``second-view``); without it nothing is run.

    python benchmarks/second_view.py [rows] [settings of the pipeline: data=online_retail_II]
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from churn_floor import run
from scipy.stats import spearmanr

from features.settings import Workspace
from training.bundle import load
from training.contract import matrix
from training.keys import verifying_key

STRONGEST = 5
DRAWS = 1000


def main() -> None:
    """Print the agreement with 95 % intervals over rows."""
    try:
        from lime.lime_tabular import LimeTabularExplainer
    except ImportError:
        print("left out: lime is not installed (pip install lime)")
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    settings = sys.argv[2:] or ["data=simulated", "search.trials=0"]
    with tempfile.TemporaryDirectory() as work:
        learned, _ = run(Path(work), "churn", *settings)
        made: Any = load(learned / "bundle", verifying_key(Workspace.locate().keys))
        X = matrix(pd.read_parquet(learned / "test_rows.parquet"), made.columns)
    rng = np.random.default_rng(0)
    # LIME draws around a row and takes no missing values: they are put to the column's median.
    filled = np.where(np.isnan(X), np.nanmedian(X, axis=0), X)
    lime = LimeTabularExplainer(
        filled, feature_names=list(made.columns), discretize_continuous=True, random_state=0
    )

    def chances(asked: np.ndarray) -> np.ndarray:
        p, _ = made.predict(asked)
        return np.stack([1 - p, p], axis=1)

    found = []
    for row in filled[rng.choice(len(filled), rows, replace=False)]:
        exact = made.explain(row[None]).contributions[0]
        told = lime.explain_instance(row, chances, num_features=len(row)).as_map()[1]
        local = np.zeros(len(row))
        local[[i for i, _ in told]] = [weight for _, weight in told]
        top, other = (set(np.argsort(-np.abs(v))[:STRONGEST]) for v in (exact, local))
        found.append({
            f"shared among the {STRONGEST} strongest": len(top & other) / STRONGEST,
            f"same sign among our {STRONGEST}": np.mean(
                [np.sign(exact[i]) == np.sign(local[i]) for i in top]
            ),
            "rank correlation of strengths": spearmanr(np.abs(exact), np.abs(local)).statistic,
        })  # fmt: skip
    table = pd.DataFrame(found)
    means = table.to_numpy()[rng.integers(0, rows, (DRAWS, rows))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    print(f"{rows} rows, {len(made.columns)} columns")
    for name, value, a, b in zip(table, table.mean(), low, high, strict=True):
        print(f"  {name:36s} {value:.3f} [{a:.3f}, {b:.3f}]")


if __name__ == "__main__":
    main()

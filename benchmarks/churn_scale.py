"""Churn at a million customers: answers and explanations by the shipped bundle, with peak memory.

The bundle is that of the shipped pipeline. Rows are drawn from its test customers, each column on
its own, so that hardly two are alike, and are answered in shards, as ``python -m serving score``
does. One thread; memory is the peak of this process, the rows themselves included.

    python benchmarks/churn_scale.py [customers] [explained] [settings: data=online_retail_II]
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PERENNIAL_THREADS"):
    os.environ[variable] = "1"

import numpy as np
import pandas as pd
from churn_floor import run

from features.settings import Workspace
from serving.score import CUSTOMERS_A_SHARD
from training.bundle import load
from training.keys import verifying_key

SIZES = (1_000_000, 100_000)
REASONS = 3


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Print seconds and memory of each step."""
    counts = [int(word) for word in sys.argv[1:] if word.isdigit()]
    customers, explained = counts + list(SIZES[len(counts) :])
    settings = [word for word in sys.argv[1:] if not word.isdigit()]
    with tempfile.TemporaryDirectory() as work:
        learned, _ = run(Path(work), "churn", *(settings or ["data=simulated", "search.trials=0"]))
        made: Any = load(learned / "bundle", verifying_key(Workspace.locate().keys))
        known = pd.read_parquet(learned / "test_rows.parquet")[list(made.columns)]
    rng = np.random.default_rng(0)
    rows = known.apply(lambda column: column.to_numpy()[rng.integers(0, len(known), customers)])
    print(f"{len(made.columns)} columns; {customers:,} rows made, peak {peak():.0f} MB")

    def timed(what: str, n: int, way: Callable[[pd.DataFrame], object]) -> None:
        way(rows[:100])  # tables and compiled code are made once
        began = time.perf_counter()
        for start in range(0, n, CUSTOMERS_A_SHARD):
            way(rows[start : min(start + CUSTOMERS_A_SHARD, n)])
        seconds = time.perf_counter() - began
        print(f"{what:36s} {n:>9,} rows {seconds:7.1f} s {n / seconds:>9,.0f} rows/s, "
              f"peak {peak():.0f} MB", flush=True)  # fmt: skip

    timed("answers, with tier and set", customers, made.predict_frame)
    timed("contributions", explained, lambda some: made.explain(some.to_numpy(np.float64)))
    timed(f"{REASONS} reasons in words", explained, lambda some: made.reasons_frame(some, REASONS))


if __name__ == "__main__":
    main()

"""Learning, and lists of 20 for every customer, in shards, beside `implicit`'s own recommend call.

The shipped pipeline's makers and rankers: makers fitted 90 days before and at the moment, rankers
taught on what customers bought between, then all three lists of everyone. `implicit` learns ALS
with as many factors from the same histories, and recommends 20 items to everyone by its own call.
Seconds of the clock and of the processor, and the largest resident memory so far.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/recommend_scale.py 10x
    python benchmarks/recommend_scale.py <customers> <items>

`10x` is Online Retail II ten times, a tenth of the lines left out at random in each copy; with
numbers (2000 500 where none are given), invented customers with a taste for one of 50 groups of
items, about 30 lines each.
"""

import os

os.environ |= {"OMP_NUM_THREADS": "2", "PERENNIAL_THREADS": "2", "OPENBLAS_NUM_THREADS": "1"}

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

K = 20
HORIZON = 90
DAYS = 720
GROUPS = 50
FACTORS = 64
Lines = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Customer, item and day of each line."""


def invented(customers: int, items: int) -> Lines:
    """Baskets of about three items, mostly of the customer's group, few items selling much."""
    rng = np.random.default_rng(7)
    owner = np.repeat(np.arange(customers), 1 + rng.poisson(9, customers))
    day = rng.integers(0, DAYS, len(owner))
    size = 1 + rng.poisson(2, len(owner))
    owner, day = np.repeat(owner, size), np.repeat(day, size)
    each = items // GROUPS
    place = np.floor(each * rng.random(len(owner)) ** 3).astype(np.int64)
    group = np.where(
        rng.random(len(owner)) < 0.8, owner % GROUPS, rng.integers(0, GROUPS, len(owner))
    )
    return owner, group * each + place, day


def ten_times() -> Lines:
    """Online Retail II, ten copies."""
    from recommend import sales

    lines = sales(Path(os.environ["PERENNIAL_DATA_DIR"]))
    owner, item = (np.unique(lines[x], return_inverse=True)[1] for x in ("customer", "product"))
    day = (lines["day"] - lines["day"].min()).dt.days.to_numpy()
    rng, n = np.random.default_rng(7), int(owner.max()) + 1
    kept = [rng.random(len(owner)) < 0.9 for _ in range(10)]
    copies = [(owner[own] + n * i, item[own], day[own]) for i, own in enumerate(kept)]
    return tuple(np.concatenate(side) for side in zip(*copies, strict=True))


def seen(lines: Lines, day: int, items: int):
    """What was known at the beginning of ``day``, and what followed."""
    from training.recommend.asof import AsOf
    from training.recommend.catalogue import Attributes
    from training.recommend.histories import Histories

    owner, item, when = lines
    before, after = when < day, (when >= day) & (when < day + HORIZON)
    customers = np.unique(owner[before])
    columns = {
        "customer": np.searchsorted(customers, owner[before]), "item": item[before],
        "age": day - when[before], "quantity": np.ones(int(before.sum())),
        "amount": 1.0 + item[before] % 20,
    }  # fmt: skip
    past = Histories.of(columns, len(customers), items)
    after &= np.isin(owner, customers)
    at = np.searchsorted(customers, owner[after]), item[after]
    truth = sp.csr_matrix((np.ones(len(at[0])), at), shape=(len(customers), items))
    truth.sum_duplicates()
    truth.data[:] = 1.0
    codes = Attributes(tuple(f"{10_000 + i}" for i in range(items)))
    beyond = np.zeros(len(customers), np.int64)
    return AsOf(datetime.fromordinal(700_000 + day), customers, past, codes, truth, beyond)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print what a step took."""
    begun = time.perf_counter(), time.process_time()
    yield
    clock, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"  {what:44s} {clock:8.1f} s, {cpu:8.1f} s of the processor, {memory:5.1f} GiB", flush=True
    )


def main() -> None:
    """Measure one size."""
    from features.settings import Workspace
    from training.pipeline import load_plan
    from training.recommend.learn import shelf_at, some_asked
    from training.recommend.ranker import Ranker
    from training.recommend.recommender import RANKERS, Recommender, teach

    size = sys.argv[1:] or ["2000", "500"]
    lines = ten_times() if size == ["10x"] else invented(*(int(word) for word in size))
    items, now = int(lines[1].max()) + 1, int(lines[2].max()) + 1
    place = Workspace.locate()
    plan: Any = load_plan(place, place.configs / "recommend.yaml")
    with timed("histories"):
        before, today = seen(lines, now - HORIZON, items), seen(lines, now, items)
    print(
        f"{len(today.customers):,} customers, {items:,} items, {len(today.past.item):,} lines; "
        f"makers {', '.join(part.use for part in plan.config.makers)}"
    )
    with timed("makers 90 days ago"):
        shelf = shelf_at(plan, before)
    with timed(f"candidates of {plan.config.most_customers:,} customers to learn from"):
        rows = teach(shelf, some_asked(before, plan.config.most_customers, 7))
    rankers = {name: Ranker(plan.config.rankers[0]) for name in RANKERS}
    with timed("rankers"):
        for name, ranker in rankers.items():
            ranker.fit([rows[name]], 7)
    del lines, before, shelf, rows  # what teaches is not there when lists are made
    with timed("makers now"):
        made = Recommender(shelf_at(plan, today), rankers)
    with timed(f"three lists of {K} for everyone"):
        made.lists(today.past, K)
    beside(today.past.matrix().astype(np.float32))


def beside(bought: sp.csr_matrix) -> None:
    """The same by `implicit` alone."""
    from implicit.cpu.als import AlternatingLeastSquares

    learner = AlternatingLeastSquares(factors=FACTORS, iterations=15, random_state=7)
    with timed("implicit: ALS fitted"):
        learner.fit(bought, show_progress=False)
    with timed(f"implicit: one list of {K} for everyone"):
        learner.recommend(np.arange(bought.shape[0]), bought, N=K, filter_already_liked_items=False)


if __name__ == "__main__":
    main()

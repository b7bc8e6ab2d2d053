"""Association rules by FP-growth beside the pairs of `together.Together`, on Online Retail II.

Needs `mlxtend`, which is no dependency of the project: rules are what pairs are held against.
Learned on the baskets before 2011-06-12. Of each customer's first basket in the 90 days after, one
item is hidden by a seeded draw; what the others call for is a list of ten. Rules speak by the
highest confidence of any whose antecedents are all in the basket. Differences are paired over
customers.

    PERENNIAL_DATA_DIR=<folder> python benchmarks/association_rules.py
"""

import os

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

import itertools
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from recommend import HORIZON, World, paired, sales, seen

CUTOFF = pd.Timestamp("2011-06-12")
SUPPORT = 0.004
K = 10


def main() -> None:
    """Equality of supports, then lists."""
    if find_spec("mlxtend") is None:
        print("left out: mlxtend is not installed")
        return
    from mlxtend.frequent_patterns import fpgrowth

    from training.recommend.catalogue import demand
    from training.recommend.makers import Shop
    from training.recommend.makers.together import Together, TogetherConfig

    world = World(sales(Path(os.environ["PERENNIAL_DATA_DIR"])), CUTOFF)
    asof = seen(world)
    past = asof.past
    shape = int(past.basket[-1]) + 1, past.n_items
    baskets = sp.csr_matrix((np.ones(len(past.item)), (past.basket, past.item)), shape)
    begun = time.process_time()
    frame = pd.DataFrame.sparse.from_spmatrix(baskets.astype(bool))
    found = fpgrowth(frame, min_support=SUPPORT, max_len=3)
    took = time.process_time() - begun
    sets = {
        frozenset(s): v * shape[0] for s, v in zip(found["itemsets"], found["support"], strict=True)
    }
    sizes = np.bincount([len(s) for s in sets])
    print(f"{shape[0]:,} baskets; sets of 1, 2 and 3 items in {SUPPORT:.1%} of them: {sizes[1:]}")
    begun = time.process_time()
    counts = (baskets.T @ baskets).tocsr()
    print(f"FP-growth {took:.1f} s, all pairs by a product {time.process_time() - begun:.1f} s")
    both = [tuple(s) for s in sets if len(s) == 2]
    gap = max(abs(counts[i, j] - sets[frozenset((i, j))]) for i, j in both)
    upper = sp.triu(counts, 1)
    frequent = int((upper.data >= SUPPORT * shape[0]).sum())
    print(f"largest difference of a pair's count {gap:.6f}; frequent pairs {len(both)}, {frequent}")

    maker = Together(TogetherConfig())
    maker.fit(past, Shop(asof.attributes, demand(past, HORIZON.days), HORIZON.days))
    rules: dict[int, dict[frozenset[int], list[tuple[int, float]]]] = {1: {}, 2: {}}
    for s, count in sets.items():
        for last in s if len(s) > 1 else ():
            first = s - {last}
            rules[len(first)].setdefault(first, []).append((last, count / sets[first]))
    asked, hidden = _hidden(world)
    hit: dict[str, list[bool]] = {"pairs as shipped": [], "rules of one item": [], "and of two": []}
    for items, target in zip(asked, hidden, strict=True):
        one, two = np.zeros(past.n_items), np.zeros(past.n_items)
        for size in (1, 2):
            for first in itertools.combinations(items, size):
                for last, confidence in rules[size].get(frozenset(first), ()):
                    two[last] = max(two[last], confidence)
            if size == 1:
                one = two.copy()
        shipped = np.asarray(maker.links[items].sum(axis=0)).ravel()
        for name, score in zip(hit, (shipped, one, two), strict=True):
            score[items] = 0
            best = np.argsort(-score, kind="stable")[:K]
            hit[name].append(bool(target in best[score[best] > 0]))
    print(f"hidden item among {K}, {len(hidden):,} customers; pairs as shipped better by")
    for name, values in hit.items():
        by = paired(np.array(hit["pairs as shipped"], float), np.array(values, float))
        print(f"  {name:20s} {np.mean(values):.4f}   {by}")


def _hidden(world: World) -> tuple[list[list[int]], list[int]]:
    """Each customer's first basket after the cutoff without one item, and that item."""
    after = world.after[world.after["product"].isin(world.products)]
    first = after[after["day"] == after.groupby("customer")["day"].transform("min")]
    rng, asked, hidden = np.random.default_rng(7), [], []
    for _, own in first.groupby("customer"):
        items = np.unique(np.searchsorted(world.products, own["product"]))
        if len(items) > 1:
            target = int(rng.choice(items))
            asked.append([int(i) for i in items if i != target])
            hidden.append(target)
    return asked, hidden


if __name__ == "__main__":
    main()

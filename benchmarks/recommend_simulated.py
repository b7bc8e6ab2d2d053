"""Recommendations where the truth is known: tastes, rhythms, and the best list there can be.

Tastes: the simulated retailer. A customer's line is item i with probability taste of its category
times popularity within it, so the expected utility of a list is the sum of these over its items,
beside that of the ten likeliest. Learned on earlier cutoffs from order lines alone; the truth is
looked at once. Rhythms: invented customers who buy an item again after gamma-distributed gaps; how
well those who buy within 14 days are told from those who do not, beside someone who knows the
distribution of each gap. Intervals are 95 %, bootstrapped by customer.

    python benchmarks/recommend_simulated.py [customers]
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "2")

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from recommend_scale import HORIZON, seen

SOON = 14
"""Days within which an item is due."""
SHAPE = 12.0
"""Of the gaps: their standard deviation is 29 % of the mean."""


def tastes(customers: int) -> None:
    """True utility of lists on the simulated retailer."""
    from features.settings import Part, Workspace, resolve
    from features.simulate.config import SimulateConfig
    from features.simulate.draws import days_of
    from features.simulate.world import GUEST, draw_world
    from training.pipeline import load_plan
    from training.recommend.catalogue import Attributes
    from training.recommend.evaluate import maker_lists
    from training.recommend.learn import blocks_of, chosen, fitted
    from training.recommend.makers import HOME

    config = SimulateConfig(customers=customers)
    world = draw_world(config)
    sold = world.lines[world.lines["return_no"].isna()]
    owner = world.orders["customer"].to_numpy()[sold["order"]]
    day = np.floor(days_of(config, sold["happened_at"].to_numpy())).astype(int)
    known = owner != GUEST
    lines = owner[known], sold["product"].to_numpy()[known], day[known]
    products = world.products
    said = Attributes(
        tuple(products["sku"]), tuple(products["item"]), tuple(products["category"]), (),
        products["list_cents"].to_numpy() / 100,
    )  # fmt: skip
    at = {}
    for back in (3, 2, 1):
        moment = config.days - back * HORIZON
        asof = replace(seen(lines, moment, len(products)), attributes=said)
        at[asof.cutoff] = asof
    place = Workspace.locate()
    plan: Any = load_plan(place, place.configs / "recommend.yaml")
    blocks = blocks_of(plan, at, lambda done, n: None)
    best, _ = chosen(plan, blocks, lambda done, n: None)
    made = fitted(plan, at, blocks, best)
    now = at[max(at)]
    test = now.take(now.asked)
    codes = sorted(set(products["category"]))
    taste = world.customers[[f"taste_{code}" for code in codes]].to_numpy()[test.customers]
    category = products["category"].map(codes.index).to_numpy()
    chance = taste[:, category] * products["popularity"].to_numpy()
    chance[:, ~made.shelf.offered] = 0.0
    ideal = np.sort(chance, axis=1)[:, -10:].sum(axis=1)
    print(f"tastes: {len(test.customers):,} customers, {len(products)} items; share of the utility")
    print("of the best list, and of customers whose listed favourite category is the true one")
    answers = {"ours": made.lists(test.past, 10)["all"]}
    for part in plan.config.baselines:
        maker = resolve(HOME, Part.model_validate(part.model_dump()))
        maker.fit(now.past, made.shelf.shop)
        answers[part.use] = maker_lists(maker, test.past, made.shelf.offered, 10)["all"]
    for name, lists in answers.items():
        gained = np.take_along_axis(chance, np.maximum(lists, 0), axis=1) * (lists >= 0)
        counts = np.stack([np.bincount(category[own], minlength=len(codes)) for own in lists])
        right = counts.argmax(axis=1) == taste.argmax(axis=1)
        print(f"  {name:26s} {_mean(gained.sum(axis=1) / ideal)}   {_mean(right)}")


def rhythms(customers: int = 4_000) -> None:
    """Who buys again within 14 days, by the hazard that was learned."""
    from scipy.stats import gamma
    from sklearn.metrics import roc_auc_score

    from training.recommend.catalogue import demand
    from training.recommend.makers import Shop
    from training.recommend.makers.due import Due, DueConfig
    from training.recommend.makers.personal import Decayed, DecayedConfig

    rng, items, now = np.random.default_rng(7), 40, 700
    usual = rng.uniform(20, 90, items)
    owner = np.repeat(np.arange(customers), 3)
    item = np.concatenate([rng.choice(items, 3, replace=False) for _ in range(customers)])
    mean = usual[item] * rng.lognormal(0, 0.2, len(item))
    gaps = rng.gamma(SHAPE, mean[:, None] / SHAPE, (len(item), 60))
    when = rng.uniform(0, mean)[:, None] + np.cumsum(gaps, axis=1)
    row, which = np.nonzero(when < now + SOON)
    lines = owner[row], item[row], np.floor(when[row, which]).astype(int)
    asof = seen(lines, now, items)
    shop = Shop(asof.attributes, demand(asof.past, SOON), SOON)
    # Of those who know the gaps: a purchase within the days to come, given none since the last.
    last = np.where(when < now, when, -np.inf).max(axis=1)
    told = np.isfinite(last)
    age, scale = now - last[told], mean[told] / SHAPE
    alive = gamma.sf(age, SHAPE, scale=scale)
    oracle = 1 - gamma.sf(age + SOON, SHAPE, scale=scale) / np.maximum(alive, 1e-12)
    came = ((when >= now) & (when < now + SOON)).any(axis=1)[told]
    print(f"rhythms: {told.sum():,} customers x items, {came.mean():.1%} bought within {SOON} days")
    print(f"  {'who knows the gaps':26s} ROC-AUC {roc_auc_score(came, oracle):.4f}")
    pairs = np.searchsorted(asof.customers, owner[told]), item[told]
    for name, maker in (
        ("due.Due", Due(DueConfig())), ("personal.Decayed", Decayed(DecayedConfig())),
    ):  # fmt: skip
        maker.fit(asof.past, shop)
        score = maker.score(asof.past)[pairs]
        print(f"  {name:26s} ROC-AUC {roc_auc_score(came, score):.4f}", end="")
        gap = f", mean chance {score.mean():.3f}" if name == "due.Due" else ""
        print(gap)


def _mean(values: np.ndarray) -> str:
    rng = np.random.default_rng(0)
    values = values.astype(float)
    draws = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(500)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return f"{values.mean():.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    rhythms()
    tastes(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)

"""Small shops whose truth is known: two tastes that never mix, rhythms of one's own."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import scipy.sparse as sp

from features.settings import Part
from training.recommend.asof import AsOf
from training.recommend.bundle import ListsAnswer, ListsBundle, with_golden
from training.recommend.catalogue import Attributes
from training.recommend.histories import Histories
from training.recommend.ranker import Ranker, RankerConfig
from training.recommend.recommender import RANKERS, Recommender, teach
from training.recommend.shelf import Shelf, ShelfConfig, named_makers

HORIZON = 90
DAYS = 720
MAKERS = tuple(
    Part(use=use)
    for use in (
        "personal.Decayed", "due.Due", "popular.Recent", "popular.Season", "neighbours.Cosine",
        "neighbours.Bm25", "ease.Ease", "together.Together", "together.Next", "content.Content",
    )
)  # fmt: skip
SHELF = ShelfConfig(each=8, bought=20, shard=16)
TREES = RankerConfig(trees=12, min_child_weight=1, max_depth=4)


@dataclass(frozen=True)
class Shop:
    """Every purchase of a shop with two tastes: even customers buy even items, odd ones odd."""

    customer: np.ndarray
    item: np.ndarray
    day: np.ndarray
    n_customers: int
    n_items: int

    @property
    def attributes(self) -> Attributes:
        """Names, a category for each taste, prices."""
        n = range(self.n_items)
        return Attributes(
            tuple(f"P{i:03d}" for i in n),
            tuple(f"Article {'abcdefgh'[i % 8] * 3}" for i in n),
            tuple("even" if i % 2 == 0 else "odd" for i in n),
            tuple(f"brand {i % 3}" for i in n),
            np.array([1.0 + i for i in n]),
        )

    def asof(self, day: int) -> AsOf:
        """What was known at the beginning of ``day``, and what followed."""
        before = self.day < day
        after = (self.day >= day) & (self.day < day + HORIZON)
        customers = np.unique(self.customer[before])
        columns = {
            "customer": np.searchsorted(customers, self.customer[before]),
            "item": self.item[before],
            "age": day - self.day[before],
            "quantity": np.ones(int(before.sum())),
            "amount": 1.0 + self.item[before],
        }
        past = Histories.of(columns, len(customers), self.n_items)
        known = after & np.isin(self.customer, customers)
        at = np.searchsorted(customers, self.customer[known]), self.item[known]
        truth = sp.csr_matrix((np.ones(int(known.sum())), at), (len(customers), self.n_items))
        truth.sum_duplicates()
        truth.data[:] = 1.0
        moment = datetime.fromordinal(730_000 + day)
        beyond = np.zeros(len(customers), np.int64)
        return AsOf(moment, customers, past, self.attributes, truth, beyond)


def shop(seed: int = 0, n_customers: int = 60, n_items: int = 24) -> Shop:
    """Baskets of three items of the customer's taste, a favourite among them, every 20-60 days."""
    rng = np.random.default_rng(seed)
    customer, item, day = [], [], []
    for c in range(n_customers):
        own = np.arange(c % 2, n_items, 2)
        favourite, gap = rng.choice(own), int(rng.integers(20, 60))
        for moment in range(int(rng.integers(1, gap)), DAYS, gap):
            for i in {int(favourite), *rng.choice(own, 2, replace=False).tolist()}:
                customer.append(c)
                item.append(i)
                day.append(moment)
    return Shop(np.array(customer), np.array(item), np.array(day), n_customers, n_items)


def histories(seed: int = 0, n_customers: int = 12, n_items: int = 9, lines: int = 80) -> Histories:
    """Lines without any sense in them."""
    rng = np.random.default_rng(seed)
    columns = {
        "customer": rng.integers(0, n_customers, lines), "item": rng.integers(0, n_items, lines),
        "age": rng.integers(1, 700, lines), "quantity": rng.integers(1, 5, lines),
        "amount": rng.integers(1, 50, lines),
    }  # fmt: skip
    return Histories.of(columns, n_customers, n_items)


def recommender(world: Shop) -> Recommender:
    """Rankers taught at two cutoffs, makers as of the last."""
    taught = [
        teach(shelf_of(seen), seen) for seen in (world.asof(DAYS - 270), world.asof(DAYS - 180))
    ]
    rankers = {}
    for name in RANKERS:
        rankers[name] = Ranker(TREES)
        rankers[name].fit([block[name] for block in taught], seed=1)
    return Recommender(shelf_of(world.asof(DAYS - HORIZON)), rankers)


def shelf_of(seen: AsOf) -> Shelf:
    """Makers fitted to what was known."""
    return Shelf(SHELF, HORIZON, named_makers(MAKERS)).fit(seen.past, seen.attributes)


def bundle(made: Recommender) -> ListsBundle:
    """A bundle of it with golden lists."""
    said = ListsAnswer(
        task="recommend", question="Which items next?", kind="lists", output="items",
        cutoff="2026-01-01", horizon_days=HORIZON, source="tiny", currency="EUR", run_key="0",
        space="rank score", makers=MAKERS, candidates=SHELF,
        rankers={name: r.config for name, r in made.rankers.items()},
        scales={name: r.scales for name, r in made.rankers.items()},
        ranked_by=made.columns, items=len(made.shelf.attributes.products),
    )  # fmt: skip
    return with_golden(ListsBundle(said, made), 6, seed=3)

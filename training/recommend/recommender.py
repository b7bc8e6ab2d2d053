"""Both stages together: from histories to ordered candidates, and back to reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from training.contract import Floats
from training.recommend.highest import ranks
from training.recommend.histories import Histories, Ints
from training.recommend.makers.linear import Linear
from training.recommend.ranker import Ranker, Taught
from training.recommend.shelf import Shelf

if TYPE_CHECKING:
    from training.recommend.asof import AsOf

TOGETHER, CONTENT = "together", "content"
"""Names of the makers that know what goes into one basket, and what is described alike."""
ALL, DISCOVERY = "all", "discovery"
RANKERS = (ALL, DISCOVERY)
"""One ranker orders everything, one what a customer never bought: they are different tasks."""


@dataclass(frozen=True)
class Recommender:
    """Makers and rankers as of one moment; holds items, never customers."""

    shelf: Shelf
    rankers: dict[str, Ranker]
    said: tuple[str, str] = ("buy", "bought")
    """What customers do with items, present and past."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Columns of the rankers."""
        return self.shelf.columns

    @cached_property
    def places(self) -> dict[str, int]:
        """Product code -> place in the catalogue."""
        return {code: i for i, code in enumerate(self.shelf.attributes.products)}

    @cached_property
    def alike(self) -> sp.csr_matrix:
        """How much alike two items are: the larger of bought by the same and described alike."""
        return self._links("cosine").maximum(self.described)

    @cached_property
    def described(self) -> sp.csr_matrix:
        """How much alike two items are by what the source says of them."""
        return self._links(CONTENT)

    @cached_property
    def together(self) -> sp.csr_matrix:
        """What goes into one basket."""
        return self._links(TOGETHER)

    def _links(self, name: str) -> sp.csr_matrix:
        found, n = self.shelf.makers.get(name), len(self.shelf.attributes.products)
        return found.links if isinstance(found, Linear) else sp.csr_matrix((n, n))

    @cached_property
    def prices(self) -> Floats:
        """List price of each item where the source gives one, else what was usually paid."""
        listed, paid = self.shelf.attributes.prices, self.shelf.demand.price
        return np.where(np.isnan(listed), paid, listed) if len(listed) else paid

    def lists(self, past: Histories, k: int) -> dict[str, Ints]:
        """The best ``k`` items of each list, shape (n_customers, k), -1 = none left.

        ``all`` and ``repeat`` by the first ranker, ``discovery`` by the second.
        """
        parts = past.by_shard(self.shelf.shard, lambda some: self._lists(some, k))
        return {name: np.vstack([part[name] for part in parts]) for name in parts[0]}

    def _lists(self, past: Histories, k: int) -> dict[str, Ints]:
        found = self.shelf.candidates(past)
        new, score = ~found.bought, self.rankers[ALL].score(found.X)
        scored = {
            "all": (np.ones_like(new), score), "repeat": (found.bought, score[found.bought]),
            "discovery": (new, self.rankers[DISCOVERY].score(found.X[new])),
        }  # fmt: skip
        return {
            name: first(found.customer[kept], found.item[kept], scores, len(past), k)
            for name, (kept, scores) in scored.items()
        }


def first(customer: Ints, item: Ints, score: Floats, n_customers: int, k: int) -> Ints:
    """The ``k`` best of each customer's pairs, shape (n_customers, k); equal scores by item.

    Pairs ascend by customer and item.
    """
    place = ranks(score, np.searchsorted(customer, np.arange(n_customers + 1)))
    kept = place < k
    made = np.full((n_customers, k), -1, np.int64)
    made[customer[kept], place[kept]] = item[kept]
    return made


def teach(shelf: Shelf, seen: "AsOf") -> dict[str, Taught]:
    """Candidates of the customers of ``seen`` with what they bought, for each ranker."""
    size = shelf.shard
    parts = seen.past.by_shard(size, shelf.candidates)
    blocks: dict[str, list[tuple[np.ndarray, Floats, Ints]]] = {name: [] for name in RANKERS}
    for number, found in enumerate(parts):
        truth = seen.truth[number * size :]
        y = np.asarray(truth[found.customer, found.item]).ravel().astype(np.float64)
        for name, kept in ((ALL, slice(None)), (DISCOVERY, ~found.bought)):
            owner = found.customer[kept]
            sizes = np.bincount(owner, minlength=found.customers)
            blocks[name].append((found.X[kept], y[kept], sizes[sizes > 0]))
    return {name: Taught(*_joined(parts)) for name, parts in blocks.items()}


def _joined(
    parts: Sequence[tuple[np.ndarray, Floats, Ints]],
) -> tuple[np.ndarray, Floats, Ints]:
    X, y, sizes = (np.concatenate(side) for side in zip(*parts, strict=True))
    return X, y, sizes

"""Who bought what and when: the one form that makers, rankers and requests share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.contract import Floats

Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True)
class Histories:
    """Lines by customer: one for each item on each day, ascending by customer, age and item.

    A basket is what a customer bought on one day.
    """

    start: Ints
    """Lines of customer ``c`` are ``start[c]:start[c + 1]``; shape (n_customers + 1,)."""
    item: Ints
    """Place of each line's item in the catalogue, shape (n_lines,)."""
    age: Floats
    """Days from the line's day to the moment, 0 or more, shape (n_lines,)."""
    quantity: Floats
    amount: Floats
    """Money paid for the line, in the currency, shape (n_lines,)."""
    n_items: int

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]], n_customers: int, n_items: int) -> "Histories":
        """Histories from lines in any order.

        Columns are ``customer``, ``item``, ``age``, ``quantity`` and ``amount``. Lines of one
        customer, item and day become one.
        """
        customer, item = columns["customer"].astype(np.int64), columns["item"].astype(np.int64)
        age = columns["age"].astype(np.int64)
        span = int(age.max()) + 1 if len(age) else 1
        key = (customer * span + age) * n_items + item
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.zeros(0, int)
        total = {
            name: np.add.reduceat(columns[name].astype(np.float64)[order], first)
            if len(first) else np.zeros(0)
            for name in ("quantity", "amount")
        }  # fmt: skip
        kept = order[first]
        counts = np.bincount(customer[kept], minlength=n_customers)
        return cls(
            np.r_[0, np.cumsum(counts)].astype(np.int64), item[kept],
            age[kept].astype(np.float64), total["quantity"], total["amount"], n_items,
        )  # fmt: skip

    @classmethod
    def empty(cls, n_items: int) -> "Histories":
        """One customer of whom nothing is known."""
        nothing = np.zeros(0)
        return cls(np.zeros(2, np.int64), np.zeros(0, np.int64), nothing, nothing, nothing, n_items)

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def customer(self) -> Ints:
        """Place of each line's customer, shape (n_lines,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.start))

    @cached_property
    def basket(self) -> Ints:
        """Number of each line's basket; baskets of a customer are consecutive, newest first."""
        if not len(self.item):
            return np.zeros(0, np.int64)
        new = (np.diff(self.customer) != 0) | (np.diff(self.age) != 0)
        numbers: Ints = np.r_[0, np.cumsum(new)].astype(np.int64)
        return numbers

    @cached_property
    def pairs(self) -> tuple[Ints, Ints]:
        """Order of the lines by customer and item, and where in it each pair begins."""
        key = self.customer * self.n_items + self.item
        order = np.argsort(key, kind="stable")
        return order, np.flatnonzero(np.diff(key[order], prepend=-1))

    def matrix(self, weight: Floats | None = None) -> sp.csr_matrix:
        """Sums of ``weight`` (None = 1) by customer and item, shape (n_customers, n_items)."""
        values = np.ones(len(self.item)) if weight is None else weight
        parts, shape = (values, self.item, self.start), (len(self), self.n_items)
        made = sp.csr_matrix(parts, shape=shape, copy=True)
        made.sum_duplicates()
        return made

    def decayed(self, half_life_days: float) -> sp.csr_matrix:
        """Days with a purchase by customer and item, halved every ``half_life_days``.

        Several makers look at the same: it is made once, and not to be changed.
        """
        made: dict[float, sp.csr_matrix] = self.__dict__.setdefault("_decayed", {})
        if half_life_days not in made:
            made[half_life_days] = self.matrix(self.decay(half_life_days))
        return made[half_life_days]

    def decay(self, half_life_days: float) -> Floats:
        """Weight of each line: halved every ``half_life_days``."""
        weight: Floats = np.exp2(-self.age / half_life_days)
        return weight

    def take(self, customers: Sequence[int] | Ints) -> "Histories":
        """The histories of some customers, in their order."""
        chosen = np.asarray(customers, dtype=np.int64)
        size = np.diff(self.start)[chosen]
        start = np.r_[0, np.cumsum(size)].astype(np.int64)
        lines = np.repeat(self.start[chosen] - start[:-1], size) + np.arange(start[-1])
        return Histories(
            start, self.item[lines], self.age[lines], self.quantity[lines], self.amount[lines],
            self.n_items,
        )  # fmt: skip

    def shards(self, size: int) -> "Iterator[tuple[slice, Histories]]":
        """Consecutive groups of at most ``size`` customers, one at a time: what bounds memory."""
        for at in range(0, len(self), size):
            step = slice(at, min(at + size, len(self)))
            yield step, self.take(np.arange(step.start, step.stop))

    def by_shard(self, size: int, work: Callable[["Histories"], T]) -> list[T]:
        """What ``work`` makes of each shard, in order; several are worked on at once."""
        from features.engine import available_threads

        def done(at: int) -> T:
            return work(self.take(np.arange(at, min(at + size, len(self)))))

        with ThreadPoolExecutor(available_threads()) as pool:
            return list(pool.map(done, range(0, len(self), size)))

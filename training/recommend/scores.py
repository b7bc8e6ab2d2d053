"""What a maker says of every item, without more of it written down than is asked for.

A score of 0 says nothing. Sums over what a customer bought are worked out for one customer at a
time, who fits into the processor's cache as a shard of them would not.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.contract import Floats
from training.recommend.highest import push
from training.recommend.histories import Histories, Ints

Singles = NDArray[np.float32]
Array = NDArray[Any]


class Scores(Protocol):
    """Scores of shape (n_customers, n_items)."""

    def mark(self, offered: np.ndarray, owned: np.ndarray, k: int, chosen: np.ndarray) -> None:
        """Set the ``k`` highest offered scores of each customer, and of those not owned.

        What is equal to the last of them is set, too; a score of 0 never is.
        """
        ...

    def at(self, customer: Ints, item: Ints) -> Singles:
        """Scores of some pairs, ascending by customer."""
        ...


@dataclass(frozen=True)
class Written:
    """Scores that are written down; what all customers have in common may be one row for all."""

    table: Floats

    def mark(self, offered: np.ndarray, owned: np.ndarray, k: int, chosen: np.ndarray) -> None:
        """See :class:`Scores`."""
        among, rows = np.flatnonzero(offered).astype(np.uint32), self.table
        if len(rows) > 1 and not rows.strides[0]:
            # Of what all have in common only so much can be anybody's: nobody owns more.
            rows = rows[:1]
            most = k + int(owned.sum(axis=1).max(initial=0))
            if most < len(among):
                value = rows[0, among]
                among = among[value >= np.partition(value, -most)[-most]]
        _mark_written(np.ascontiguousarray(rows), among, offered, owned, k, chosen)

    def at(self, customer: Ints, item: Ints) -> Singles:
        """See :class:`Scores`."""
        return np.asarray(self.table[customer, item], np.float32)


@dataclass(frozen=True)
class Sums:
    """Scores that are sums, ``profile @ links``."""

    profile: sp.csr_matrix
    """Weights of what is known of each customer, shape (n_customers, n_known)."""
    links: sp.csr_matrix
    """What each of it adds, shape (n_known, n_items)."""

    @classmethod
    def own(cls, weights: sp.csr_matrix) -> "Sums":
        """Each item speaks for itself alone."""
        return cls(weights, _themselves(weights.shape[1]))

    def plus(self, common: Floats) -> "Sums":
        """With what is added for everybody, shape (n_items,)."""
        for_all = np.ones((self.profile.shape[0], 1))
        return Sums(
            sp.hstack([self.profile, for_all], format="csr"),
            sp.vstack([self.links, common[None, :]], format="csr"),
        )

    @property
    def _parts(self) -> tuple[Array, Array, Array, Array, Array, Array]:
        profile, links = self.profile, self.links
        return (
            profile.indptr, profile.indices, profile.data, links.indptr, links.indices, links.data,
        )  # fmt: skip

    def mark(self, offered: np.ndarray, owned: np.ndarray, k: int, chosen: np.ndarray) -> None:
        """See :class:`Scores`."""
        _mark_sums(*self._parts, offered, owned, k, chosen)

    def at(self, customer: Ints, item: Ints) -> Singles:
        """See :class:`Scores`."""
        pairs = np.searchsorted(customer, np.arange(self.profile.shape[0] + 1))
        made = np.empty(len(item), np.float32)
        _at(*self._parts, np.empty(self.links.shape[1]), pairs, item, made)
        return made

    def dense(self) -> Floats:
        """All of them."""
        made = np.zeros((self.profile.shape[0], self.links.shape[1]))
        _dense(*self._parts, made)
        return made


class Summed(ABC):
    """A maker whose scores are sums."""

    @abstractmethod
    def sums(self, past: Histories) -> Sums:
        """The scores of every item."""

    def score(self, past: Histories) -> Floats:
        """Scores of every item, shape (n_customers, n_items)."""
        return self.sums(past).dense()


@lru_cache(maxsize=4)
def _themselves(n_items: int) -> sp.csr_matrix:
    """Links from each item to itself; a request would spend most of its time to make them."""
    return sp.identity(n_items, format="csr")


@numba.njit(nogil=True)
def _add(
    known: Array, weight: Floats, link_start: Array, to: Array, link: Floats, sums: Floats
) -> None:
    """Add up what one customer's profile says of every item."""
    for a in range(len(known)):
        span, own = slice(link_start[known[a]], link_start[known[a] + 1]), weight[a]
        for item, one in zip(to[span], link[span]):  # noqa: B905
            sums[np.uint32(item)] += own * one


@numba.njit(nogil=True)
def _dense(
    start: Array, known: Array, weight: Floats, link_start: Array, to: Array, link: Floats,
    out: Floats,
) -> None:  # fmt: skip
    for row in range(out.shape[0]):
        own = slice(start[row], start[row + 1])
        _add(known[own], weight[own], link_start, to, link, out[row])


@numba.njit(nogil=True)
def _at(
    start: Array, known: Array, weight: Floats, link_start: Array, to: Array, link: Floats,
    sums: Floats, pairs: Ints, item: Ints, out: Singles,
) -> None:  # fmt: skip
    """Scores of pairs; those of customer ``r`` begin at ``pairs[r]``."""
    for row in range(len(pairs) - 1):
        own = slice(start[row], start[row + 1])
        sums[:] = 0.0
        _add(known[own], weight[own], link_start, to, link, sums)
        for pair in range(pairs[row], pairs[row + 1]):
            out[pair] = sums[item[pair]]


@numba.njit(nogil=True)
def _mark_sums(
    start: Array, known: Array, weight: Floats, link_start: Array, to: Array, link: Floats,
    offered: np.ndarray, owned: np.ndarray, k: int, chosen: np.ndarray,
) -> None:  # fmt: skip
    n_items = chosen.shape[1]
    best, new, sums, seen = np.empty(k), np.empty(k), np.zeros(n_items), np.zeros(n_items, np.bool_)
    met, kept = np.empty(n_items + 1, np.uint32), np.empty(n_items, np.uint32)
    for row in range(chosen.shape[0]):
        m = np.uint32(0)
        for a in range(start[row], start[row + 1]):
            span, own = slice(link_start[known[a]], link_start[known[a] + 1]), weight[a]
            for item, one in zip(to[span], link[span]):  # noqa: B905
                i = np.uint32(item)  # of a signed one it would be asked if it counts from the end
                met[m] = i  # written over if it was met before: a branch would cost more
                m += np.uint32(not seen[i])
                seen[i] = True
                sums[i] += own * one
        _mark(sums, met[:m], offered, owned[row], best, new, kept, chosen[row])
        for i in met[:m]:
            sums[i], seen[i] = 0.0, False


@numba.njit(nogil=True)
def _mark_written(
    scores: Floats, among: Array, offered: np.ndarray, owned: np.ndarray, k: int,
    chosen: np.ndarray,
) -> None:  # fmt: skip
    best, new, kept = np.empty(k), np.empty(k), np.empty_like(among)
    for row in range(chosen.shape[0]):
        own = scores[min(row, len(scores) - 1)]
        _mark(own, among, offered, owned[row], best, new, kept, chosen[row])


@numba.njit(nogil=True)
def _mark(
    score: Floats, among: Array, offered: np.ndarray, owned: np.ndarray,
    best: Floats, new: Floats, kept: Array, chosen: np.ndarray,
) -> None:  # fmt: skip
    """Set the items of one customer; ``best`` and ``new`` have room for the highest of each."""
    held = held_new = n = 0
    # What is owned is no less among the best, so that the second edge is the lower.
    edge = edge_new = -np.inf
    for i in among:
        value = score[i]
        if value < edge_new or value == 0 or not offered[i]:
            continue
        kept[n] = i
        n += 1
        if value > edge:
            held = push(best, held, value)
            if held == len(best):
                edge = best[0]
        if value > edge_new and not owned[i]:
            held_new = push(new, held_new, value)
            if held_new == len(new):
                edge_new = new[0]
    for i in kept[:n]:
        if score[i] >= edge_new:
            chosen[i] |= score[i] >= edge or not owned[i]

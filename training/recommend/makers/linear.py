"""Makers whose score is a sum over past purchases: ``score = profile @ links``.

What each past item adds is ``profile[h] * links[h, i]``: the exact Shapley value of the game in
which items of the history are present or not, since that game is additive.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.contract import Floats
from training.recommend.highest import push
from training.recommend.histories import Histories
from training.recommend.scores import Summed, Sums

Arrays = Mapping[str, NDArray[Any]]

BLOCK = 256
"""Items whose links are looked at together: bounds memory."""


class Linear(Summed):
    """What item-to-item makers share: a profile of the customer, and links between items."""

    config: Any

    def __init__(self, config: Any) -> None:
        self.config = config
        self.links = sp.csr_matrix((0, 0))

    def profile(self, past: Histories) -> sp.csr_matrix:
        """Weight of each past item, shape (n_customers, n_items): the root of decayed purchases."""
        return past.decayed(self.config.half_life_days).sqrt()

    def sums(self, past: Histories) -> Sums:
        """The scores of every item."""
        return Sums(self.profile(past), self.links)

    def weights(self, past: Histories) -> Floats:
        """The profile of the one customer of ``past``, shape (n_items,)."""
        return np.asarray(self.profile(past).toarray()).ravel()

    def parts(self, weights: Floats, item: int) -> dict[int, float]:
        """Past item -> what it adds to the score of ``item``."""
        columns = self._columns
        span = slice(columns.indptr[item], columns.indptr[item + 1])
        past = columns.indices[span]
        added = weights[past] * columns.data[span]
        kept = added != 0
        return dict(zip(past[kept].tolist(), added[kept].tolist(), strict=True))

    @cached_property
    def _columns(self) -> sp.csc_matrix:
        return self.links.tocsc()

    def save(self) -> dict[str, NDArray[Any]]:
        """The links as plain arrays."""
        return {
            "data": self.links.data.astype(np.float32),
            "indices": self.links.indices.astype(np.int32),
            "indptr": self.links.indptr.astype(np.int64),
        }

    def load(self, arrays: Arrays) -> None:
        """Restore what :meth:`save` gave."""
        n = len(arrays["indptr"]) - 1
        parts = (arrays["data"].astype(np.float64), arrays["indices"], arrays["indptr"])
        self.links = sp.csr_matrix(parts, shape=(n, n))


def linked(
    before: sp.csr_matrix, after: sp.csr_matrix, left: Floats, right: Floats, shrink: float,
    top: int,
) -> sp.csr_matrix:  # fmt: skip
    """Links between items that stand in the same rows, shape (n_items, n_items).

    From ``h`` to ``i`` it is ``before[:, h]' after[:, i] / (left[h] * right[i] + shrink)``.

    Parameters
    ----------
    before, after
        Shape (n_rows, n_items).
    left, right
        What a link's sum is divided by, shape (n_items,).
    top
        Of each item's incoming links so many are kept; see :func:`strongest`.

    Notes
    -----
    The whole product of a large catalogue, which would be dense, is never held: sums of one item
    are added up, and its strongest links kept.
    """
    rows, n = after.T.tocsr(), after.shape[1]
    parts = (rows.indptr, rows.indices, rows.data, before.indptr, before.indices, before.data)

    def block(at: int) -> _Kept:
        kept = _Kept(min(BLOCK, n - at), min(top, n))
        _link(*parts, left, right, float(shrink), at, kept.item, kept.link, kept.count)
        return kept

    return _joined(block, n)


def strongest(values: Callable[[int, int], Floats], n: int, top: int) -> sp.csr_matrix:
    """Links, shape (n, n): of each item's incoming ones the ``top`` strongest by size.

    ``values(first, end)`` are those that lead to items ``first`` to ``end``, shape (end - first,
    n). None leads from an item to itself; of equal ones the first come first. Kept in float32, so
    that a fitted maker and one that was read back answer alike.
    """

    def block(at: int) -> _Kept:
        kept = _Kept(min(BLOCK, n - at), min(top, n))
        rows = np.ascontiguousarray(values(at, at + len(kept.count)), np.float32)
        _strongest(rows, at, kept.item, kept.link, kept.count)
        return kept

    return _joined(block, n)


class _Kept:
    """Links to a block of items: origins and strengths, of each so many as ``count`` says."""

    def __init__(self, size: int, top: int) -> None:
        self.item = np.zeros((size, top), np.int32)
        self.link = np.zeros((size, top), np.float32)
        self.count = np.zeros(size, np.int64)


def _joined(block: Callable[[int], _Kept], n: int) -> sp.csr_matrix:
    """Links by origin from blocks of items, several worked on at once."""
    from features.engine import available_threads

    with ThreadPoolExecutor(available_threads()) as pool:
        parts = list(pool.map(block, range(0, n, BLOCK)))
    there = [np.arange(part.item.shape[1]) < part.count[:, None] for part in parts]
    count = np.concatenate([part.count for part in parts] or [np.zeros(0, np.int64)])
    item, link = (
        np.concatenate([getattr(p, name)[kept] for p, kept in zip(parts, there, strict=True)])
        for name in ("item", "link")
    )
    incoming = sp.csr_matrix((link, item, np.r_[0, np.cumsum(count)]), shape=(n, n))
    made = incoming.T.tocsr().astype(np.float64)
    made.sort_indices()
    return made


@numba.njit(nogil=True)
def _link(
    row_start: NDArray[Any], row: NDArray[Any], weight: Floats,
    start: NDArray[Any], item: NDArray[Any], value: Floats, left: Floats, right: Floats,
    shrink: float, first: int, origin: NDArray[Any], link: NDArray[Any], count: NDArray[Any],
) -> None:  # fmt: skip
    """Links to consecutive items from the ``first``: sums over common rows, then the strongest."""
    n = len(left)
    sums, one = np.zeros(n), np.zeros(n, np.float32)
    met, known = np.empty(n, np.int64), np.zeros(n, np.bool_)
    for i in range(len(count)):
        to, m = first + i, 0
        for a in range(row_start[to], row_start[to + 1]):
            for b in range(start[row[a]], start[row[a] + 1]):
                h = item[b]
                if not known[h]:
                    known[h], met[m] = True, h
                    m += 1
                sums[h] += weight[a] * value[b]
        for h in met[:m]:
            if sums[h] != 0:
                one[h] = sums[h] / (left[h] * right[to] + shrink)
        count[i] = _keep(one, met[:m], to, origin[i], link[i])
        for h in met[:m]:
            sums[h], one[h], known[h] = 0.0, 0.0, False


@numba.njit(nogil=True)
def _strongest(
    values: NDArray[Any], first: int, origin: NDArray[Any], link: NDArray[Any], count: NDArray[Any]
) -> None:
    """The strongest of each row of ``values``, which lead to consecutive items from ``first``."""
    everything = np.arange(values.shape[1])
    for r in range(len(values)):
        count[r] = _keep(values[r], everything, first + r, origin[r], link[r])


@numba.njit(nogil=True)
def _keep(
    value: NDArray[Any], met: NDArray[Any], to: int, origin: NDArray[Any], link: NDArray[Any]
) -> int:
    """Write down the strongest links to an item, and say how many.

    ``met`` are the origins that may have one; all others have a value of 0.
    """
    heap, held, edge = np.empty(len(origin)), 0, 0.0
    for h in met:
        size = np.float64(abs(value[h]))
        if size > edge and h != to:
            held = push(heap, held, size)
            if held == len(heap):
                edge = heap[0]
    at = level = 0
    for h in met:
        size = abs(value[h])
        if size > edge and h != to:
            origin[at], link[at] = h, value[h]
            at += 1
        level += size == edge and h != to
    if edge > 0 and at + level <= len(origin):
        candidates = met
    elif edge > 0:
        candidates = np.arange(len(value))  # more are equal to the last than there is room for
    else:
        return at
    for h in candidates:
        if at < len(origin) and abs(value[h]) == edge and h != to:
            origin[at], link[at] = h, value[h]
            at += 1
    return at

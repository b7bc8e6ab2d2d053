"""Makers whose score is a sum over past purchases: ``score = profile @ links``.

What each past item adds is ``profile[h] * links[h, i]``: the exact Shapley value of the game in
which items of the history are present or not, since that game is additive.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.contract import Floats
from training.recommend.highest import push
from training.recommend.histories import Histories

Arrays = Mapping[str, NDArray[Any]]

BLOCK = 256
"""Items whose links are looked at together: bounds memory."""


class Linear:
    """What item-to-item makers share: a profile of the customer, and links between items."""

    config: Any

    def __init__(self, config: Any) -> None:
        self.config = config
        self.links = sp.csr_matrix((0, 0))

    def profile(self, past: Histories) -> sp.csr_matrix:
        """Weight of each past item, shape (n_customers, n_items): the root of decayed purchases."""
        return past.decayed(self.config.half_life_days).sqrt()

    def score(self, past: Histories) -> Floats:
        """Scores of every item, shape (n_customers, n_items)."""
        profile, links = self.profile(past), self.links
        made = np.zeros((len(past), links.shape[1]))
        _product(
            *(profile.indptr, profile.indices, profile.data),
            *(links.indptr, links.indices, links.data, made),
        )
        return made

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


@numba.njit(nogil=True)
def _product(
    start: NDArray[Any], item: NDArray[Any], weight: Floats,
    link_start: NDArray[Any], to: NDArray[Any], link: Floats, out: Floats,
) -> None:  # fmt: skip
    """Add the product of two CSR matrices to ``out``, row by row of the first."""
    for row in range(out.shape[0]):
        for a in range(start[row], start[row + 1]):
            h = item[a]
            for b in range(link_start[h], link_start[h + 1]):
                out[row, to[b]] += weight[a] * link[b]


def linked(
    before: sp.csr_matrix, after: sp.csr_matrix, worth: Callable[..., Floats], top: int
) -> sp.csr_matrix:
    """Links between items that stand in the same rows, shape (n_items, n_items).

    Parameters
    ----------
    before, after
        Shape (n_rows, n_items): a link leads from an item of ``before`` to one of ``after``.
    worth
        Strengths from arrays of sums ``before[:, h]' after[:, i]``, of ``h`` and of ``i``.
    top
        Of each item's incoming links so many are kept; see :func:`strongest`.

    Notes
    -----
    The whole product of a large catalogue, which would be dense, is never held.
    """
    rows, n = after.T.tocsr(), after.shape[1]

    def blocks() -> Iterator[sp.csr_matrix]:
        for at in range(0, n, BLOCK):
            sums = rows[at : at + BLOCK] @ before
            to = np.repeat(np.arange(at, at + sums.shape[0]), np.diff(sums.indptr))
            sums.data = worth(sums.data, sums.indices, to)
            yield sums

    return strongest(blocks(), top)


def strongest(incoming: Iterable[sp.csr_matrix], top: int) -> sp.csr_matrix:
    """Links, shape (n_items, n_items): of each item's incoming ones the ``top`` strongest by size.

    ``incoming`` are blocks of consecutive rows, a row for each item that links lead to. None leads
    from an item to itself. What is as strong as the last of them stays, too: the choice depends on
    no order. Kept in float32, so that a fitted maker and one that was read back answer alike.
    """
    kept, at = [], 0
    for links in incoming:
        block = links.astype(np.float32)
        _clear_weak(block.indptr, block.indices, block.data, at, top)
        block.eliminate_zeros()
        kept.append(block)
        at += block.shape[0]
    made = sp.vstack(kept, format="csr").T.tocsr().astype(np.float64)
    made.sort_indices()
    return made


@numba.njit(nogil=True)
def _clear_weak(
    start: NDArray[Any], item: NDArray[Any], link: NDArray[Any], first: int, top: int
) -> None:
    """Set to 0 what leads to itself or is weaker than the ``top`` strongest of its row."""
    heap = np.empty(top)
    for row in range(len(start) - 1):
        held = 0
        for a in range(start[row], start[row + 1]):
            if item[a] == first + row:
                link[a] = 0
            elif held < top or abs(link[a]) > heap[0]:
                held = push(heap, held, abs(link[a]))
        if held == top:
            for a in range(start[row], start[row + 1]):
                if abs(link[a]) < heap[0]:
                    link[a] = 0

"""Makers whose score is a sum over past purchases: ``score = profile @ links``.

What each past item adds is ``profile[h] * links[h, i]``: the exact Shapley value of the game in
which items of the history are present or not, since that game is additive.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from training.contract import Floats
from training.recommend.histories import Histories

Arrays = Mapping[str, NDArray[Any]]

BLOCK = 512
"""Columns that are looked at together: bounds memory."""


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


def strongest(links: sp.spmatrix | NDArray[Any], top: int) -> sp.csr_matrix:
    """Of each item's incoming links (a column) the ``top`` strongest by size; none to itself.

    What is as strong as the last of them stays, too: the choice depends on no order. Kept in
    float32, so that a fitted maker and one that was read back answer alike.
    """
    columns: Any = links.tocsc() if sp.issparse(links) else links  # type: ignore[union-attr]
    n, blocks = columns.shape[0], []
    for at in range(0, n, BLOCK):
        block = columns[:, at : at + BLOCK]
        value = np.array(block.toarray() if sp.issparse(block) else block, dtype=np.float32)
        value[at + np.arange(value.shape[1]), np.arange(value.shape[1])] = 0
        if top < n:
            size = np.abs(value)
            value[size < np.partition(size, n - top, axis=0)[n - top]] = 0
        blocks.append(sp.csc_matrix(value))
    made = sp.hstack(blocks, format="csr").astype(np.float64)
    made.sort_indices()
    return made

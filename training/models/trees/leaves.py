"""Margins of many rows at once: splits strike out leaves instead of being followed.

A row that goes right at a split comes to no leaf below its left child. The first leaf that no split
strikes out is the row's own (Lucchese et al. 2015, "QuickScorer"): the splits above it strike out
all that lie left of it, any other only leaves below itself. So each split is asked of all rows one
after another, several in one instruction, whatever the split before has said.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from training.models.trees.nodes import Nodes, Singles

Bits = NDArray[np.uint64]

MOST = 64
"""Leaves of a tree that one word has bits for."""
MAGIC = np.uint64(0x03F79D71B4CB0A89)
"""De Bruijn's sequence: the highest six bits of its product with each power of 2 differ."""
REST = np.uint64(58)


@numba.njit(nogil=True, error_model="numpy")
def _strike(
    x: Singles, start: NDArray[Any], column: NDArray[Any], limit: Singles,
    missing_right: NDArray[Any], kept: Bits, table: Singles, left: Bits, out: Singles,
) -> None:  # fmt: skip
    """Add each tree's leaf to ``out``, in order, in float32: XGBoost's own sum."""
    all_ = ~np.uint64(0)
    for t in range(table.shape[0]):
        left[:] = all_
        for s in range(start[t], start[t + 1]):
            line, edge, some = x[column[s]], limit[s], kept[s]
            if missing_right[s]:
                for row in range(out.shape[0]):
                    left[row] &= all_ if line[row] < edge else some
            else:
                for row in range(out.shape[0]):
                    left[row] &= some if line[row] >= edge else all_
        for row in range(out.shape[0]):
            lowest = left[row] & (~left[row] + np.uint64(1))
            out[row] += table[t, (lowest * MAGIC) >> REST]


@dataclass(frozen=True)
class Leaves:
    """Splits by tree, and the value of each leaf by where its bit's product ends."""

    start: NDArray[np.uint32]
    """First split of each tree, and the end."""
    column: NDArray[np.uint32]
    limit: Singles
    missing_right: NDArray[np.bool_]
    kept: Bits
    """The leaves that a row may still come to where it went right."""
    table: Singles
    """Shape (n_trees, 64)."""

    @classmethod
    def of(cls, nodes: Nodes) -> "Leaves | None":
        """None where a tree has more leaves than a word has bits."""
        split, left = nodes.split, nodes.left
        levels = [np.flatnonzero(split & (nodes.level == n)) for n in range(nodes.level.max())]
        below = (~split).astype(np.uint64)
        for here in reversed(levels):
            below[here] = below[left[here]] + below[left[here] + 1]
        if below.max() > MOST:
            return None
        first = np.zeros_like(below)
        for here in levels:
            first[left[here]] = first[here]
            first[left[here] + 1] = first[here] + below[left[here]]
        bit, (leaf,), (at,) = np.uint64(1) << first, np.nonzero(~split), np.nonzero(split)
        table = np.zeros((nodes.tree[-1] + 1, MOST), np.float32)
        table[nodes.tree[leaf], (bit[leaf] * MAGIC) >> REST] = nodes.value[leaf]
        # A left child never has all 64: the right one has some.
        gone = ((np.uint64(1) << below[left[at]]) - np.uint64(1)) << first[at]
        return cls(
            start=np.searchsorted(nodes.tree[at], np.arange(len(table) + 1)).astype(np.uint32),
            column=nodes.input[at].astype(np.uint32), limit=nodes.limit[at],
            missing_right=nodes.missing_right[at] > 0, kept=~gone, table=table,
        )  # fmt: skip

    def add(self, x: Singles, out: Singles) -> None:
        """Add the margins of turned rows ``x`` to ``out`` of shape (n_rows,)."""
        left = np.empty(len(out), np.uint64)
        _strike(
            *(x, self.start, self.column, self.limit, self.missing_right, self.kept),
            *(self.table, left, out),
        )

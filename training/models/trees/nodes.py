"""The nodes of a booster's trees as arrays, checked before any compiled code follows an index."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.contract import Floats

Singles = NDArray[np.float32]
Ints = NDArray[np.int32]

ARRAYS = (
    "left_children", "right_children", "split_indices", "split_conditions", "default_left",
    "sum_hessian",
)  # fmt: skip
MAX_CODES = 1 << 16
Words = tuple[int, tuple[int, ...]]
"""A column and the codes of it that go right."""


class Unsupported(Exception):
    """Why a model, or its explanation, is left to XGBoost's own code."""


def ints(values: Any) -> Ints:
    """Compiled code knows one layout: int32 in C order."""
    return np.ascontiguousarray(values, dtype=np.int32)


def lines(*columns: Any) -> Ints:
    """A table of integers from its columns."""
    return ints(np.stack(columns, axis=1))


@dataclass(frozen=True)
class Nodes:
    """All nodes of all trees; a tree's in breadth-first order, so that siblings are neighbours."""

    tree: Ints
    level: Ints
    left: Ints
    """The left child; the right one follows it. A leaf is its own."""
    column: Ints
    """The feature that a split is about."""
    input: Ints
    """The row of turned data that it looks at: the feature's own, or one of ``words``."""
    words: list[Words]
    """Sets of codes; the i-th is looked at in row ``n_columns + i``: 1 = in the set, 0 = not."""
    limit: Singles
    """Smaller values go left; NaN in a leaf."""
    missing_right: Ints
    value: Singles
    """Of a leaf."""
    cover: Floats
    split: NDArray[np.bool_]
    """Whether a node has children."""

    @classmethod
    def of(cls, trees: list[dict[str, Any]], n_columns: int) -> "Nodes":
        """Checked and put in order; what pruning has left unreachable is dropped.

        Parameters
        ----------
        trees : list of dict
            ``learner.gradient_booster.model.trees`` of XGBoost's JSON.
        n_columns : int
            Number of features.

        Raises
        ------
        DataError
            If children, columns, limits, words or leaves cannot be those of a tree.
        """
        sizes = np.array([len(tree["left_children"]) for tree in trees])
        for tree, size in zip(trees, sizes, strict=True):
            if size == 0 or {len(tree[key]) for key in ARRAYS} != {size}:
                raise DataError("a tree's arrays are empty or differ in length; train again")
        begins = np.cumsum(sizes) - sizes
        owner = np.repeat(np.arange(len(sizes)), sizes)
        left, right, column, condition, default_left, cover = (
            np.concatenate([np.asarray(tree[key], np.float64) for tree in trees]) for key in ARRAYS
        )
        children = np.stack([left, right], axis=1)
        split = (children != -1).any(axis=1)
        within = (children >= 0) & (children < sizes[owner, None]) & (children % 1 == 0)
        if not within[split].all():
            raise DataError("a tree's children lie outside of it; train again")
        children = children.astype(np.int64) + begins[owner, None]
        levels, level = [begins], np.full(len(split), -1)
        while len(levels[-1]):
            here = levels[-1]
            if (level[here] >= 0).any() or len(np.unique(here)) < len(here):
                raise DataError("a tree comes to a node twice; train again")
            level[here] = len(levels) - 1
            levels.append(children[here[split[here]]].ravel())
        looked, words = column.copy(), dict[Words, int]()
        for tree, begin in zip(trees, begins.tolist(), strict=True):
            for node, codes in _by_words(tree).items():
                if not 0 <= column[begin + node] < n_columns:
                    raise DataError(f"a tree asks a column beyond the {n_columns}; train again")
                one = int(column[begin + node]), codes
                looked[begin + node] = n_columns + words.setdefault(one, len(words))
        condition = np.where(split & (looked >= n_columns), 0.5, condition)
        kept = np.concatenate(levels)
        kept = kept[np.argsort(owner[kept], kind="stable")]
        place = np.zeros(len(split), np.int64)
        place[kept] = np.arange(len(kept))
        split, column, looked = split[kept], column[kept], looked[kept]
        with np.errstate(over="ignore"):
            single, cover = condition[kept].astype(np.float32), cover[kept].astype(np.float32)
        if not ((column >= 0) & (column < n_columns) & (column % 1 == 0))[split].all():
            raise DataError(f"a tree asks a column beyond the {n_columns}; train again")
        if not np.isfinite(single).all():
            raise DataError("a limit or a leaf of a tree is not finite; train again")
        return cls(
            tree=ints(owner[kept]),
            level=ints(level[kept]),
            left=ints(np.where(split, place[children[kept, 0]], np.arange(len(kept)))),
            column=ints(np.where(split, column, 0)),
            input=ints(np.where(split, looked, 0)),
            words=list(words),
            limit=np.where(split, single, np.float32(np.nan)),
            missing_right=ints(split & (default_left[kept] == 0)),
            value=single,
            cover=cover.astype(np.float64),
            split=split,
        )


def _by_words(tree: dict[str, Any]) -> dict[int, tuple[int, ...]]:
    """Node that splits by category -> the codes that go right."""
    codes, found = tree.get("categories", []), {}
    parts = (tree.get(f"categories_{part}", []) for part in ("nodes", "segments", "sizes"))
    for node, begin, size in zip(*parts, strict=True):
        chosen = tuple(sorted(codes[begin : begin + size]))
        if not 0 <= node < len(tree["left_children"]) or len(chosen) != size or size < 1:
            raise DataError("a tree's categories lie outside of it; train again")
        if chosen[0] < 0 or chosen[-1] >= MAX_CODES:
            raise DataError("a tree's category is no code; train again")
        found[int(node)] = chosen
    asked = np.flatnonzero(tree.get("split_type", []))
    if sorted(found) != asked.tolist():
        raise DataError("a tree's categories are not those of its splits; train again")
    return found

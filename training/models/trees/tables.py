"""Tables of contributions for groups of leaves; the formula is that of the package.

The plan of groups is made once for each model, by numpy for all trees together: a service is ready
sooner than if this code, too, had to be compiled.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from training.contract import Floats
from training.models.trees.nodes import Ints, Nodes, Singles, Unsupported, ints, lines

Array = NDArray[Any]

MAX_BYTES = 256 << 20
MAX_FEATURES = 12
"""Distinct features on one path."""
SHARED_BITS = 7
"""Leaves share a table while its pattern has no more bits: 128 lines stay in the first cache."""
AT_ONCE = 1 << 12
"""Patterns times groups that are filled together; more fall out of the second cache."""
TURN = 16
"""Trees after which whoever waits for the core has its turn: with one row 20 microseconds."""

_sched_yield = numba.types.ExternalFunction("sched_yield", numba.types.int32())
"""That of POSIX, called without the interpreter."""


@numba.njit(nogil=True, error_model="numpy")
def _add(
    x: Singles, trees: Ints, steps: Ints, limits: Singles, groups: Ints, columns: Ints,
    table: Array, off: Ints, out: Floats,
) -> None:  # fmt: skip
    """Add the contributions of all trees to ``out``, always in the order of trees and groups.

    A service explains beside the thread that predicts. Where both have one core, Linux would leave
    it to the explanation until its clock ticks again, for up to 4 ms.
    """
    n_rows = x.shape[1]
    for t in range(trees.shape[0] - 1):
        if t % TURN == 0:
            _sched_yield()
        for s in range(trees[t, 0], trees[t + 1, 0]):
            above, place, f, missing = steps[s, 0], steps[s, 1], steps[s, 2], steps[s, 3]
            side, bit, limit = steps[s, 4], steps[s, 5], limits[s]
            for row in range(n_rows):
                v = x[f, row]
                right = (v >= limit) | ((v != v) & missing)
                off[place, row] = off[above, row] | ((right ^ side) << bit)
        for g in range(trees[t, 1], trees[t + 1, 1]):
            place, width, start, entry = groups[g, 0], groups[g, 1], groups[g, 2], groups[g, 3]
            for j in range(width):
                f = columns[start + j]
                for row in range(n_rows):
                    # Unsigned: an index that may be negative counts from the end, at a cost.
                    out[f, row] += table[np.uint32(entry + off[place, row] * width + j)]


class Paths(NamedTuple):
    """Ways down the trees, one a row; a column of an array is a feature that the way has asked."""

    node: Array
    """Where it has come to."""
    owner: Array
    """The place, below it the group, that it belongs to."""
    feature: Array
    """-1 where there is none."""
    share: Array
    """Share of cover that goes this way."""
    care: Array
    """Bits of the pattern that say whether a row does."""
    want: Array
    """What they are if it does."""

    def only(self, chosen: Array) -> "Paths":
        """Some of the rows."""
        return Paths(*(part[chosen] for part in self))

    @classmethod
    def joined(cls, parts: "list[Paths]") -> "Paths":
        """The rows of all parts."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def down(self, nodes: Nodes, bit: Array | None) -> tuple["Paths", Array]:
        """Both children of each node, left before right, and the columns of the features asked.

        On the path (``bit`` is None) a feature has one bit, 0 for rows that follow all its splits;
        below it each split has its own, 1 for rows that go right.
        """
        asked = nodes.column[self.node]
        same = self.feature == asked[:, None]
        free = (self.feature >= 0).sum(axis=1) if bit is None else bit
        slot = np.repeat(np.where(same.any(axis=1), same.argmax(axis=1), free), 2)
        both = Paths(*(np.repeat(part, 2, axis=0) for part in self))
        side = np.arange(len(slot)) % 2
        child = nodes.left[both.node] + side
        cell = np.arange(len(slot)), slot
        both.feature[cell] = np.repeat(asked, 2)
        both.share[cell] *= nodes.cover[child] / nodes.cover[both.node]
        both.care[cell] |= 1 << (slot if bit is None else np.repeat(bit, 2))
        if bit is not None:
            both.want[cell] |= side << np.repeat(bit, 2)
        return both._replace(node=child), slot


@dataclass(frozen=True)
class Tables:
    """Contributions of each group of leaves for each pattern, and how a row finds its patterns."""

    trees: Ints
    """First step and group of each tree, and the ends."""
    steps: Ints
    """A bit of a pattern: place before, place after, column, missing right, side not taken, bit."""
    limits: Singles
    """Of the steps."""
    groups: Ints
    """Place with the pattern, bits, first of them in ``columns``, first entry in ``table``."""
    columns: Ints
    """What each bit is about."""
    table: Array
    """By group, pattern and bit."""
    places: int
    """Most places of a tree; the first one is the root, whose pattern is empty."""
    mean: float
    """Cover-weighted mean of the leaves, summed over the trees."""

    @classmethod
    def of(cls, nodes: Nodes, dtype: type = np.float32) -> "Tables":
        """Plan the groups and fill their tables.

        Raises
        ------
        Unsupported
            If paths or tables are too long, or a split has no cover.
        """
        split, cover = nodes.split, nodes.cover
        if not ((cover >= 0) & (cover < np.inf)).all() or not cover[split].all():
            raise Unsupported("a split has no cover")
        below = split.astype(np.int64)
        for level in range(int(nodes.level.max()) - 1, -1, -1):
            here = np.flatnonzero(split & (nodes.level == level))
            below[here] += below[nodes.left[here]] + below[nodes.left[here] + 1]

        # From the roots down to the groups, a level of all trees at a time. ``home`` is the tree of
        # each place, ``steps`` are (place before, place after, split, side not taken, bit).
        roots = np.flatnonzero(nodes.level == 0)
        home = nodes.tree[roots].astype(np.int64)
        none = np.zeros((len(roots), MAX_FEATURES + 1), np.int16)
        paths = Paths(roots, home, ints(none - 1), none + 1.0, none, none)
        arrived, steps = [], []
        while len(paths.node):
            length = (paths.feature >= 0).sum(axis=1)
            stop = (below[paths.node] <= 1) | (length + below[paths.node] <= SHARED_BITS)
            if (length[~stop] >= MAX_FEATURES).any():
                raise Unsupported(f"a path asks more than {MAX_FEATURES} features")
            arrived.append(paths.only(stop))
            asked = np.repeat(paths.node[~stop], 2)
            paths, slot = paths.only(~stop).down(nodes, None)
            n = np.arange(len(slot))
            steps.append(lines(paths.owner, len(home) + n, asked, n % 2, slot))
            paths = paths._replace(owner=len(home) + n)
            home = np.append(home, nodes.tree[asked])

        # From the groups down to the leaves; the pattern of a group with splits has its own place.
        paths = Paths.joined(arrived)
        paths = paths.only(np.argsort(nodes.tree[paths.node], kind="stable"))
        tree, column = nodes.tree[paths.node], paths.feature.copy()
        depth = (column >= 0).sum(axis=1)
        bits = depth + below[paths.node]
        size = bits << bits
        if size.sum() * np.dtype(dtype).itemsize > MAX_BYTES:
            raise Unsupported(f"its tables need more than {MAX_BYTES >> 20} MB")
        own = len(home) + np.arange(len(tree))
        place = np.where(bits > depth, own, paths.owner)
        home = np.append(home, tree)
        before, free, found = paths.owner, depth.copy(), []
        paths = paths._replace(owner=np.arange(len(tree)))
        while len(paths.node):
            found.append(paths.only(~split[paths.node]))
            paths = paths.only(split[paths.node])
            group = paths.owner
            bit = free[group] + np.arange(len(group)) - np.searchsorted(group, group)
            free += np.bincount(group, minlength=len(tree))
            column[group, bit] = nodes.column[paths.node]
            come = np.where(bit == depth[group], before[group], own[group])
            steps.append(lines(come, own[group], paths.node, 0 * bit, bit))
            paths, _ = paths.down(nodes, bit)
        leaves = Paths.joined(found)
        leaves = leaves.only(np.argsort(leaves.owner, kind="stable"))

        value = nodes.value[leaves.node].astype(np.float64)
        by_size = np.argsort(size, kind="stable")
        entry = np.empty_like(size)
        entry[by_size] = np.cumsum(size[by_size]) - size[by_size]
        table = np.zeros(size.sum(), dtype)
        for n_bits in np.unique(bits[bits > 0]):
            _fill(table, entry, np.flatnonzero(bits == n_bits), int(n_bits), leaves, value)
        step = np.concatenate(steps)
        step = step[np.argsort(nodes.tree[step[:, 2]], kind="stable")]
        before, after, asked, side, bit = step.T
        local, every = _ranks(home), np.arange(len(roots) + 1)
        return cls(
            trees=lines(np.searchsorted(nodes.tree[asked], every), np.searchsorted(tree, every)),
            steps=lines(
                *(local[before], local[after], nodes.input[asked]),
                *(nodes.missing_right[asked], side, bit),
            ),
            limits=nodes.limit[asked],
            groups=lines(local[place], bits, np.cumsum(bits) - bits, entry),
            columns=ints(column[np.arange(column.shape[1]) < bits[:, None]]),
            table=table,
            places=int(local.max()) + 1,
            mean=float((value * leaves.share.prod(axis=1)).sum()),
        )

    def add(self, x: Singles, out: Floats) -> None:
        """Add the contributions of turned rows ``x`` to ``out`` of shape (n_columns, n_rows)."""
        off = np.empty((self.places, x.shape[1]), np.int32)
        off[0] = 0
        plan = self.trees, self.steps, self.limits, self.groups, self.columns, self.table
        _add(x, *plan, off, out)


def _ranks(home: Array) -> Array:
    """For each element, how many equal ones stand before it."""
    order = np.argsort(home, kind="stable")
    ranks = np.empty(len(home), np.int64)
    ranks[order] = np.arange(len(home)) - np.searchsorted(home[order], home[order])
    return ranks


def _fill(table: Array, entry: Array, groups: Array, n: int, leaves: Paths, value: Floats) -> None:
    """Write the tables of ``groups``, all of ``n`` bits: the integral for each leaf and pattern."""
    among = np.flatnonzero(np.isin(leaves.owner, groups))
    pattern, asked = np.arange(1 << n, dtype=np.int16), leaves.care[among, :n] > 0
    points, weights = np.polynomial.legendre.leggauss((int(asked.sum(axis=1).max()) + 1) // 2)
    t, weights = (points[:, None] + 1) / 2, weights / 2
    at_once = max(1, AT_ONCE >> n)
    for some in np.split(groups, np.arange(at_once, len(groups), at_once)):
        begin, end = np.searchsorted(leaves.owner[among], [some[0], some[-1] + 1])
        mine = among[begin:end]
        share = leaves.share[mine, None, :n]
        follows = (pattern & leaves.care[mine, :n, None]) == leaves.want[mine, :n, None]
        # The factors t o + (1 - t) r, by leaf, point and bit, and from them the product over bits.
        no = (1 - t) * share
        yes = t + no
        product = np.repeat((value[mine, None] * weights)[:, :, None], 1 << n, axis=2)
        for j in range(n):
            product *= np.where(follows[:, None, j], yes[:, :, j, None], no[:, :, j, None])
        # (o - r) / factor is -1 / (1 - t) for o = 0, whatever r is.
        if_yes = ((1 - share) / yes).transpose(0, 2, 1) @ product
        if_no = (-1 / (1 - t)).T @ product
        phi = np.where(follows, if_yes, if_no)
        whole = np.add.reduceat(phi, np.searchsorted(leaves.owner[mine], some), axis=0)
        cells = entry[some, None] + np.arange(n << n)
        table[cells] = whole.transpose(0, 2, 1).reshape(len(some), -1)

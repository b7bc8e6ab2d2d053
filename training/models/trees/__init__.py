"""Compiled trees: XGBoost's margins bit for bit, and exact TreeSHAP at about a prediction's cost.

Along the path to a leaf each feature says "follows" or "does not"; one that is asked repeatedly
says it once, for the interval that all its splits leave. In the path-dependent game (Lundberg et
al. 2018, "Consistent individualized feature attribution for tree ensembles", algorithm 2) a leaf of
value v is worth ``v * prod_{j in S} o_j * prod_{j not in S} r_j`` to a set S of known features: o_j
is 1 if the row follows feature j, r_j is the share of cover that does. Its Shapley values depend on
the row through the o_j alone, so they are tabulated for every pattern of them when the model is
read. As ``k! (d-1-k)! / d! = int_0^1 t^k (1-t)^(d-1-k) dt``, they are

    phi_i = v * int_0^1 (o_i - r_i) * prod_{j != i} (t o_j + (1-t) r_j) dt,

a polynomial of degree d - 1, which ceil(d / 2) Gauss-Legendre points integrate exactly.

Leaves that lie close together share a table; they are a *group*. Its pattern has a bit for each
feature on the path to their common node and one for each split below. A group is one look-up.
"""

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import orjson
from numpy.typing import NDArray

from features.errors import DataError
from training.contract import Floats
from training.models.trees.leaves import Leaves
from training.models.trees.nodes import Ints, Nodes, Singles, Unsupported, Words, ints
from training.models.trees.tables import Tables

if TYPE_CHECKING:
    import xgboost

__all__ = ["Trees", "Unsupported"]

ROWS = 256
"""Rows that pass through the trees together."""
FEW = 128
"""Fewer rows are walked: that is quicker for one, and needs no more to be compiled."""

Places = NDArray[np.uint32]


@numba.njit(nogil=True, error_model="numpy")
def _walk(
    x: Singles, column: Places, limit: Singles, missing_right: Places, left: Places,
    value: Singles, roots: Places, depths: Places, node: Places, out: Singles,
) -> None:  # fmt: skip
    """Add each tree's leaf to ``out``, in order, in float32: XGBoost's own sum.

    Places are unsigned: of a signed one each step would ask whether it counts from the end.
    """
    for t in range(roots.shape[0]):
        for row in range(out.shape[0]):
            node[row] = roots[t]
        # A leaf is its own left child and has no limit, so that all rows take equally many steps.
        for _ in range(depths[t]):
            for row in range(out.shape[0]):
                u = node[row]
                v = x[column[u], np.uint32(row)]
                node[row] = left[u] + np.uint32((v >= limit[u]) | ((v != v) & missing_right[u]))
        for row in range(out.shape[0]):
            out[row] += value[node[row]]


class Trees:
    """A booster's margins and explanations by compiled code, the same bits for any batch of rows.

    Raises
    ------
    Unsupported
        If it is no plain sum of trees, or its margins are not found again to the bit.
    DataError
        If it is damaged.
    """

    def __init__(self, booster: "xgboost.Booster") -> None:
        learner = orjson.loads(bytes(booster.save_raw("json")))
        self.n_columns = int(learner["learner"]["learner_model_param"]["num_feature"])
        nodes = self.nodes = Nodes.of(_plain(learner["learner"]), self.n_columns)
        self.base = _base_margin(learner)
        self._words = _look_ups(nodes.words)
        roots = np.flatnonzero(nodes.level == 0)
        deepest = np.maximum.reduceat(nodes.level, roots)
        self._walked = (
            *(_places(nodes.input), nodes.limit, _places(nodes.missing_right)),
            *(_places(nodes.left), nodes.value, _places(roots), _places(deepest)),
        )
        rows = self._probes()
        expected = booster.inplace_predict(rows, predict_type="margin")
        if not np.array_equal(self.score(rows), expected):
            raise Unsupported("its margins are not XGBoost's")

    @cached_property
    def tables(self) -> Tables | str:
        """What explanations look up, or why there is no such thing."""
        try:
            return Tables.of(self.nodes)
        except Unsupported as reason:
            return str(reason)

    @cached_property
    def leaves(self) -> Leaves | None:
        """What many rows together look up, where trees are small enough for it."""
        return Leaves.of(self.nodes)

    def score(self, X: Floats) -> Singles:
        """Margins of shape (n_rows,), equal to ``inplace_predict(X, predict_type="margin")``."""
        margins = np.full(len(X), self.base)
        node = np.empty(ROWS, np.uint32)
        for at in range(0, len(X), ROWS):
            x, out = self._turned(X[at : at + ROWS]), margins[at : at + ROWS]
            if len(out) >= FEW and self.leaves:
                self.leaves.add(x, out)
            else:
                _walk(x, *self._walked, node, out)
        return margins

    def explain(self, X: Floats) -> tuple[float, Floats]:
        """Base and contributions of shape (n_rows, n_columns), as in ``pred_contribs``.

        Sums in float64 of entries in float32. They miss the margin, which XGBoost sums in float32,
        by less than 1e-5, or that share of it.

        Raises
        ------
        Unsupported
            If there are no :attr:`tables`.
        """
        tables = self.tables
        if isinstance(tables, str):
            raise Unsupported(tables)
        contributions = np.empty((len(X), self.n_columns))
        for at in range(0, len(X), ROWS):
            x = self._turned(X[at : at + ROWS])
            out = np.zeros((self.n_columns, x.shape[1]))
            tables.add(x, out)
            contributions[at : at + ROWS] = out.T
        return tables.mean + float(self.base), contributions

    def _turned(self, X: Floats) -> Singles:
        """A copy by columns in float32; what is too large becomes infinite, as in XGBoost.

        Below the columns one row for each set of codes: whether the column's code is in it. So a
        split by category is one by number, at one half.
        """
        if X.ndim != 2 or X.shape[1] != self.n_columns:
            raise DataError(f"rows of shape {X.shape} for a model of {self.n_columns} columns")
        if not self._words:
            with np.errstate(over="ignore"):
                return np.array(X.T, dtype=np.float32, order="C")
        x = np.empty((self.n_columns + len(self.nodes.words), len(X)), np.float32)
        with np.errstate(over="ignore"):
            x[: self.n_columns] = X.T
        for column, rows, table in self._words:
            code, none = x[column], table.shape[1] - 2
            known = (code >= 0) & (code < none)  # others are in no set
            place = np.where(known, code, np.where(np.isnan(code), none + 1, none))
            x[self.n_columns + rows] = table[:, place.astype(np.intp)]
        return x

    def _probes(self) -> Floats:
        """Rows on the limits of the trees and just below, some values missing."""
        rng = np.random.default_rng(0)
        rows = rng.normal(size=(64, self.n_columns))
        for owner, _, table in self._words:
            rows[:, owner] = rng.integers(0, table.shape[1] - 1, size=64)
        by_number = self.nodes.split & (self.nodes.input < self.n_columns)
        column, limit = (part[by_number] for part in self._walked[:2])
        if len(column):
            some = rng.integers(0, len(column), size=(64, 4 * self.n_columns))
            near = np.where(some % 2, limit[some], np.nextafter(limit[some], np.float32(-np.inf)))
            np.put_along_axis(rows, column[some].astype(np.int64), near, axis=1)
        rows[rng.random(rows.shape) < 0.1] = np.nan
        return rows


def _places(values: Any) -> Places:
    return np.ascontiguousarray(values, dtype=np.uint32)


def _plain(learner: Any) -> list[dict[str, Any]]:
    """The trees of a learner that is a plain sum of trees."""
    booster, sizes = learner["gradient_booster"], learner["learner_model_param"]
    if booster["name"] != "gbtree":
        raise Unsupported(f"its booster is {booster['name']}")
    model = booster["model"]
    if max(int(sizes["num_class"]), int(sizes["num_target"])) > 1 or any(model["tree_info"]):
        raise Unsupported("it has several outputs")
    if not model["trees"]:
        raise Unsupported("it has no trees")
    trees: list[dict[str, Any]] = model["trees"]
    return trees


def _look_ups(words: list[Words]) -> list[tuple[int, Ints, Singles]]:
    """For each column with sets: their rows, and (n_sets, n_codes + 2) of 1 = in the set.

    The last two entries are for codes that no set knows, and for missing values.
    """
    found = []
    for column in sorted({owner for owner, _ in words}):
        rows = [i for i, (owner, _) in enumerate(words) if owner == column]
        size = 1 + max(words[i][1][-1] for i in rows)
        table = np.zeros((len(rows), size + 2), np.float32)
        table[:, -1] = np.nan
        for line, i in zip(table, rows, strict=True):
            line[list(words[i][1])] = 1.0
        found.append((column, ints(rows), table))
    return found


def _base_margin(learner: Any) -> np.float32:
    """What XGBoost begins its sums with: the margin of the same learner with one leaf of 0.

    It is XGBoost's to compute: from ``base_score`` by numpy's logarithm it was found one bit off.
    """
    import xgboost

    model = learner["learner"]["gradient_booster"]["model"]
    first = model["trees"][0]
    leaf = {key: part[:1] if isinstance(part, list) else part for key, part in first.items()}
    leaf |= {"left_children": [-1], "right_children": [-1], "split_conditions": [0.0]}
    leaf |= {key: [] for key in leaf if key.startswith("categories")} | {"split_type": [0]}
    leaf["tree_param"] = first["tree_param"] | {"num_nodes": "1", "num_deleted": "0"}
    model |= {"trees": [leaf], "tree_info": [0], "iteration_indptr": [0, 1]}
    model["gbtree_model_param"] = {"num_parallel_tree": "1", "num_trees": "1"}
    alone = xgboost.Booster(model_file=bytearray(orjson.dumps(learner)))
    row = np.zeros((1, int(learner["learner"]["learner_model_param"]["num_feature"])))
    return np.float32(alone.inplace_predict(row, predict_type="margin")[0])

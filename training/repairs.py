"""Declared repairs of what a model learns from: values that are missing, or far out.

``repairs:`` beside ``use:`` and ``config:`` of a model names columns and what is done. Fills and
bounds are learned with the model, from the rows that teach it and no others, so they cannot know
who is judged; they are kept among the model's files, so every way of asking repairs alike.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import model_validator

from features.errors import DataError
from features.outliers import Outliers
from features.schema import FeatureColumn
from features.settings import Strict
from training.arrays import packed, unpacked
from training.contract import Explanation, Floats, Model, category_columns, matrix
from training.details import Detail

if TYPE_CHECKING:
    from training.model_part import ModelPart

FILE = "repairs.npz"
TABLE = "repairs.csv"
COLUMN, NOTHING = "repaired", "nothing"
IMPUTED = "imputed"


class FarOut(Outliers):
    """Which values are outliers, and what becomes of them."""

    then: Literal["flag", "cap"] = "flag"
    """``flag``: the model is told; ``cap``: besides, the nearest value that is none is taken."""


class Repair(Strict):
    """What is done to a column, outliers first. Each repaired value is marked for the model."""

    outliers: FarOut | None = None
    impute: Literal["mean", "median", "mode", "model"] | None = None
    """What a missing value becomes; ``model``: what a Bayesian ridge regression on the other
    columns expects, never beyond the values that were seen. Words have a mode alone."""

    @model_validator(mode="after")
    def _does_something(self) -> "Repair":
        if self.outliers is None and self.impute is None:
            raise ValueError("give outliers, impute or both")
        return self

    @property
    def marks(self) -> list[str]:
        """Words for what may have happened to a value, in order."""
        far = {"flag": "flagged", "cap": "capped"}[self.outliers.then] if self.outliers else ""
        return [word for word in (far, IMPUTED if self.impute else "") if word]


def misfits(part: "ModelPart", columns: Sequence[FeatureColumn]) -> list[str]:
    """What of the repairs of ``part`` does not fit the feature columns."""
    known, problems = {column.name: column for column in columns}, []
    for name, repair in part.repairs.items():
        where = f"{part.use}: repairs.{name}"
        if name not in known:
            problems.append(f"{where}: no feature set of the pipeline has this column")
        elif known[name].sensitivity == "audit":
            problems.append(f"{where}: an audit column, no model learns from it")
        elif known[name].dtype == "string" and repair.outliers is not None:
            problems.append(f"{where}: outliers need a number, the column holds words")
        elif known[name].dtype == "string" and repair.impute != "mode":
            problems.append(f"{where}: impute {repair.impute} needs a number; take mode for words")
    return problems


class Repaired:
    """A model behind repairs. It is asked for rows as they come, and sees them repaired.

    Beside the columns the model sees a mark for each kind of repair, 1 where a value was repaired:
    what a missing or an outlying value says is not lost. What a mark contributes counts for its
    column, so explanations stay in the original columns, and of the values that came.
    """

    def __init__(self, model: Model, declared: Mapping[str, Repair]) -> None:
        self.model, self.declared = model, dict(declared)
        self.config, self.answers, self.space = model.config, model.answers, model.space
        self.columns: tuple[str, ...] = ()
        self._arrays: dict[str, Floats] = {}

    @property
    def marks(self) -> list[tuple[str, str]]:
        """Column and word of each mark, in order."""
        return [(name, word) for name, repair in self.declared.items() for word in repair.marks]

    @property
    def _places(self) -> NDArray[np.int64]:
        """Where the repaired columns are, shape (n_repaired,)."""
        return np.array([self.columns.index(name) for name in self.declared])

    def fit(
        self, X: pd.DataFrame, y: Floats, *, weight: Floats | None = None, seed: int = 0
    ) -> None:
        """Bounds and fills of the columns, then the model on rows repaired by them."""
        self.columns = tuple(X.columns)
        values, words = matrix(X, self.columns), category_columns(X)
        self._arrays = _learned(values, self.columns, words, self.declared)
        names = [*self.columns, *(f"{name}__{word}" for name, word in self.marks)]
        seen = pd.DataFrame(self.repaired(values), columns=names, index=X.index)
        for name in words:
            codes = seen[name].fillna(-1).astype(int)
            seen[name] = pd.Categorical.from_codes(codes, dtype=X[name].dtype)
        self.model.fit(seen, y, weight=weight, seed=seed)

    def repaired(self, X: Floats) -> Floats:
        """The rows as the model sees them, shape (n_rows, n_features + n_marks)."""
        told = self._arrays
        filled, found = X.copy(), self._capped(X)
        filled[:, self._places] = found
        plain = np.where(np.isnan(filled), told["usual"], filled)
        expected = [
            # A sum row by row: a product of matrices would depend on how many are asked at once.
            np.clip(base + (plain * weights).sum(axis=1), least, most)
            if weights.any() else np.full(len(X), base)
            for base, weights, least, most in zip(
                told["intercept"], told["weights"], told["least"], told["most"], strict=True
            )
        ]  # fmt: skip
        missing = np.isnan(found) & told["impute"].astype(bool)
        filled[:, self._places] = np.where(missing, np.stack(expected, axis=1), found)
        return np.hstack([filled, self.marked(X)])

    def _capped(self, X: Floats) -> Floats:
        told, found = self._arrays, X[:, self._places]
        return np.where(told["cap"] > 0, np.clip(found, told["low"], told["high"]), found)

    def marked(self, X: Floats) -> NDArray[np.bool_]:
        """Which values are repaired, shape (n_rows, n_marks)."""
        told, found = self._arrays, X[:, self._places]
        far = (found < told["low"]) | (found > told["high"])
        which = zip(self.declared.values(), far.T, np.isnan(found).T, strict=True)
        return np.stack(
            [missing if word == IMPUTED else out
             for repair, out, missing in which for word in repair.marks],
            axis=1,
        )  # fmt: skip

    def words(self, X: Floats) -> NDArray[np.str_]:
        """What was repaired of each row, such as ``cadence__gap_mean_days imputed``."""
        said = [f"{name} {word}" for name, word in self.marks]
        return np.array([
            "; ".join(text for text, on in zip(said, row, strict=True) if on) or NOTHING
            for row in self.marked(X).tolist()
        ])  # fmt: skip

    def column(self) -> Detail:
        """The column that says it."""
        meaning = "values of the row that were imputed, capped or flagged before it was answered"
        return Detail(name=COLUMN, unit="columns", dtype="string", meaning=meaning)

    def counted(self, rows: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
        """One line per mark: what was learned, and how many values of each of ``rows`` it met."""
        marked = {name: self.marked(matrix(X, self.columns)) for name, X in rows.items()}
        lines = []
        for k, (name, word) in enumerate(self.marks):
            line: dict[str, object] = {
                "column": name,
                "repair": word,
                "learned": self._told(name, word, rows),
            }
            for group, found in marked.items():
                line |= {f"{group}_rows": len(found), f"{group}_{COLUMN}": int(found[:, k].sum())}
            lines.append(line)
        return pd.DataFrame(lines)

    def _told(self, name: str, word: str, rows: Mapping[str, pd.DataFrame]) -> str:
        """Fill or bounds in words."""
        at, repair = list(self.declared).index(name), self.declared[name]
        if word != IMPUTED:
            assert repair.outliers is not None, "or nothing is far out"
            low, high = self._arrays["low"][at], self._arrays["high"][at]
            return f"outside [{low:.6g}, {high:.6g}] by {repair.outliers.by}"
        if repair.impute == "model":
            used = int(np.count_nonzero(self._arrays["weights"][at]))
            return f"regression on {used} columns"
        fill = self._arrays["intercept"][at]
        column = next(iter(rows.values()))[name]
        said = column.cat.categories[int(fill)] if column.dtype == "category" else f"{fill:.6g}"
        return f"{repair.impute} {said}"

    def score(self, X: Floats) -> Floats:
        """Scores of the repaired rows, shape (n_rows,)."""
        return self.model.score(self.repaired(X))

    def staged(self, X: Floats) -> Iterator[tuple[int, Floats]]:
        """Rounds and scores of a model that boosts."""
        boosted: Any = self.model
        yield from boosted.staged(self.repaired(X))

    @property
    def unsupported(self) -> str:
        """Why explanations are slow, if the model says so."""
        return getattr(self.model, "unsupported", "")

    def explain(self, X: Floats) -> Explanation:
        """Contributions of the repaired rows, those of marks added to their columns'."""
        told = self.model.explain(self.repaired(X))
        contributions = told.contributions[:, : len(self.columns)].copy()
        for k, (name, _) in enumerate(self.marks, start=len(self.columns)):
            contributions[:, self.columns.index(name)] += told.contributions[:, k]
        return Explanation(told.base, contributions, X, self.columns, self.space)

    def save(self) -> dict[str, bytes]:
        """Fills and bounds beside the model's files."""
        return {FILE: packed(self._arrays), **self.model.save()}

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore both from verified bytes."""
        self.columns, self._arrays = tuple(columns), unpacked(files[FILE])
        marks = [f"{name}__{word}" for name, word in self.marks]
        self.model.load(files, [*columns, *marks])


def _learned(
    values: Floats, columns: Sequence[str], words: Sequence[str], declared: Mapping[str, Repair]
) -> dict[str, Floats]:
    """What repairs need to know of the rows that teach, all at once or none of it.

    Raises
    ------
    DataError
        If a column has nothing to learn a fill or bounds from.
    """
    problems, low, high = [], [], []
    values = values.copy()
    for name, repair in declared.items():
        column, bounds = values[:, columns.index(name)], (-np.inf, np.inf)
        if np.isnan(column).all():
            problems.append(f"{name}: missing in all of them, there is nothing to learn from")
        elif repair.outliers is not None:
            try:
                bounds = repair.outliers.bounds(column)
            except ValueError as error:
                problems.append(f"{name}: outliers by {repair.outliers.by}: {error}")
            if repair.outliers.then == "cap":
                np.clip(column, *bounds, out=column)
        low.append(bounds[0])
        high.append(bounds[1])
    if problems:
        raise DataError.listing(
            f"repairs that {len(values)} teaching rows do not suit: change or drop them, or let "
            "later cutoffs teach",
            problems,
        )
    usual = np.array([
        0.0 if columns[j] in words or np.isnan(column).all() else np.nanmedian(column)
        for j, column in enumerate(values.T)
    ])  # fmt: skip
    fills = [
        _regression(values, usual, columns.index(name), [columns.index(w) for w in words])
        if repair.impute == "model"
        else _constant(values[:, columns.index(name)], repair.impute, len(columns))
        for name, repair in declared.items()
    ]
    return {
        "low": np.array(low), "high": np.array(high), "usual": usual,
        "cap": np.array([float(r.marks[0] == "capped") for r in declared.values()]),
        "impute": np.array([float(r.impute is not None) for r in declared.values()]),
        **{
            name: np.stack([fill[name] for fill in fills])
            for name in ("weights", "intercept", "least", "most")
        },
    }  # fmt: skip


def _constant(column: Floats, method: str | None, width: int) -> dict[str, Any]:
    """One value for all that is missing, by scikit-learn; of equally frequent ones the smallest."""
    from sklearn.impute import SimpleImputer

    strategy = {"mode": "most_frequent"}.get(method or "median", method or "median")
    fill = SimpleImputer(strategy=strategy).fit(column[:, None]).statistics_[0]
    return {"weights": np.zeros(width), "intercept": fill, "least": fill, "most": fill}


def _regression(values: Floats, usual: Floats, at: int, words: Sequence[int]) -> dict[str, Any]:
    """What scikit-learn's Bayesian ridge regression expects of a column, by the others."""
    from sklearn.linear_model import BayesianRidge

    rows, target = ~np.isnan(values[:, at]), values[:, at]
    plain = np.where(np.isnan(values), usual, values)[rows]
    spread = plain.std(axis=0)
    used = [j for j in range(values.shape[1]) if j != at and j not in words and spread[j] > 0]
    weights = np.zeros(values.shape[1])
    least, most = target[rows].min(), target[rows].max()
    if not used or least == most:
        return {"weights": weights, "intercept": usual[at], "least": least, "most": most}
    fitted = BayesianRidge().fit(plain[:, used] / spread[used], target[rows])
    weights[used] = fitted.coef_ / spread[used]
    return {"weights": weights, "intercept": fitted.intercept_, "least": least, "most": most}

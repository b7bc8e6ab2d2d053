"""What a task and a model promise to each other, and the two small things they exchange."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.sentences import Language, say, stater

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import shap

    from features.schema import FeatureColumn
    from features.settings import Part
    from features.sources import Source
    from features.views import View

Floats = NDArray[np.float64]

Kind = Literal["event", "amount", "segments", "lists", "lifecycle"]
"""Kinds of question; each belongs to a family, see ``training.families``."""

LABEL = "label"
DAY = "label_day"
"""Beside the label where the question is when: the day of the event, 1 being the first; else 0."""


class AnyTask(Protocol):
    """What every question says, whatever its kind."""

    config: Any
    name: str
    """One word, such as ``churn``."""
    output: str
    """Name of what every answer has, such as ``churn_probability``."""
    kind: "Kind"
    """``event``: yes or no, answered by a probability; ``amount``: a sum, by its expectation;
    ``segments``: groups of customers; ``lists``: items for a customer; ``lifecycle``: the stage
    that a customer is in."""
    question: str
    """The question in a sentence with its numbers filled in."""

    @property
    def horizon_days(self) -> int:
        """Length of the window ``[t, t + horizon)`` that answers are judged by."""
        ...

    @property
    def maturity_days(self) -> int:
        """Days after the window until every row of it is known."""
        ...

    def spine(self, view: "View") -> "ir.Table":
        """Who is asked: ``(customer_id, cutoff)``, from the past alone."""
        ...

    def problems(self, source: "Source") -> list[str]:
        """What the question needs and the tables of ``source`` do not have."""
        ...


class Task(AnyTask, Protocol):
    """A supervised question: what counts as the answer, how good answers are told from bad."""

    unit: str
    """What the number is measured in: ``probability``, ``currency`` (the source's own), ..."""
    details: "Part | None"
    """What tells more than the number, below ``training/details``; None: nothing does."""
    buying: Literal[-1, 0, 1]
    """Whether the number rises (1) or falls (-1) with buying to come; 0: it is not about buying."""
    points_days: tuple[int, ...]
    """Days by which an event is told of besides, where the question is when; else empty."""

    def label(self, spine: "ir.Table", following: "View") -> "ir.Table":
        """The spine with ``label`` (float64; of an event 0 or 1, of an amount 0 or more).

        Where the question is when, with ``label_day`` too. Customers whose label is not known are
        left out.
        """
        ...

    def slices(self, X: "pd.DataFrame") -> Mapping[str, NDArray[np.bool_]]:
        """Named groups of rows that are judged apart."""
        ...


class Model(Protocol):
    """An answer. Data are given to ``fit`` and never kept; a fitted model is a few arrays."""

    config: Any
    answers: tuple[str, ...]
    """Kinds of task it can answer; checked before data are read. ``time``: it learns the event from
    the day on which it comes."""
    space: str
    """What a score is measured in, such as ``log-odds``."""
    columns: tuple[str, ...]
    """Feature columns in order, known after ``fit``."""

    def fit(self, X: "pd.DataFrame", y: Floats, *, weight: Floats | None, seed: int) -> None:
        """Learn from ``X`` of shape (n_rows, n_features) with labels ``y`` of shape (n_rows,).

        Words are pandas categories; in ``score`` and ``explain`` they are their codes.
        """
        ...

    def score(self, X: Floats) -> Floats:
        """Scores of shape (n_rows,) in ``space``; columns as in ``columns``, NaN = missing."""
        ...

    def explain(self, X: Floats) -> "Explanation":
        """Contributions that add up to the scores."""
        ...

    def save(self) -> dict[str, bytes]:
        """File name -> bytes, in native formats without pickle."""
        ...

    def load(self, files: Mapping[str, bytes], columns: Sequence[str]) -> None:
        """Restore what ``save`` returned."""
        ...


@dataclass(frozen=True)
class Explanation:
    """``base + contributions.sum(axis=1) = score``, in a named space and the original columns."""

    base: Floats
    """Shape (n_rows,)."""
    contributions: Floats
    """Shape (n_rows, n_features)."""
    values: Floats
    """The explained rows, shape (n_rows, n_features)."""
    columns: tuple[str, ...]
    space: str

    @property
    def scores(self) -> Floats:
        """What the contributions add up to, shape (n_rows,)."""
        scores: Floats = self.base + self.contributions.sum(axis=1)
        return scores

    def __getitem__(self, rows: slice) -> "Explanation":
        """Some of the rows."""
        return replace(
            self, base=self.base[rows], contributions=self.contributions[rows],
            values=self.values[rows],
        )  # fmt: skip

    def to_shap(self) -> "shap.Explanation":
        """The same as a ``shap.Explanation``, so that shap's own plots draw it."""
        import shap

        return shap.Explanation(
            values=self.contributions,
            base_values=self.base,
            data=self.values,
            feature_names=list(self.columns),
        )


def matrix(X: "pd.DataFrame", columns: Sequence[str]) -> Floats:
    """The columns of ``X`` by name as float64 of shape (n_rows, n_features).

    Of a column with pandas categories the codes; NaN = missing.

    Raises
    ------
    DataError
        If a column is missing, unknown or infinite.
    """
    missing = [name for name in columns if name not in X.columns]
    extra = [name for name in X.columns if name not in columns]
    if missing or extra:
        raise DataError.listing(
            f"feature rows do not fit the model's {len(columns)} columns",
            [f"column {n!r} is missing" for n in missing]
            + [f"column {n!r} is unknown" for n in extra],
        )
    coded = {n: X[n].cat.codes.where(X[n].notna()) for n in category_columns(X)}
    X = X.assign(**coded) if coded else X
    values: Floats = X[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    infinite = np.isinf(values)
    if infinite.any():
        names = [columns[int(i)] for i in np.flatnonzero(infinite.any(axis=0))]
        raise DataError(
            f"feature columns {names}: {int(infinite.sum())} infinite values; use missing instead"
        )
    return values


def category_columns(X: "pd.DataFrame") -> list[str]:
    """Names of the columns of ``X`` that hold categories: pandas says so."""
    return [str(name) for name, dtype in X.dtypes.items() if dtype == "category"]


def reasons(
    columns: Sequence["FeatureColumn"],
    currency: str,
    explanation: Explanation,
    top: int = 3,
    language: Language = "en",
) -> Iterator[list[str]]:
    """For each row in turn the ``top`` largest contributions, each as a short sentence.

    A sentence says the meaning, the value with its unit, and which way it moves the score, such as
    ``time since the last order: 71 days (raises the score)``.

    Parameters
    ----------
    currency
        ISO 4217 code of amounts: columns name none, since they serve any source.
    """  # fmt: skip
    by_name = {column.name: column for column in columns}
    states = [stater(by_name[name], currency, language) for name in explanation.columns]
    raises, lowers = say("raises", language), say("lowers", language)
    order = np.argsort(-np.abs(explanation.contributions), axis=1, kind="stable")[:, :top]
    rows = zip(
        np.asarray(explanation.values, dtype=np.float64).tolist(),
        explanation.contributions.tolist(), order.tolist(), strict=True,
    )  # fmt: skip
    for values, moved, largest in rows:
        yield [
            states[j](values[j]) + (raises if moved[j] > 0 else lowers)
            for j in largest
            if moved[j] != 0.0
        ]

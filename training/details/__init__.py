"""What an answer may tell beside its one number: one file, one kind of detail.

A task names a class below this package; :class:`Details` is what it promises. It learns from the
validation cutoffs alone, as calibration does, and travels in the bundle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from features.schema import FeatureColumn
from features.settings import Strict
from training.calibrate import season_shift, uncalibrated
from training.contract import Floats, Kind, Model
from training.sentences import Language, meaning, moved, number, say, stater

DETAILS = "training.details"
"""The package that ``use:`` of a task's details is resolved in."""


class Detail(Strict):
    """One column beside the answer."""

    name: str
    unit: str
    """What it is measured in; ``currency`` is the answer's own."""
    meaning: str
    dtype: Literal["double", "string"] = "double"


@dataclass(frozen=True)
class Unseen:
    """Rows with a model that has not learned from them, as they could be scored in time."""

    model: Model
    X: Floats
    """Shape (n_rows, n_features)."""
    y: Floats
    days: Floats | None = None
    """Of a question of when: the day on which the event came, 0 = not within the horizon."""
    season: "Season | None" = None
    """What the same season a year before told of them; None where no year lies before them."""


@dataclass(frozen=True)
class Season:
    """What the same season a year before tells of who is answered now."""

    before: Unseen
    """The rows of then, and a model that tells nothing of them."""
    now: Floats
    """Who is answered, as that model sees them in data as long as then, shape (n, n_features)."""
    model: Model
    """What answers."""
    X: Floats
    """The same rows as it sees them."""

    def shift(
        self,
        read: Callable[[Model, Floats], Floats],
        label: Callable[[Unseen], Floats],
        question: Kind = "event",
        spread: Callable[[Floats], Floats] | None = None,
    ) -> float:
        """How far scores move to have the level that the season foretells.

        The other model is wrong by as much now as it was a year before, since it sees both alike;
        the answers have the mean that its own then have.

        Parameters
        ----------
        read
            Scores that a model gives to rows.
        label
            What came of the rows of a year before.
        spread
            What is done to the scores of the answering model before they move.
        """
        then = self.before
        departs = season_shift(read(then.model, then.X), label(then), question)
        foretold = uncalibrated(read(then.model, self.now) + departs, question)
        scores = read(self.model, self.X)
        return season_shift(spread(scores) if spread else scores, foretold, question)

    def shift_of_scores(self, question: Kind) -> float:
        """How far the scores that make the answers move."""
        return self.shift(lambda model, X: model.score(X), lambda rows: rows.y, question)


@dataclass(frozen=True)
class Factor:
    """One factor of a value: what it is, what it usually is, and how far that moves the value."""

    name: str
    meaning: str
    value: Floats
    """Shape (n_rows,)."""
    usual: float
    contribution: Floats
    """In the unit of the value, shape (n_rows,)."""
    by_column: Floats
    """What of the contribution comes of each feature column, shape (n_rows, n_features)."""

    @property
    def common(self) -> Floats:
        """The rest of the contribution, which no column makes: the season and the level of all."""
        rest: Floats = self.contribution - self.by_column.sum(axis=1)
        return rest


@dataclass(frozen=True)
class Factors:
    """``usual + sum of contributions = value``, row by row.

    A contribution in turn is the sum of what columns make of it and of what is common to all.
    """

    name: str
    """The column that is taken apart."""
    usual: float
    factors: tuple[Factor, ...]


def factor_sentence(factor: Factor, i: int, unit: str, language: Language = "en") -> str:
    """What row ``i`` has of it, such as ``value of an order is 31 (usual 24): adds 12.00 EUR``."""
    return say(
        "factor", language, what=meaning(factor.meaning, language),
        value=number(float(factor.value[i])), usual=number(factor.usual),
        moved=moved(float(factor.contribution[i]), unit, language),
    )  # fmt: skip


def column_sentences(
    factor: Factor,
    i: int,
    columns: Sequence[FeatureColumn],
    values: Floats,
    unit: str,
    top: int,
    language: Language = "en",
) -> list[str]:
    """The ``top`` columns that make most of its contribution, each with what it adds or takes.

    Parameters
    ----------
    values
        Row ``i`` as the model sees it, shape (n_features,).
    """  # fmt: skip
    added = factor.by_column[i]
    largest = np.argsort(-np.abs(added), kind="stable")[:top]
    return [
        say(
            "moved", language, said=stater(columns[j], unit, language)(float(values[j])),
            moved=moved(float(added[j]), unit, language),
        )
        for j in largest
        if added[j] != 0.0
    ]  # fmt: skip


class Details(Protocol):
    """Columns beside the answer, from the row, the model and the answer."""

    config: Any

    @property
    def declared(self) -> tuple[Detail, ...]:
        """The columns in order."""
        ...

    def problems(self, model: Model) -> list[str]:
        """Why ``model`` cannot tell them."""
        ...

    def fit(self, blocks: Sequence[Unseen], season: Season | None) -> None:
        """Learn from validation cutoffs.

        Parameters
        ----------
        season
            That of the cutoff to be served; None if the answer does not heed it.
        """
        ...

    def of(
        self, model: Model, X: Floats, answers: Floats, level: Floats
    ) -> Mapping[str, NDArray[Any]]:
        """The declared columns, each of shape (n_rows,).

        Parameters
        ----------
        level
            The answers without the season's shift.
        """
        ...

    def factors(self, model: Model, X: Floats, answers: Floats, level: Floats) -> Factors | None:
        """What makes the value that matters most; None where no product is told."""
        ...

    def save(self) -> dict[str, bytes]:
        """File name -> bytes."""
        ...

    def load(self, files: Mapping[str, bytes]) -> None:
        """Restore what ``save`` returned."""
        ...

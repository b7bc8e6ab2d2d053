"""What an answer may tell beside its one number: one file, one kind of detail.

A task names a class below this package; :class:`Details` is what it promises. It learns from the
validation cutoffs alone, as calibration does, and travels in the bundle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from numpy.typing import NDArray

from features.settings import Strict
from training.contract import Floats, Model

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


@dataclass(frozen=True)
class Factors:
    """``usual + sum of contributions = value``, row by row."""

    name: str
    """The column that is taken apart."""
    usual: float
    factors: tuple[Factor, ...]


def factor_sentence(factor: Factor, i: int, unit: str) -> str:
    """What row ``i`` has of it, such as ``value of an order is 31 (usual 24): adds 12 EUR``."""
    moved = float(factor.contribution[i])
    way = "adds" if moved >= 0 else "takes"
    found, usual = float(factor.value[i]), factor.usual
    return f"{factor.meaning} is {found:.3g} (usual {usual:.3g}): {way} {abs(moved):,.2f} {unit}"


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

    def fit(self, blocks: Sequence[Unseen], before: Unseen | None) -> None:
        """Learn from validation cutoffs.

        Parameters
        ----------
        before
            The season of the cutoff to be served, a year ago; None if the answer does not heed it.
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

    def factors(self, model: Model, X: Floats, answers: Floats, level: Floats) -> Factors:
        """What makes the value that matters most."""
        ...

    def save(self) -> dict[str, bytes]:
        """File name -> bytes."""
        ...

    def load(self, files: Mapping[str, bytes]) -> None:
        """Restore what ``save`` returned."""
        ...

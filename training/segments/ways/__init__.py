"""Ways to segment: one file each. A way learns from scaled rows and returns cells.

What is learned answers alike, whichever way it was found (:mod:`training.segments.cells`): a way
is only how the cells are drawn, and all that assigns, explains and is served exists once.
"""

from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from features.errors import DataError
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space

Nature = Literal["rules", "clusters", "hybrid"]


class Way(Protocol):
    """How customers are grouped. Learns without any outcome."""

    config: Any
    nature: ClassVar[Nature]
    """Rules and clusters are reported apart."""

    def columns(self) -> tuple[str, ...]:
        """The feature columns that it looks at."""
        ...

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """Cells learned from rows ``Z`` of shape (n_rows, n_columns) in ``space``.

        Equal rows in another order give equal cells.

        Raises
        ------
        DataError
            If there are fewer different customers than segments asked for.
        """
        ...


def check_enough(Z: Floats, asked: int) -> None:
    """Refuse fewer different rows than segments.

    Raises
    ------
    DataError
        With both numbers and the remedy.
    """
    different = len(np.unique(Z, axis=0)) if len(Z) else 0
    if different < asked:
        raise DataError(
            f"{len(Z)} customers with {different} different rows cannot make {asked} segments; "
            "ask for fewer segments, add columns, or bring more customers"
        )


def sampled(Z: Floats, most: int, seed: int) -> Floats:
    """At most ``most`` of the rows, in their order."""
    if len(Z) <= most:
        return Z
    chosen = np.random.default_rng(seed).permutation(len(Z))[:most]
    return np.asarray(Z[np.sort(chosen)])

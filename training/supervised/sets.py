"""Answer sets: yes, no, both or neither, such that the true one is in it with a declared share.

Label-conditional conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a
random world", section 4.5): customers with the event and those without are each held to the share,
so that a rare event is not covered by answering "no". Learned on answers that were out of time, it
holds as far as later customers are like them; the review pack measures it on the test.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.details import Detail

COLUMN = "answer_set"


class SetsConfig(Strict):
    """How sure a set has to be."""

    coverage: float = Field(default=0.9, gt=0.5, lt=1)
    """Share of the customers with the event, and of those without, whose label is in their set."""


class Sets(Strict):
    """Probabilities from which ``yes``, and up to which ``no``, cannot be ruled out."""

    coverage: float
    yes_from: float
    no_to: float

    @classmethod
    def learned(cls, config: SetsConfig, y: Floats, p: Floats) -> "Sets":
        """From out-of-time answers ``p`` to customers with labels ``y``.

        Of n customers with a label floor((1 - coverage) (n + 1)) may lie outside; where that is
        none, the label is never ruled out.
        """
        yes, no = np.sort(p[y == 1]), np.sort(p[y == 0])[::-1]
        out = [int((1.0 - config.coverage) * (len(found) + 1)) for found in (yes, no)]
        return cls(
            coverage=config.coverage,
            yes_from=float(yes[out[0] - 1]) if out[0] else 0.0,
            no_to=float(no[out[1] - 1]) if out[1] else 1.0,
        )

    def holds(self, p: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Whether ``yes`` and whether ``no`` are in the sets of answers ``p``."""
        return p >= self.yes_from, p <= self.no_to

    def words(self, p: Floats) -> NDArray[np.str_]:
        """The sets in words."""
        yes, no = self.holds(p)
        return np.select([yes & no, yes, no], ["yes or no", "yes", "no"], "neither")

    def column(self) -> Detail:
        """The column that says them."""
        meaning = (
            f"yes, no, both or neither: holds the true answer of {self.coverage:.0%} of the "
            "customers with the event, and of as many without"
        )
        return Detail(name=COLUMN, unit="set", dtype="string", meaning=meaning)

"""Candidate makers: each file one idea of what a customer may buy next.

A maker is fitted on everyone's past and scores every item for some customers. It keeps arrays about
items only, never customers, unless it says so in ``keeps_customers``: such a maker is a baseline,
for its bundle would hold people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from training.contract import Floats
from training.recommend.catalogue import Attributes, Demand
from training.recommend.histories import Histories

HOME = "training.recommend.makers"


@dataclass(frozen=True)
class Shop:
    """What a maker may know of the items at the moment it is fitted for."""

    attributes: Attributes
    demand: Demand
    horizon_days: int


class Maker(Protocol):
    """Scores of items for customers, higher = likelier; 0 = nothing speaks for the item."""

    config: Any
    keeps_customers: bool
    """Whether a fitted maker holds customers, so that it cannot be shipped."""

    def fit(self, past: Histories, shop: Shop) -> None:
        """Learn from everyone's past."""
        ...

    def score(self, past: Histories) -> Floats:
        """Scores of shape (n_customers, n_items)."""
        ...

    def parts(self, past: Histories, item: int) -> dict[int, float]:
        """Past item -> what it adds to the score of ``item``, for the one customer of ``past``.

        Empty where the score is of the item alone.
        """
        ...

    def save(self) -> dict[str, NDArray[Any]]:
        """Arrays about items that :meth:`load` restores the maker from."""
        ...

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        ...

"""Candidate makers: each file one idea of what a customer may buy next.

A maker is fitted on everyone's past and scores every item for some customers. One that can be
written down keeps arrays about items only. One that keeps customers has no way to be written: it is
a baseline, for its bundle would hold people.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
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
    offered: NDArray[np.bool_] | None = None
    """Which items may be listed, shape (n_items,): no other needs a link that leads to it. None =
    all."""


class Maker(Protocol):
    """Scores of items for customers, higher = likelier; 0 = nothing speaks for the item."""

    config: Any

    def fit(self, past: Histories, shop: Shop) -> None:
        """Learn from everyone's past."""
        ...

    def score(self, past: Histories) -> Floats:
        """Scores of shape (n_customers, n_items)."""
        ...


@runtime_checkable
class Shippable(Maker, Protocol):
    """A maker that a bundle may hold: items are all it keeps."""

    def save(self) -> dict[str, NDArray[Any]]:
        """Arrays about items that :meth:`load` restores the maker from."""
        ...

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        ...

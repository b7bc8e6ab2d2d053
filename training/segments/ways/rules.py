"""Named rules over bands: columns are cut by quantiles or fixed values, the first rule that fits.

RFM is the default; value grades, declared attitudes, places and ages are others, by their columns.
"""

from collections.abc import Mapping
from itertools import product
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from features.errors import DataError
from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import Space
from training.segments.ways import Nature

FIFTHS = (0.2, 0.4, 0.6, 0.8)
MOST_CELLS = 5_000
Span = tuple[int, int]


class Rule(Strict):
    """A segment and the bands that lead to it."""

    name: str = Field(min_length=1)
    where: dict[str, Span]
    """Column -> first and last band, both inclusive; band 1 holds the lowest values."""


RFM = (
    Rule(name="champions", where={
        "rfm__recency_days": (1, 2), "rfm__frequency_orders": (4, 5), "orders__spend_total": (4, 5),
    }),
    Rule(name="loyal", where={"rfm__recency_days": (1, 3), "rfm__frequency_orders": (3, 5)}),
    Rule(name="new", where={"rfm__recency_days": (1, 2), "rfm__frequency_orders": (1, 2)}),
    Rule(name="cooling", where={"rfm__recency_days": (3, 3)}),
    Rule(name="valuable and silent", where={
        "rfm__recency_days": (4, 5), "orders__spend_total": (4, 5),
    }),
    Rule(name="slipping away", where={"rfm__recency_days": (4, 4)}),
)  # fmt: skip


class RulesConfig(Strict):
    """Bands and rules."""

    quantiles: dict[str, tuple[float, ...]] = {
        "rfm__recency_days": FIFTHS,
        "rfm__frequency_orders": FIFTHS,
        "orders__spend_total": FIFTHS,
    }
    """Column -> rising shares at which it is cut."""
    values: dict[str, tuple[float, ...]] = {}
    """Column -> rising values in its own unit at which it is cut."""
    rules: tuple[Rule, ...] = RFM
    """The first that fits decides; a segment may have several."""
    otherwise: str = "lost"
    """Segment of those whom no rule fits."""

    @model_validator(mode="after")
    def _fits(self) -> "RulesConfig":
        both = sorted(set(self.quantiles) & set(self.values))
        if both:
            raise ValueError(f"columns cut by quantiles and by values: {both}")
        cuts = self.cuts
        for name, edges in cuts.items():
            if list(edges) != sorted(set(edges)) or not edges:
                raise ValueError(f"{name}: cuts must rise, found {list(edges)}")
        beyond = [
            name for name, edges in self.quantiles.items() if not 0 < edges[0] <= edges[-1] < 1
        ]
        if beyond:
            raise ValueError(f"quantiles lie between 0 and 1: {beyond}")
        for rule in self.rules:
            for name, (first, last) in rule.where.items():
                bands = len(cuts.get(name, ())) + 1
                if name not in cuts or not 1 <= first <= last <= bands:
                    raise ValueError(
                        f"rule {rule.name!r}: {name} has {bands} band(s), not {first} to {last}"
                    )
        if np.prod([len(edges) + 1 for edges in cuts.values()]) > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS} combinations of bands; cut fewer columns")
        return self

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """All columns with their cuts."""
        return self.quantiles | self.values


class Rules:
    """Boxes between cuts; nothing is learned but the quantiles."""

    config: RulesConfig
    nature: ClassVar[Nature] = "rules"

    def __init__(self, config: RulesConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The columns that are cut."""
        return tuple(self.config.cuts)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the segments in the order of the rules."""
        return tuple(dict.fromkeys([*(r.name for r in self.config.rules), self.config.otherwise]))

    def fit(self, space: Space, Z: Floats, *, seed: int) -> Cells:
        """One box per combination of bands.

        Raises
        ------
        DataError
            If a column is the same for everybody.
        """
        missing = [name for name in self.columns() if name not in space.columns]
        if missing:
            raise DataError(
                f"rules cut columns in which customers do not differ: {missing}; cut others"
            )
        edges = [self._edges(space, Z, j, name) for j, name in enumerate(space.columns)]
        # From the highest band down: a value on an edge is as near to both, and belongs above it.
        bands = list(product(*(range(len(e) + 1, 0, -1) for e in edges)))
        lower = np.array(
            [[([-np.inf, *e])[b - 1] for e, b in zip(edges, c, strict=True)] for c in bands]
        )
        upper = np.array(
            [[([*e, np.inf])[b - 1] for e, b in zip(edges, c, strict=True)] for c in bands]
        )
        segment = [self.names.index(self._name(space.columns, c)) for c in bands]
        return Cells.boxes(np.array(segment, np.int64), lower, upper)

    def _edges(self, space: Space, Z: Floats, j: int, name: str) -> Floats:
        if name in self.config.quantiles:
            return np.asarray(np.quantile(Z[:, j], self.config.quantiles[name], method="higher"))
        row = np.full((len(self.config.values[name]), len(space.columns)), np.nan)
        row[:, j] = self.config.values[name]
        return space.scaled(row)[:, j]

    def _name(self, columns: tuple[str, ...], bands: tuple[int, ...]) -> str:
        at = dict(zip(columns, bands, strict=True))
        for rule in self.config.rules:
            if all(first <= at[name] <= last for name, (first, last) in rule.where.items()):
                return rule.name
        return self.config.otherwise

"""Named rules over bands: columns are cut by quantiles or fixed values, or into words.

The first rule that fits decides. RFM is the default; value grades, declared attitudes, places, ages
and occasions are others, by their columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import ClassVar

import numpy as np
from pydantic import Field, model_validator

from features.errors import DataError
from features.settings import Strict
from training.contract import Floats
from training.segments.cells import Cells
from training.segments.space import APART, Space
from training.segments.ways import Nature

FIFTHS = (0.2, 0.4, 0.6, 0.8)
MOST_CELLS = 5_000
UNKNOWN = "unknown"
"""A missing word, as rules name it."""
Span = tuple[int, int]


class Rule(Strict):
    """A segment and the bands that lead to it."""

    name: str = Field(min_length=1)
    where: dict[str, Span | tuple[str, ...]]
    """Column -> first and last band, both inclusive; band 1 holds the lowest values, band 0 the
    missing ones. Of a column of words -> those that fit; ``unknown`` is a missing one."""


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
    words: tuple[str, ...] = ()
    """Columns of words."""
    rules: tuple[Rule, ...] = RFM
    """The first that fits decides; a segment may have several."""
    otherwise: str = "lost"
    """Segment of those whom no rule fits."""

    @model_validator(mode="after")
    def _fits(self) -> "RulesConfig":
        every = [*self.quantiles, *self.values, *self.words]
        if twice := sorted({name for name in every if every.count(name) > 1}):
            raise ValueError(f"columns stand in two of quantiles, values and words: {twice}")
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
            for name, asked in rule.where.items():
                bands = len(cuts.get(name, ())) + 1
                spelled = bool(asked) and isinstance(asked[0], str)
                if name in self.words:
                    if not spelled:
                        raise ValueError(f"rule {rule.name!r}: {name} holds words, name some")
                elif (
                    spelled or len(asked) != 2 or name not in cuts
                    or not 0 <= int(asked[0]) <= int(asked[1]) <= bands
                ):  # fmt: skip
                    raise ValueError(
                        f"rule {rule.name!r}: {name} has {bands} band(s), not {list(asked)}"
                    )
        sizes = [len(edges) + 2 for edges in cuts.values()]
        sizes += [2 * len(self.named(name)) + 2 for name in self.words]
        if np.prod(sizes) > MOST_CELLS:
            raise ValueError(f"more than {MOST_CELLS} combinations of bands; cut fewer columns")
        return self

    @property
    def cuts(self) -> Mapping[str, tuple[float, ...]]:
        """All columns of numbers with their cuts."""
        return self.quantiles | self.values

    def named(self, column: str) -> set[str]:
        """Words of a column that rules name."""
        return {str(word) for rule in self.rules for word in rule.where.get(column, ())}


class Rules:
    """Boxes between cuts; nothing is learned but the quantiles."""

    config: RulesConfig
    nature: ClassVar[Nature] = "rules"

    def __init__(self, config: RulesConfig) -> None:
        self.config = config

    def columns(self) -> tuple[str, ...]:
        """The columns that are cut."""
        return (*self.config.cuts, *self.config.words)

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
        bands = [self._bands(space, Z, j, name) for j, name in enumerate(space.columns)]
        if np.prod([len(own) for own in bands]) > MOST_CELLS:
            raise DataError(f"more than {MOST_CELLS} combinations of bands; name fewer words")
        every = list(product(*bands))
        return Cells.boxes(
            np.array([self._segment(space.columns, boxes) for boxes in every], np.int64),
            np.array([[band.lower for band in boxes] for boxes in every]),
            np.array([[band.upper for band in boxes] for boxes in every]),
        )

    def _bands(self, space: Space, Z: Floats, j: int, name: str) -> list["Band"]:
        """From the highest down: a value on an edge is as near to both, and belongs above it."""
        edges: Sequence[float]
        said: Sequence[int | str]
        if name in self.config.words:
            edges, words = _around(space.words(j), self.config.named(name))
            said = [UNKNOWN, *words]
        else:
            edges = self._edges(space, Z, j, name).tolist()
            said = range(len(edges) + 2)
        lowest = float(space.missing[j]) + APART / 2
        bounds = [-np.inf, lowest, *edges, np.inf]
        return [
            Band(label, low, high)
            for label, (low, high) in zip(said, pairwise(bounds), strict=True)
        ][::-1]

    def _edges(self, space: Space, Z: Floats, j: int, name: str) -> Floats:
        if name in self.config.quantiles:
            known = Z[Z[:, j] != space.missing[j], j]
            return np.asarray(np.quantile(known, self.config.quantiles[name], method="higher"))
        row = np.full((len(self.config.values[name]), len(space.columns)), np.nan)
        row[:, j] = self.config.values[name]
        return space.scaled(row)[:, j]

    def _segment(self, columns: tuple[str, ...], bands: Sequence["Band"]) -> int:
        at = dict(zip(columns, bands, strict=True))
        for rule in self.config.rules:
            if all(at[name].meets(asked) for name, asked in rule.where.items()):
                return self.names.index(rule.name)
        return self.names.index(self.config.otherwise)


@dataclass(frozen=True)
class Band:
    """A part of a column; scaled bounds."""

    label: int | str
    """Number of the band, 0 the missing values; or the word, empty for those nobody names."""
    lower: float
    upper: float

    def meets(self, asked: Span | tuple[str, ...]) -> bool:
        """Whether a rule asks for it."""
        if isinstance(self.label, str):
            return self.label in asked
        return int(asked[0]) <= self.label <= int(asked[1])


def _around(levels: Sequence[str], named: set[str]) -> tuple[list[float], list[str]]:
    """Edges about the codes of named words, and the word between each two; empty for the others."""
    codes = [code for code, word in enumerate(levels) if word in named]
    if not codes:
        return [], [""]
    edges = sorted({edge for code in codes for edge in (code - 0.5, code + 0.5)})
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    between = [levels[round(m)] if m in codes else "" for m in middles]
    return edges, ["", *between, ""]

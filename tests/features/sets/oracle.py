"""A second, slower way to any feature: plain Python over the rows of a customer, as known then."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import pyarrow as pa
import pytest

from features import columns as c
from features.compute import FeatureSet, compute
from features.settings import Part, resolve
from features.snapshot import SETS
from tests.worlds import BEGAN, DAY, tables

Row = dict[str, Any]
World = Mapping[str, pa.Table]
CUTOFFS = tuple(BEGAN + days * DAY for days in (200, 500, 731))
T = datetime(2010, 7, 1)
"""The cutoff of worlds made by hand."""


def ago(days: float) -> datetime:
    """A moment so many days before :data:`T`."""
    return T - timedelta(days=days)


@dataclass(frozen=True)
class Past:
    """The rows of a world that happened and were learned before a cutoff."""

    world: World
    cutoff: datetime

    @cached_property
    def tables(self) -> dict[str, list[Row]]:
        """Rows by table, oldest first, of equal times the one learned first, with their age."""
        return {
            name: sorted(
                (
                    {**row, "age": (self.cutoff - row[c.EVENT_TIME]) / DAY}
                    for row in table.to_pylist()
                    if row[c.EVENT_TIME] < self.cutoff and row[c.KNOWN_TIME] < self.cutoff
                ),
                key=lambda row: (row[c.EVENT_TIME], row[c.KNOWN_TIME], row[c.ROW]),
            )
            for name, table in self.world.items()
        }

    def of(self, customer: int, table: str, **values: Any) -> list[Row]:
        """A customer's rows of ``table`` that have ``values`` (one, or any of a tuple)."""
        return [
            row for row in self.tables[table] if row[c.CUSTOMER] == customer and _fits(row, values)
        ]


def _fits(row: Row, values: Mapping[str, Any]) -> bool:
    return all(
        row[name] in value if isinstance(value, tuple) else row[name] == value
        for name, value in values.items()
    )


Oracle = Callable[[Past, int, Any], dict[str, Any]]
"""What is known then, a customer, the set's config -> value by short name."""


def computed(
    use: str,
    world: World,
    cutoffs: Sequence[datetime] = (T,),
    **config: Any,
) -> dict[tuple[int, datetime], dict[str, Any]]:
    """Values of the set ``use`` by short name, for each customer and cutoff."""
    found = together([resolve(SETS, Part(use=use, config=config))], world, cutoffs)
    return {
        key: {name.partition("__")[2]: value for name, value in row.items()}
        for key, row in found.items()
    }


def together(
    parts: Sequence[FeatureSet],
    world: World,
    cutoffs: Sequence[datetime] = (T,),
    began: Mapping[str, datetime] | None = None,
) -> dict[tuple[int, datetime], dict[str, Any]]:
    """Values of several sets, for each customer and cutoff; ``began`` says when tables begin."""
    opened = tables(world)
    opened = replace(opened, began={**opened.began, **(began or {})})
    try:
        rows = compute(opened.backend, opened.asof(cutoffs), parts).to_pylist()
    finally:
        opened.backend.disconnect()
    return {(row.pop(c.CUSTOMER), row.pop(c.CUTOFF)): row for row in rows}


def of_one(use: str, world: World, customer: int = 1, **config: Any) -> dict[str, Any]:
    """Values of one customer at :data:`T`."""
    return computed(use, world, **config)[customer, T]


def agree(use: str, world: World, oracle: Oracle, **config: Any) -> None:
    """The set gives what the oracle gives: each value of every customer at every cutoff."""
    part = resolve(SETS, Part(use=use, config=config))
    found = computed(use, world, CUTOFFS, **config)
    pasts = {t: Past(world, t) for t in CUTOFFS}
    for (customer, t), values in found.items():
        expected = oracle(pasts[t], customer, part.config)
        where = f"customer {customer} at {t}"
        assert _words(values) == _words(expected), where
        near = pytest.approx(_numbers(expected), rel=1e-9, abs=1e-9, nan_ok=True)
        assert _numbers(values) == near, where


def _words(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: math.nan if value is None else value
        for name, value in values.items()
        if not isinstance(value, str)
    }


def least(values: Iterable[float]) -> float | None:
    """The least of ``values``, None if there are none."""
    return min(values, default=None)


def mean(values: Iterable[float]) -> float | None:
    """The mean of ``values``, None if there are none."""
    given = list(values)
    return sum(given) / len(given) if given else None


def share(part: float, whole: float) -> float | None:
    """``part`` of ``whole``, None where it is nothing."""
    return part / whole if whole else None

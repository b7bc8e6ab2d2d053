"""Rows of observations with counts: what every kind of them shares, and its checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.contract import Floats


@dataclass(frozen=True)
class Rows:
    """Columns of equal length, each row standing for ``count`` customers.

    Raises
    ------
    DataError
        If columns differ in length, or a value is missing, infinite or impossible; all reasons at
        once, each with its number of rows.
    """

    kind: ClassVar[str]
    """What a row is, for messages."""
    columns: ClassVar[tuple[str, ...]]
    """The fields that make two rows the same."""

    def __post_init__(self) -> None:
        for name in self.columns:
            column = np.atleast_1d(np.asarray(getattr(self, name), dtype=np.float64))
            object.__setattr__(self, name, np.ascontiguousarray(column))
        first: Floats = getattr(self, self.columns[0])
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in self.columns:
                continue
            if value is not None:
                value = np.asarray(value, dtype=np.float64)
            elif field.name == "count":
                value = np.ones(len(first))
            object.__setattr__(self, field.name, value)
        shapes = {
            field.name: getattr(self, field.name).shape
            for field in fields(self)
            if getattr(self, field.name) is not None
        }
        if any(shape[:1] != first.shape for shape in shapes.values()) or first.ndim != 1:
            raise DataError(f"{self.kind}: columns differ in length: {shapes}")
        found: list[tuple[str, Any]] = [
            ("count is no number of customers", ~(self.counts >= 0) | np.isinf(self.counts))
        ]
        for name in self.columns:
            found.append((f"{name} is missing or infinite", ~np.isfinite(getattr(self, name))))
        if (z := self.given) is not None:
            if z.ndim != 2:
                raise DataError(f"{self.kind}: covariates of shape {z.shape}: expected two axes")
            found.append(("a covariate is missing or infinite", ~np.isfinite(z).all(axis=1)))
        self._raise(found)
        self._raise(self.problems())

    def _raise(self, found: Sequence[tuple[str, Any]]) -> None:
        said = [f"{what}: {int(rows.sum())} rows" for what, rows in found if rows.any()]
        if said:
            raise DataError.listing(f"{self.kind}: {len(self)} rows do not hold together", said)

    def problems(self) -> list[tuple[str, Any]]:
        """What no such row can be, and which rows are so."""
        return []

    def teaches(self) -> None:
        """Nothing, if parameters can be learned from these rows.

        Raises
        ------
        DataError
            If they cannot.
        """

    @property
    def scale(self) -> float:
        """The typical size of a unit-bearing column, where starts and priors are centred."""
        return 1.0

    def __len__(self) -> int:
        return len(getattr(self, self.columns[0]))

    @property
    def counts(self) -> Floats:
        """Customers that each row stands for, shape (n_rows,)."""
        found: Floats = vars(self)["count"]
        return found

    @property
    def given(self) -> Floats | None:
        """Covariates, shape (n_rows, n_covariates), if there are any."""
        return vars(self).get("z")

    def average(self, values: Floats) -> float:
        """The mean of ``values`` over customers."""
        return float(np.average(values, weights=self.counts))

    def take(self, index: NDArray[np.int64] | slice, count: Floats | None = None) -> Self:
        """The rows at ``index``, standing for ``count`` customers if that is given."""
        given = {} if count is None else {"count": count}
        held = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in given}
        taken = {name: None if v is None else v[index] for name, v in held.items()}
        return replace(self, **taken, **given)

    def compressed(self) -> Self:
        """Equal rows as one with their counts added, rows of count 0 left out, in sorted order.

        Sums over it are those over the rows, and do not depend on the order of rows.
        """
        kept = self if (self.counts > 0).all() else self.take(np.flatnonzero(self.counts > 0))
        if not len(kept):
            raise DataError(f"{self.kind}: no rows with a count")
        keys = [getattr(kept, name) for name in kept.columns]
        if kept.given is None and _whole(keys):
            return kept._tabled(keys)
        if kept.given is not None:
            keys += [*kept.given.T]
        order = np.lexsort(keys[::-1])
        new = np.zeros(len(kept), dtype=bool)
        new[0] = True
        for key in keys:
            ordered = key[order]
            new[1:] |= ordered[1:] != ordered[:-1]
        first = np.flatnonzero(new)
        return kept.take(order[first], np.add.reduceat(kept.counts[order], first))

    def _tabled(self, keys: list[Floats]) -> Self:
        """The same for whole numbers: places of a table are one integer each, sorted at once."""
        shape = tuple(int(key.max()) + 1 for key in keys)
        places = np.ravel_multi_index([key.astype(np.int64) for key in keys], shape)
        if (self.counts == 1.0).all():
            distinct, counts = np.unique(places, return_counts=True)
        else:
            distinct, at = np.unique(places, return_inverse=True)
            counts = np.bincount(at, self.counts)
        columns = zip(self.columns, np.unravel_index(distinct, shape), strict=True)
        return replace(self, **dict(columns), count=counts)  # type: ignore[call-arg]


def _whole(keys: Sequence[Floats]) -> bool:
    """Whether all are whole numbers, few enough for each combination to have a number."""
    whole = all((key >= 0).all() and (key == np.floor(key)).all() for key in keys)
    return whole and float(np.prod([key.max() + 1.0 for key in keys])) < 2.0**62


class Counted:
    """Functions of a small whole number, worked out once for each that occurs."""

    x: Floats

    @cached_property
    def _distinct(self) -> tuple[Floats, NDArray[np.int64]]:
        return np.unique(self.x, return_inverse=True)

    def by_count(self, function: Callable[..., Floats], *parameters: Floats | float) -> Floats:
        """``function(x, *parameters)``, by a table unless a parameter differs from row to row.

        Its last axis is that of the rows.
        """
        if any(np.ndim(p) for p in parameters):
            return function(self.x, *parameters)
        distinct, at = self._distinct
        found: Floats = np.take(function(distinct, *parameters), at, axis=-1)
        return found

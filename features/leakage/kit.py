"""Sets in a world and in changed ones: computed together, compared to the last bit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import duckdb
import ibis
import ibis.expr.types as ir
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features import columns as c
from features.compute import FeatureSet, compute
from features.engine import connect
from features.errors import DataError
from features.leakage.worlds import World
from features.once import once
from features.passes import Passes
from features.schema import FeatureColumn
from features.views import View
from features.wide import KEYS

STRANGER = 4_000_000_000_000_000_000
"""A customer of whom there is no row, asked about beside the others."""
MISSING = np.int64(0x7FF8_0000_0000_0001)

Computed = Mapping[str, pa.Table | str]
"""Set -> its values, or why there are none."""
Problems = dict[str, str]
"""Set -> what is wrong with it; "" where nothing is."""


class Listener:
    """A connection that remembers what was asked of it."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *more: Any) -> Any:
        """Pass on and remember."""
        self.heard.append(statement)
        return self._connection.execute(statement, *more)

    def sql(self, statement: str, *more: Any) -> Any:
        """Pass on and remember."""
        self.heard.append(statement)
        return self._connection.sql(statement, *more)


class Kit:
    """Sets in a world: what they give in it, and what they give in others.

    Parameters
    ----------
    cutoffs
        Ascending; worlds are changed after the last one.
    """

    def __init__(
        self,
        world: World,
        cutoffs: Sequence[datetime],
        sets: Mapping[str, FeatureSet],
        threads: int | None = None,
    ) -> None:
        self.world, self.cutoffs, self.sets = world, tuple(cutoffs), dict(sets)
        self._backend = connect(threads=threads)
        self.listener = self._backend.con = Listener(self._backend.con)
        self._passes: Passes | None = None

    def close(self) -> None:
        """Let go of the engine."""
        self._backend.disconnect()

    def view(self, world: World, cutoffs: Sequence[datetime]) -> View:
        """The view of ``world`` from ``cutoffs``, asking for the stranger too."""
        return _Asking(self._load(world), world.began, tuple(cutoffs))

    @cached_property
    def seen(self) -> View:
        """The view of the world as it is."""
        return self.view(self.world, self.cutoffs)

    @cached_property
    def reference(self) -> Computed:
        """Every set in the world as it is."""
        passes = Passes(self._backend, self._view_at, list(self.sets.values()))
        self._load(self.world)
        try:
            table = passes.at(self.cutoffs)
        except Exception:  # noqa: BLE001 - a user's set may fail in any way: tell which one it is
            return {name: self._alone(self.seen, part) for name, part in self.sets.items()}
        self._passes = passes
        return self._by_set(table)

    @cached_property
    def asked(self) -> pa.Array:
        """Who is asked about, the stranger too, in order."""
        tables = [table for table in self.reference.values() if isinstance(table, pa.Table)]
        customers = pc.unique(tables[0][c.CUSTOMER]) if tables else pa.array([STRANGER])
        return customers.take(pc.sort_indices(customers))

    def at(self, cutoffs: Sequence[datetime], world: World | None = None) -> Computed:
        """Every set from other cutoffs, in another world where one is given."""
        return self._computed(self.view(world or self.world, cutoffs))

    def in_other(self, world: World) -> Computed:
        """Every set in a world with other rows, from the same cutoffs."""
        if isinstance(next(iter(self.reference.values())), str) or self._passes is None:
            return self.at(self.cutoffs, world)
        self._load(world)
        try:
            return self._by_set(self._passes.again())
        except (duckdb.Error, DataError):  # such as a set that makes small tables of its own
            return self.at(self.cutoffs, world)

    def differences(
        self, found: Computed, keep: Callable[[pa.Table], pa.Table] = lambda table: table
    ) -> Problems:
        """What differs from those rows of the reference that ``keep`` keeps."""
        return {name: _difference(self.reference[name], found[name], keep) for name in self.sets}

    def declared(self, name: str) -> list[FeatureColumn]:
        """Columns of a set."""
        return list(self.sets[name].columns())

    def _load(self, world: World) -> dict[str, ir.Table]:
        for name, table in world.tables.items():
            self.listener.register("loaded", table)
            copied = f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM loaded'
            self.listener.execute(copied).fetchall()
            self.listener.unregister("loaded")
        return {name: self._backend.table(name) for name in world.tables}

    def _computed(self, view: View) -> Computed:
        try:
            table = compute(self._backend, view, list(self.sets.values()))
        except Exception:  # noqa: BLE001 - a user's set may fail in any way: tell which one it is
            return {name: self._alone(view, part) for name, part in self.sets.items()}
        return self._by_set(table)

    def _by_set(self, table: pa.Table) -> Computed:
        names = {name: [*KEYS, *(k.name for k in self.declared(name))] for name in self.sets}
        return {name: table.select(columns) for name, columns in names.items()}

    def _view_at(self, cutoffs: Sequence[datetime], moments: ir.Table) -> View:
        tables = {name: self._backend.table(name) for name in self.world.tables}
        return _Asking(tables, self.world.began, tuple(cutoffs), None, moments)

    def _alone(self, view: View, part: FeatureSet) -> pa.Table | str:
        try:
            return compute(self._backend, view, [part])
        except Exception as error:  # noqa: BLE001 - as above
            return f"cannot be computed: {error}"


@dataclass(frozen=True)
class _Asking(View):
    """A view that also asks for a customer of whom there is no row."""

    @once
    def customers(self) -> ir.Table:
        moments = self._moments
        stranger = moments.select(
            **{c.CUSTOMER: ibis.literal(STRANGER, type="int64"), c.CUTOFF: moments[c.CUTOFF]}
        )
        return View.customers.build(self).union(stranger)


def _difference(
    expected: pa.Table | str, found: pa.Table | str, keep: Callable[[pa.Table], pa.Table]
) -> str:
    if isinstance(expected, str) or isinstance(found, str):
        return expected if isinstance(expected, str) else str(found)
    expected = keep(expected)
    if not expected.select(KEYS).equals(found.select(KEYS)):
        return f"{expected.num_rows} rows of customers and cutoffs became {found.num_rows} others"
    changes = []
    for name in found.column_names:
        odd = np.flatnonzero(bits(expected[name]) != bits(found[name]))
        if len(odd):
            was, became = (table[name][int(odd[0])].as_py() for table in (expected, found))
            changes.append(f"{name}: {len(odd)} of {len(found)}, such as {was} -> {became}")
    return "; ".join(changes)


def bits(column: pa.ChunkedArray) -> NDArray[Any]:
    """Values that are equal only if every bit is: 0.0 and -0.0 differ, missing equals missing."""
    if not pa.types.is_floating(column.type):
        return np.array([*column.to_pylist(), None], dtype=object)[:-1]
    values = column.fill_null(0.0).to_numpy().astype(np.float64).view(np.int64)
    return np.where(column.is_null().to_numpy(), MISSING, values)

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
from features.compute import KEYS, FeatureSet, compute
from features.engine import connect
from features.leakage.worlds import World
from features.schema import FeatureColumn
from features.views import View

STRANGER = 4_000_000_000_000_000_000
"""A customer of whom there is no row, asked about beside the others."""
MISSING = np.int64(0x7FF8_0000_0000_0001)

Computed = Mapping[str, pa.Table | str]
"""Set -> its values, or why there are none."""
Problems = dict[str, str]
"""Set -> what is wrong with it; "" where nothing is."""


class Tape:
    """A connection that remembers what was said to it, to say it again.

    Most of the time of a computation goes into writing its SQL. A set is an expression that has
    not seen the data, so the same statements hold for every world with the same cutoffs.
    """

    def __init__(self, connection: Any, said: list[tuple[str, str]]) -> None:
        self._connection, self.said = connection, said

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str) -> "Tape":
        """Pass on and remember; what answers is listened to as well."""
        self.said.append(("execute", statement))
        return Tape(self._connection.execute(statement), self.said)

    def sql(self, statement: str) -> Any:
        """Pass on and remember."""
        self.said.append(("sql", statement))
        return self._connection.sql(statement)

    def again(self, said: Sequence[tuple[str, str]]) -> pa.Table | None:
        """The feature table that is among the answers; None if something is not there any more."""
        found = None
        for verb, statement in said:
            try:
                answer = getattr(self._connection, verb)(statement)
            except duckdb.CatalogException:  # a set that makes small tables of its own
                return None
            if verb == "sql" and tuple(answer.columns[: len(KEYS)]) == KEYS:
                found = answer.to_arrow_table()
            else:
                answer.fetchall()
        return found


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
        self.tape = self._backend.con = Tape(self._backend.con, [])
        self._said: list[tuple[str, str]] = []

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
        view, start = self.seen, len(self.tape.said)
        found = self._computed(view)
        if not any(isinstance(table, str) for table in found.values()):
            self._said = self.tape.said[start:]
        return found

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
        reference = self.reference
        self._load(world)
        table = self.tape.again(self._said) if self._said else None
        if table is None:
            return self.at(self.cutoffs, world)
        return {
            name: table.select(expected.column_names).cast(expected.schema)
            for name, expected in reference.items()
            if isinstance(expected, pa.Table)
        }

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
            self.tape.register("loaded", table)
            copied = f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM loaded'
            self.tape.execute(copied).fetchall()
            self.tape.unregister("loaded")
        return {name: self._backend.table(name) for name in world.tables}

    def _computed(self, view: View) -> Computed:
        try:
            table = compute(self._backend, view, list(self.sets.values()))
        except Exception:  # noqa: BLE001 - a user's set may fail in any way: tell which one it is
            return {name: self._alone(view, part) for name, part in self.sets.items()}
        names = {name: [*KEYS, *(k.name for k in self.declared(name))] for name in self.sets}
        return {name: table.select(columns) for name, columns in names.items()}

    def _alone(self, view: View, part: FeatureSet) -> pa.Table | str:
        try:
            return compute(self._backend, view, [part])
        except Exception as error:  # noqa: BLE001 - as above
            return f"cannot be computed: {error}"


@dataclass(frozen=True)
class _Asking(View):
    """A view that also asks for a customer of whom there is no row."""

    @cached_property
    def customers(self) -> ir.Table:
        stranger = ibis.memtable(
            {c.CUSTOMER: [STRANGER] * len(self.cutoffs), c.CUTOFF: list(self.cutoffs)},
            schema={c.CUSTOMER: "int64", c.CUTOFF: "timestamp(6)"},
        )
        return View.customers.func(self).union(stranger)  # type: ignore[attr-defined]


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

"""Feature tables from many cutoffs: statements are written once and run again for each pass."""

from collections.abc import Sequence
from datetime import datetime

import ibis.expr.types as ir
import pyarrow as pa

from features import columns as c
from features.compute import FeatureSet, checked, joined, made
from features.engine import answer, make, times, typed
from features.tables import Tables

MOMENTS = "moments"


class Passes:
    """The sets over a source's tables, seen from a few cutoffs at a time.

    Writing a statement takes longer than running it on a small source, and only the cutoffs differ
    from pass to pass: they are in a table of their own, and what does not depend on them stays.
    """

    def __init__(self, tables: Tables, sets: Sequence[FeatureSet]) -> None:
        self._tables, self._sets = tables, list(sets)
        self._lasting: set[str] = set()
        self._steps: list[tuple[str, str]] = []
        self._query = ""
        self._made: list[str] = []

    def at(self, cutoffs: Sequence[datetime]) -> pa.Table:
        """The feature table from ``cutoffs``; see :func:`features.compute.compute`."""
        backend = self._tables.backend
        make(backend, MOMENTS, times(backend, c.CUTOFF, cutoffs))
        moments = backend.table(MOMENTS)
        # Who is who depends on the cutoff where accounts merge, so nothing can stay.
        if self._query and not self._tables.merging:
            for name, statement in self._steps:
                if name not in self._lasting:
                    make(backend, name, statement)
        else:
            self._steps = []
            view = self._tables.asof(cutoffs, moments)
            self._lasting = set(view.lasting)
            asked, tables = made(view, self._sets, self._keep)
            self._made = [table.get_name() for table in tables]
            self._query = backend.compile(joined(view, self._sets, asked, tables))
        counts = [int(backend.table(name).count().to_pyarrow().as_py()) for name in self._made]
        return checked(answer(backend, self._query), self._sets, self._made_sets(), counts)

    def _keep(self, name: str, expression: ir.Table) -> ir.Table:
        backend = self._tables.backend
        statement = typed(backend, expression)
        self._steps.append((name, statement))
        make(backend, name, statement)
        return backend.table(name)

    def _made_sets(self) -> list[FeatureSet]:
        brought = self._tables.tables
        return [part for part in self._sets if all(name in brought for name in part.reads)]

"""Feature tables from many cutoffs: statements are written once and run again for each pass."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend

from features import columns as c
from features.compute import FeatureSet, checked, joined, made, observed
from features.engine import answer, make, times, typed
from features.views import View

MOMENTS = "moments"


class Passes:
    """Sets over the tables of a backend, seen from a few cutoffs at a time.

    Writing a statement takes longer than running it on a small source. A set is an expression that
    has seen neither cutoffs nor rows, so its statements hold for any: cutoffs are in a table of
    their own, and what does not depend on them stays from pass to pass.

    Parameters
    ----------
    view
        Makes the view from cutoffs and the table that holds them.
    """

    def __init__(
        self,
        backend: BaseBackend,
        view: Callable[[Sequence[datetime], ir.Table], View],
        sets: Sequence[FeatureSet],
    ) -> None:
        self._backend, self._view, self._sets = backend, view, list(sets)
        self._steps: list[tuple[str, str]] = []
        self._lasting: set[str] = set()
        self._observed: list[FeatureSet] = []
        self._made: list[str] = []
        self._query = ""

    def at(self, cutoffs: Sequence[datetime]) -> pa.Table:
        """The feature table from ``cutoffs``; see :func:`features.compute.compute`."""
        make(self._backend, MOMENTS, times(self._backend, c.CUTOFF, cutoffs))
        if self._query:
            return self._run(step for step in self._steps if step[0] not in self._lasting)
        view = self._view(cutoffs, self._backend.table(MOMENTS))
        asked, tables = made(view, self._sets, self._keep)
        self._observed = observed(view, self._sets)
        self._lasting = set(view.lasting)
        self._made = [table.get_name() for table in tables]
        self._query = str(self._backend.compile(joined(view, self._sets, asked, tables)))
        return self._run(())

    def again(self) -> pa.Table:
        """The feature table from the same cutoffs, after the rows of the tables changed."""
        return self._run(self._steps)

    def _run(self, steps: Iterable[tuple[str, str]]) -> pa.Table:
        for name, statement in steps:
            make(self._backend, name, statement)
        counts = [self._backend.table(n).count().to_pyarrow().as_py() for n in self._made]
        return checked(answer(self._backend, self._query), self._sets, self._observed, counts)

    def _keep(self, name: str, expression: ir.Table) -> ir.Table:
        statement = typed(self._backend, expression)
        self._steps.append((name, statement))
        make(self._backend, name, statement)
        return self._backend.table(name)

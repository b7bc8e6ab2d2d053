"""Feature tables from many cutoffs: statements are written once and run again for each pass."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial

import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend

from features import columns as c
from features.compute import FeatureSet, Made, checked, made
from features.engine import answer, make, times, typed
from features.plan import found
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
        self._changing = {MOMENTS}
        self._made: Made | None = None
        self._query = ""

    def at(self, cutoffs: Sequence[datetime]) -> pa.Table:
        """The feature table from ``cutoffs``; see :func:`features.compute.compute`."""
        return self.computed(cutoffs)()

    def computed(self, cutoffs: Sequence[datetime]) -> Callable[[], pa.Table]:
        """The same in two steps: what is returned checks the table and puts it in order.

        The engine is done then, and free for the next pass.
        """
        make(self._backend, MOMENTS, times(self._backend, c.CUTOFF, cutoffs))
        if self._made is not None:
            return self._run([step for step in self._steps if step[0] in self._changing])
        view = self._view(cutoffs, self._backend.table(MOMENTS))
        # Each statement runs while the next is written.
        with ThreadPoolExecutor(1) as engine:
            running: list[Future[None]] = []
            done = made(view, self._sets, partial(self._keep, engine, running))
            self._query = str(self._backend.compile(done.joined()))
        for step in running:
            step.result()
        self._made = done
        return self._run([])

    def again(self) -> pa.Table:
        """The feature table from the same cutoffs, after the rows of the tables changed."""
        return self._run(self._steps)()

    def _run(self, steps: Iterable[tuple[str, str]]) -> Callable[[], pa.Table]:
        assert self._made is not None
        for name, statement in steps:
            make(self._backend, name, statement)
        counts = {
            mark: answer(self._backend, f"SELECT count(*) FROM {self._made.parts[base].get_name()}")
            for mark, base in self._made.bases().items()
        }
        rows = {mark: count[0][0].as_py() for mark, count in counts.items()}
        return partial(checked, answer(self._backend, self._query), self._made, rows)

    def _keep(
        self, engine: ThreadPoolExecutor, running: list[Future[None]], name: str, table: ir.Table
    ) -> ir.Table:
        statement = typed(self._backend, table)
        self._steps.append((name, statement))
        if self._changing & {node.name for node in found([table], ops.PhysicalTable)}:
            self._changing.add(name)
        running.append(engine.submit(make, self._backend, name, statement))
        return ibis.table(table.schema(), name=name)

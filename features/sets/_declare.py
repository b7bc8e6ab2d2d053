"""How sets declare a column in a line, and make their tables hold what was declared.

Within a set a column goes by its short name; ``web_visits_7d`` of the set ``engagement`` is the
feature ``engagement__web_visits_7d``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir
from ibis.expr.builders import WindowBuilder

from features import columns as c
from features.schema import FeatureColumn

KEYS = (c.CUSTOMER, c.CUTOFF)


@dataclass(frozen=True)
class Declare:
    """Columns of the set whose file is called ``prefix``."""

    prefix: str
    leak: str = "as of"
    """Why its columns know no future."""

    def zero(
        self, name: str, unit: str, meaning: str, days: int | None = None, **more: Any
    ) -> FeatureColumn:
        """Sums and counts: a customer without rows is known to have done nothing.

        With ``days`` the name and the meaning end in the window.
        """
        return self._column(name, unit, meaning, days, **{"missing": "never", "fill": 0, **more})

    def maybe(
        self,
        name: str,
        unit: str,
        meaning: str,
        missing: str,
        days: int | None = None,
        **more: Any,
    ) -> FeatureColumn:
        """What there is not for everybody; ``missing`` says why."""
        return self._column(name, unit, meaning, days, **{"missing": missing, **more})

    def share(
        self, name: str, meaning: str, missing: str, days: int | None = None, **more: Any
    ) -> FeatureColumn:
        """A part of a whole, from 0 to 1; missing where the whole is nothing."""
        return self.maybe(name, "ratio", meaning, missing, days, **{"high": 1, **more})

    def word(self, name: str, meaning: str, missing: str, **more: Any) -> FeatureColumn:
        """A category, known by its words."""
        more = {"dtype": "string", "low": None, **more}
        return self._column(name, "category", meaning, None, **{"missing": missing, **more})

    def _column(
        self, name: str, unit: str, meaning: str, days: int | None, **more: Any
    ) -> FeatureColumn:
        full = f"{self.prefix}__{name}"
        if days is not None:
            full, meaning = f"{full}_{days}d", f"{meaning}, last {days} days"
        given = {"low": 0, "leak": self.leak, **more}
        return FeatureColumn(name=full, unit=unit, meaning=meaning, window_days=days, **given)


def slug(text: str) -> str:
    """``text`` as a part of a column's name: ``10 % off`` becomes ``10_off``."""
    return re.sub(r"\W+", "_", text.lower()).strip("_")


def beside(main: ir.Table, *others: ir.Table) -> ir.Table:
    """Rows of ``main`` with the columns that the others hold of the same customer and cutoff."""
    for other in others:
        main = main.left_join(other, list(KEYS)).drop(*(f"{key}_right" for key in KEYS))
    return main


def finished(found: ir.Table, columns: Sequence[FeatureColumn]) -> ir.Table:
    """Short names to full ones, typed and filled as declared."""
    values = {}
    for column in columns:
        value = found[column.name.partition("__")[2]].cast(column.dtype)
        values[column.name] = value if column.fill is None else value.fill_null(column.fill)
    return found.select(*KEYS, **values)


def last(rows: ir.Table, column: str, where: ir.BooleanValue) -> ir.Value:
    """What the last of the rows that meet ``where`` and have a value in ``column`` says there.

    The last is the one that happened last, of equal ones the one learned last, then the later row.
    """
    order = {name: rows[name] for name in (c.EVENT_TIME, c.KNOWN_TIME, c.ROW)}
    versions = ibis.struct({**order, "said": rows[column]})
    return versions.max(where=where & rows[column].notnull())["said"]


def in_turn(*by: str) -> WindowBuilder:
    """The rows of a customer, and of equal ``by``, as seen from a cutoff and in the same order."""
    return ibis.window(group_by=[*KEYS, *by], order_by=[c.EVENT_TIME, c.KNOWN_TIME, c.ROW])

"""What questions are made of: rows that meet conditions, who is asked, and what every one shares.

A label kind below ``training/tasks`` is one of these with a rule for the label. All of it is said
in YAML; nothing here looks further than the view that it is handed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import ibis.expr.types as ir
import pandas as pd
from numpy import bool_
from numpy.typing import NDArray
from pydantic import Field, model_validator

from features import columns as c
from features.canonical import CANONICAL
from features.settings import Part, Strict
from features.sources import Source
from features.views import AGE, View
from training.contract import Kind
from training.slices import usual_slices

ORDERS = "orders"
"""The orders kept, net of what was taken back; any other name is a table's, row by row."""
ORDER_COLUMNS = {
    c.ORDER_REF: "string", c.EVENT_TIME: "timestamp", c.AMOUNT: "int64", c.DISCOUNT: "int64",
    c.QUANTITY: "int64", "lines": "int64",
}  # fmt: skip
KEYS = (c.CUSTOMER, c.CUTOFF)
WORD = r"^[a-z][a-z0-9_]*$"
NUMBERS = ("int64", "float64")


class Where(Strict):
    """A test of one column; exactly one of the tests is given.

    A missing value passes none but ``missing``. Amounts are compared in minor units, as stored.
    """

    column: str
    missing: bool | None = None
    equals: bool | float | str | None = None
    one_of: tuple[float | str, ...] | None = None
    matches: str | None = None
    not_matches: str | None = None
    below: float | None = None
    at_least: float | None = None

    @model_validator(mode="after")
    def _one_test(self) -> "Where":
        if len(self._given) != 1:
            raise ValueError(f"give exactly one test, found {list(self._given) or 'none'}")
        return self

    @property
    def _given(self) -> dict[str, Any]:
        tests = self.model_dump(exclude={"column"})
        return {name: value for name, value in tests.items() if value is not None}

    def test(self, rows: ir.Table) -> ir.BooleanValue:
        """Which rows pass."""
        column, ((test, value),) = rows[self.column], self._given.items()
        match test:
            case "missing":
                return column.isnull() if value else ~column.isnull()  # noqa: PD003
            case "equals":
                return column == value
            case "one_of":
                return column.isin(list(value))
            case "matches":
                return column.re_search(value)
            case "not_matches":
                return ~column.re_search(value)
            case "below":
                return column < value
            case _:
                return column >= value

    def problems(self, dtypes: Mapping[str, str]) -> list[str]:
        """Why columns of these types cannot be tested so."""
        if self.column not in dtypes:
            return [f"no column {self.column!r}; it has {', '.join(dtypes)}"]
        dtype, ((test, value),) = dtypes[self.column], self._given.items()
        if test == "missing":
            return []
        values = value if test == "one_of" else [value]
        text, truth = isinstance(values[0], str), isinstance(values[0], bool)
        fits = "string" if text else "bool" if truth else "a number"
        found = "a number" if dtype in NUMBERS else dtype
        return [] if fits == found else [f"{test} of {self.column!r}: it is {dtype}, not {fits}"]


class Selection(Strict):
    """Rows of a customers' table that meet all conditions."""

    table: str = ORDERS
    """``orders``: orders kept, net of returns; else a canonical table, row by row."""
    where: tuple[Where, ...] = ()

    def of(self, view: View) -> ir.Table:
        """The rows that ``view`` shows of them."""
        return self.kept(view.orders if self.table == ORDERS else view.rows(self.table))

    def kept(self, rows: ir.Table) -> ir.Table:
        """Those of ``rows`` that meet the conditions."""
        tests = [condition.test(rows) for condition in self.where]
        return rows.filter(tests) if tests else rows

    def problems(self, source: Source, columns: Sequence[str] = ()) -> list[str]:
        """What of it the tables of ``source`` do not have; ``columns`` are needed beside."""
        table = "order_lines" if self.table == ORDERS else self.table
        if table not in source.tables:
            known = [name for name in source.tables if c.CUSTOMER in CANONICAL[name]]
            known = [*([ORDERS] if "order_lines" in known else []), *known]
            return [f"no table {self.table!r}; {source.name!r} brings {', '.join(known)}"]
        schema = source.table_schema(table)
        if c.CUSTOMER not in schema:
            return [f"table {self.table!r} is not about customers"]
        dtypes = {k.name: str(k.dtype) for k in schema.columns}
        if self.table == ORDERS:
            dtypes = ORDER_COLUMNS
        lacking = [
            f"no column {n!r}; it has {', '.join(dtypes)}" for n in columns if n not in dtypes
        ]
        tested = [problem for condition in self.where for problem in condition.problems(dtypes)]
        return [f"table {self.table!r}: {problem}" for problem in (*lacking, *tested)]


class Population(Strict):
    """Who is asked; what is given must all hold. Nothing given: everyone known at the cutoff."""

    active_within_days: int | None = Field(default=None, ge=1)
    """The last kept order is at most so old."""
    lapsed_for_days: int | None = Field(default=None, ge=1)
    """There is a kept order, and the last one is older."""
    table: str | None = None
    """Customers with a row of this table that meets ``where``, such as an active contract."""
    where: tuple[Where, ...] = ()
    within_days: int | None = Field(default=None, ge=1)
    """The row is at most so old."""
    latest_by: tuple[str, ...] | None = None
    """Only the last row of each customer and of each of these columns counts: what holds now.

    None: any row. Empty: the last row of each customer.
    """

    @model_validator(mode="after")
    def _fits(self) -> "Population":
        if self.table is None and (self.where or self.within_days or self.latest_by is not None):
            raise ValueError("where, within_days and latest_by are about a table: name it")
        if self.table == ORDERS and self.latest_by is not None:
            raise ValueError("latest_by: orders have no versions; use active_within_days")
        if (self.active_within_days or 1 << 30) <= (self.lapsed_for_days or 0):
            raise ValueError("nobody is active within fewer days than lapsed for")
        return self

    @property
    def selection(self) -> Selection | None:
        """The rows that it asks for, if any."""
        return None if self.table is None else Selection(table=self.table, where=self.where)

    def of(self, view: View) -> ir.Table:
        """``(customer_id, cutoff)`` of everyone asked."""
        asked = []
        if self.active_within_days or self.lapsed_for_days:
            last = view.orders.group_by(KEYS).aggregate(age=view.orders[AGE].min())
            if self.active_within_days:
                last = last.filter(last.age <= self.active_within_days)
            if self.lapsed_for_days:
                last = last.filter(last.age > self.lapsed_for_days)
            asked.append(last.select(*KEYS))
        if self.selection is not None:
            rows = self._latest(view) if self.latest_by is not None else self.selection.of(view)
            if self.within_days:
                rows = rows.filter(rows[AGE] <= self.within_days)
            asked.append(rows.select(*KEYS).distinct())
        if not asked:
            return view.customers
        return asked[0] if len(asked) == 1 else asked[0].semi_join(asked[1], KEYS)

    def _latest(self, view: View) -> ir.Table:
        assert self.selection is not None, "a table is named"
        by = [c.CUSTOMER, *(self.latest_by or ())]
        return self.selection.kept(view.latest(self.selection.table, by))

    def problems(self, source: Source) -> list[str]:
        """What of it the tables of ``source`` do not have."""
        by_order = self.active_within_days or self.lapsed_for_days
        found = Selection().problems(source) if by_order else []
        if self.selection is not None:
            found += self.selection.problems(source, self.latest_by or ())
        return [f"asked: {problem}" for problem in found]


class QuestionConfig(Strict):
    """What every question says."""

    name: str = Field(pattern=WORD)
    """One word; a service of this name answers it, or the generic one."""
    output: str = Field(pattern=WORD)
    """Name of the number in each answer."""
    question: str = Field(pattern=r"\{horizon_days\}.*\?$")
    """In a sentence with ``{horizon_days}`` where the number stands, ending with ``?``."""
    horizon_days: int = Field(ge=1, le=3650)
    """Length of the window ``[t, t + horizon)``."""
    maturity_days: int = Field(default=0, ge=0, le=3650)
    """Days after the window until all its rows are known."""
    asked: Population = Population()
    """Who is asked."""


class Question:
    """What all label kinds share: all but the label."""

    kind: Kind = "event"
    unit = "probability"
    details: Part | None = None
    buying: Literal[-1, 0, 1] = 0
    points_days: tuple[int, ...] = ()

    def __init__(self, said: QuestionConfig) -> None:
        self.said = said
        self.name, self.output = said.name, said.output
        self.question = said.question.replace("{horizon_days}", str(said.horizon_days))

    @property
    def horizon_days(self) -> int:
        """Length of the label window."""
        return self.said.horizon_days

    @property
    def maturity_days(self) -> int:
        """Days until the window's rows are known."""
        return self.said.maturity_days

    def spine(self, view: View) -> ir.Table:
        """Everyone asked."""
        return self.said.asked.of(view)

    def slices(self, X: pd.DataFrame) -> Mapping[str, NDArray[bool_]]:
        """By how often, how recently and for how much a customer bought."""
        return usual_slices(X)

    def problems(self, source: Source) -> list[str]:
        """What the question needs and ``source`` does not bring."""
        return self.said.asked.problems(source)

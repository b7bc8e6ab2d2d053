"""Features of a posted history: the expressions of the feature table, compiled once to a statement.

The statement has one parameter, the history as JSON, and reads no table. So DuckDB keeps its plan
(a plan that reads tables is made anew for every execution, which costs twice what running it does),
requests share nothing, and nothing of a request stays behind.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from features import columns as c
from features.compute import FeatureSet, declared, made
from features.engine import connect
from features.errors import ConfigError, DataError
from features.posted import History, microseconds, read_histories
from features.views import View

if TYPE_CHECKING:
    from features.tables import Stored

MAX_PLANS = 32
"""Plans kept for a thread; one for each choice of tables that histories bring."""

Value = float | str | None


class OnDemand:
    """Feature sets over histories that come with a request.

    Parameters
    ----------
    sets
        Feature sets, as a pipeline has them.
    schemas
        The tables that the source brings, with their columns.
    began
        Time of each table's first row in the source: what lies before could not be observed.

    Notes
    -----
    Rows that happened or became known at the moment asked about, or later, are left out by the
    view, as everywhere. A history without any row gives what columns declare for a customer of whom
    nothing is known.
    """

    def __init__(
        self,
        sets: Sequence[FeatureSet],
        schemas: Mapping[str, pa.Schema],
        began: Mapping[str, datetime],
    ) -> None:
        of_others = [type(part).__name__ for part in sets if getattr(part, "of_others", False)]
        if of_others:
            raise ConfigError(
                f"feature set(s) {', '.join(of_others)} look at other customers: their values come "
                "from published profiles, a posted history is not enough"
            )
        self.columns = declared(sets)
        self.schemas = dict(schemas)
        tables = {
            name: ibis.table(ibis.Schema.from_pyarrow(schema), name=name)
            for name, schema in schemas.items()
        }
        moments = ibis.table({c.CUTOFF: "timestamp(6)"}, name="moments")
        asked = ibis.table({c.CUSTOMER: "int64", c.CUTOFF: "timestamp(6)"}, name="asked")
        self._steps: dict[str, ir.Table] = {}
        self._sql: dict[str, str] = {}
        view = View(tables, began, (), None, moments)
        self._made = made(view, list(sets), self._keep, asked)
        self._backend = connect(threads=1)
        self._statements: dict[tuple[str, ...], str] = {}
        self._local = threading.local()

    @classmethod
    def of(cls, stored: "Stored", sets: Sequence[FeatureSet]) -> "OnDemand":
        """For histories like those of the customers of a source."""
        schemas = {
            name: pq.read_schema(stored.published.folder / f"{name}.parquet")
            for name in stored.brought
        }
        return cls(sets, schemas, stored.began)

    def row(
        self, history: History, moment: datetime, reference: History | None = None
    ) -> dict[str, Value]:
        """Features of one customer as of ``moment``; see :meth:`rows`."""
        return self.rows([history], moment, reference)[0]

    def rows(
        self, histories: Sequence[History], moment: datetime, reference: History | None = None
    ) -> list[dict[str, Value]]:
        """Features of each history as of ``moment``, in the order of the schema.

        Parameters
        ----------
        moment
            In the source's business time, without a zone.
        reference
            Rows of tables that belong to no customer, such as products.

        Raises
        ------
        DataError
            If a table, row or value is not what the source brings, or there are too many; the error
            names each table, row (the first is 0) and column.
        """
        tables = read_histories(self.schemas, histories, reference or {})
        body = {
            "asked": [-1 - number for number in range(len(histories))],
            "moment": microseconds(moment),
            **tables,
        }
        cursor, name = self._prepared(tuple(sorted(tables)))
        # Python's DuckDB cannot bind parameters of EXECUTE; in JSON text only quotes need doubling.
        posted = orjson.dumps(body).decode().replace("'", "''")
        try:
            found = cursor.execute(f"EXECUTE {name}('{posted}')").fetchall()
        except (duckdb.ConversionException, duckdb.OutOfRangeException) as error:
            kind = type(error).__name__  # its text may hold a value
            raise DataError(f"the posted rows give no features: {kind}") from None
        if len(found) != len(histories):
            raise AssertionError(f"{len(found)} rows for {len(histories)} histories")
        # Sorted here: the engine takes longer over so many columns than over anything else.
        found.sort(key=itemgetter(0), reverse=True)
        return [self._row(values) for _, *values in found]

    def _row(self, values: Sequence[Value]) -> dict[str, Value]:
        row = dict(zip((column.name for column in self.columns), values, strict=True))
        odd = [n for n, v in row.items() if isinstance(v, float) and not math.isfinite(v)]
        if odd:
            raise DataError(f"the posted rows give infinite or undefined values: {', '.join(odd)}")
        return row

    # --- the statement ----------------------------------------------------------------------

    def _keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Note an expression that is worth making once; from then on its name stands for it."""
        self._steps[name], self._sql[name] = expression, _sql(expression)
        return ibis.table(expression.schema(), name=name)

    def _prepared(self, brought: tuple[str, ...]) -> tuple[duckdb.DuckDBPyConnection, str]:
        """A cursor of this thread and the name of its plan for histories with these tables.

        What would be made of tables that are not posted has no rows, and is not in the plan.
        """
        local = self._local
        if not hasattr(local, "plans"):
            local.cursor, local.plans, local.made = self._backend.con.cursor(), {}, 0
        if brought not in local.plans:
            if len(local.plans) >= MAX_PLANS:
                local.cursor.execute(f"DEALLOCATE {local.plans.pop(next(iter(local.plans)))}")
            local.made += 1
            name = f"plan_{local.made}"
            statement = self._statements.get(brought) or self._statement(brought)
            if len(self._statements) < MAX_PLANS:
                self._statements[brought] = statement
            local.cursor.execute(f"PREPARE {name} AS {statement}")
            local.plans[brought] = name
        return local.cursor, local.plans[brought]

    def _statement(self, brought: Sequence[str]) -> str:
        shape = {"asked": ["BIGINT"], "moment": "BIGINT"} | {
            name: {field.name: [_JSON[field.type]] for field in self.schemas[name]}
            for name in brought
        }
        shape_json = orjson.dumps(shape).decode()
        empty = {name for name in self.schemas if name not in brought}
        parts = {
            "posted": f"SELECT from_json_strict($1::VARCHAR, '{shape_json}') AS h",
            "moments": f"SELECT make_timestamp(h.moment) AS {c.CUTOFF} FROM posted",
            "asked": f"SELECT unnest(h.asked) AS {c.CUSTOMER}, make_timestamp(h.moment) "
            f"AS {c.CUTOFF} FROM posted",
            **{n: _rows_of(n, schema, n in brought) for n, schema in self.schemas.items()},
        }
        for name, expression in self._steps.items():
            there = _without_empty(expression, empty)
            parts[name] = self._sql[name] if there.equals(expression) else _sql(there)
            if _is_empty(expression.op(), empty):
                empty.add(name)
                parts[name] = f"SELECT * FROM ({parts[name]}) WHERE false"
        whole = self._made.joined(empty)
        answer = whole.select(c.CUSTOMER, *(column.name for column in self.columns))
        made_once = ", ".join(f"{_quoted(n)} AS MATERIALIZED ({q})" for n, q in parts.items())
        return f"WITH {made_once} {_sql(answer)}"


_JSON = {
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us"): "BIGINT",
}


def _rows_of(table: str, schema: pa.Schema, posted: bool) -> str:
    """The rows of a table, from the columns of the posted JSON; or none."""
    values = []
    for field in schema:
        name = _quoted(field.name)
        value = f"unnest(h.{_quoted(table)}.{name})" if posted else f"NULL::{_JSON[field.type]}"
        values.append((f"make_timestamp({value})" if _is_time(field) else value) + f" AS {name}")
    return f"SELECT {', '.join(values)} FROM posted" + ("" if posted else " WHERE false")


def _is_empty(node: ops.Node, empty: set[str]) -> bool:
    """Whether a relation cannot have rows if the tables named in ``empty`` have none."""
    match node:
        case ops.UnboundTable():
            return node.name in empty
        case ops.JoinChain():
            inner = [link.table for link in node.rest if link.how in ("inner", "semi")]
            return any(_is_empty(table, empty) for table in (node.first, *inner))
        case ops.Union():
            return _is_empty(node.left, empty) and _is_empty(node.right, empty)
        case ops.Aggregate():
            return bool(node.groups) and _is_empty(node.parent, empty)
        case ops.Project() | ops.Filter() | ops.Sort() | ops.Distinct() | ops.DropColumns():
            return _is_empty(node.parent, empty)
        case ops.JoinReference() | ops.SelfReference():
            return _is_empty(node.parent, empty)
    return False


def _without_empty(expression: ir.Table, empty: set[str]) -> ir.Table:
    """``expression`` with unions of one table and another that cannot have rows as the one."""

    def rewrite(node: ops.Node, changed: dict[str, Any] | None) -> ops.Node:
        node = node.__recreate__(changed) if changed else node
        if isinstance(node, ops.Union) and not node.distinct:
            for side, other in ((node.left, node.right), (node.right, node.left)):
                if _is_empty(side, empty):
                    return other
        return node

    return expression.op().replace(rewrite).to_expr()


def _is_time(field: pa.Field) -> bool:
    return bool(pa.types.is_timestamp(field.type))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sql(expression: ir.Table) -> str:
    return str(ibis.to_sql(expression, dialect="duckdb", pretty=False))

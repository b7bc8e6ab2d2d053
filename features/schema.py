"""What a table and a feature column promise, and one check that lists every broken promise."""

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

from features import columns as c
from features.errors import DataError
from features.settings import Strict

DType = Literal["int64", "float64", "string", "bool", "timestamp"]

ARROW: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}


class Column(Strict):
    """One column of a canonical table."""

    name: str
    dtype: DType
    meaning: str
    unit: str = ""


class TableSchema(Strict):
    """A canonical table: its columns in order and the key that makes a row one of a kind."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema that stored files have."""
        return pa.schema([(column.name, ARROW[column.dtype]) for column in self.columns])


class FeatureColumn(Strict):
    """One feature: what it is called, measures and means, and what an absent value says.

    Names read ``<set>__<quantity>_<unit>[_<window>]`` and carry no currency.
    """

    name: str
    dtype: Literal["float64"] = "float64"
    unit: str
    """``days``, ``orders``, ``currency`` (the source's own), ``ratio``, ..."""
    meaning: str
    missing: str
    """What a missing value says. "never" where there is always a value."""
    fill: float | None = None
    """The value of a customer without any row: 0 = observed nothing, None = could not observe."""
    low: float | None = None
    """Smallest possible value, if there is one."""
    high: float | None = None
    """Largest possible value, if there is one."""


ORDER_LINES = TableSchema(
    name="order_lines",
    key=(c.ROW,),
    columns=(
        Column(name=c.CUSTOMER, dtype="int64", meaning="internal customer, keyed"),
        Column(name=c.EVENT_TIME, dtype="timestamp", meaning="when it happened, business time"),
        Column(name=c.KNOWN_TIME, dtype="timestamp", meaning="when we learned it, business time"),
        Column(name=c.ORDER, dtype="string", meaning="order or cancellation number"),
        Column(
            name=c.ORDER_REF,
            dtype="string",
            meaning="the order a return cancels where one was found, else the row's own order",
        ),
        Column(name=c.PRODUCT, dtype="string", meaning="product code"),
        Column(name=c.QUANTITY, dtype="int64", unit="items", meaning="below 0 for returns"),
        Column(
            name=c.AMOUNT,
            dtype="int64",
            unit="minor units of the currency",
            meaning="quantity x unit price, rounded once per line; below 0 for returns",
        ),
        Column(name=c.IS_RETURN, dtype="bool", meaning="the row takes goods or money back"),
        Column(name=c.ROW, dtype="int64", meaning="row number in the source, over all its files"),
    ),
)

LINKS = TableSchema(
    name="links",
    key=("source", "source_id"),
    columns=(
        Column(name="source", dtype="string", meaning="source base"),
        Column(name="source_id", dtype="string", meaning="customer number in that source"),
        Column(name=c.CUSTOMER, dtype="int64", meaning="internal customer, keyed"),
        Column(name="rule", dtype="string", meaning="why the two belong together"),
        Column(name="confidence", dtype="float64", unit="probability", meaning="of the link"),
        Column(name=c.KNOWN_TIME, dtype="timestamp", meaning="when the link became known"),
    ),
)


def check(table: pa.Table, schema: pa.Schema, key: Sequence[str], name: str) -> None:
    """Refuse a table that breaks its schema or its key; all problems in one error.

    Raises
    ------
    DataError
        If columns differ, types differ, a key is missing or doubled, or a float is infinite.
    """
    problems = []
    missing = [n for n in schema.names if n not in table.column_names]
    extra = [n for n in table.column_names if n not in schema.names]
    problems += [f"column {n!r} is missing" for n in missing]
    problems += [f"column {n!r} is not declared" for n in extra]
    for field in schema:
        if field.name in missing:
            continue
        column = table.column(field.name)
        if column.type != field.type:
            problems.append(f"column {field.name!r} is {column.type}, declared {field.type}")
        elif pa.types.is_floating(field.type):
            infinite = pa.compute.sum(pa.compute.is_inf(column)).as_py() or 0
            nan = pa.compute.sum(pa.compute.is_nan(column)).as_py() or 0
            if infinite or nan:
                problems.append(
                    f"column {field.name!r} has {infinite} infinite and {nan} NaN values"
                )
    if not any(k in missing for k in key):
        nulls = {k: table.column(k).null_count for k in key if table.column(k).null_count}
        problems += [f"key column {k!r} is missing in {n} rows" for k, n in nulls.items()]
        distinct = table.select(list(key)).group_by(list(key)).aggregate([]).num_rows
        if distinct != table.num_rows:
            problems.append(
                f"key ({', '.join(key)}) is doubled: {table.num_rows} rows, {distinct} keys"
            )
    if problems:
        raise DataError.listing(f"table {name}: {len(problems)} problem(s)", problems)

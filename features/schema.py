"""What a table and a feature column promise, and one check that lists every broken promise."""

from collections.abc import Sequence
from typing import Literal

import pyarrow as pa

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
    required: bool = False
    """Whether a source that brings the table must map it, and every row must have a value."""
    words: tuple[str, ...] = ()
    """The words that features and labels know, where they know no others."""


class TableSchema(Strict):
    """A canonical table: its columns in order and the key that makes a row one of a kind."""

    name: str
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    open: bool = False
    """Whether a source may add columns of its own."""

    def column(self, name: str) -> Column:
        """The column called ``name``; KeyError if there is none."""
        return next(column for column in self.columns if column.name == name)

    def __contains__(self, name: str) -> bool:
        return any(column.name == name for column in self.columns)

    @property
    def arrow(self) -> pa.Schema:
        """The Arrow schema that stored files have."""
        return pa.schema([(column.name, ARROW[column.dtype]) for column in self.columns])


class FeatureColumn(Strict):
    """One feature: what it is called, measures and means, and what an absent value says.

    Names read ``<set>__<quantity>_<unit>[_<window>]`` and carry no currency.
    """

    name: str
    dtype: Literal["float64", "string"] = "float64"
    """``string``: a category, known by its words."""
    unit: str
    """``days``, ``orders``, ``currency`` (the source's own), ``ratio``, ``category``, ..."""
    meaning: str
    missing: str
    """What a missing value says. "never" where there is always a value."""
    fill: float | None = None
    """The value of a customer without any row: 0 = observed nothing, None = could not observe."""
    low: float | None = None
    """Smallest possible value, if there is one."""
    high: float | None = None
    """Largest possible value, if there is one."""
    window_days: int | None = None
    """Rows of ``[t - window, t)`` count; None = the whole past."""
    owner: str = "customer analytics"
    """Who answers for its meaning."""
    leak: Literal["as of", "declared", "model"] = "as of"
    """Why it knows no future: computed from rows known before the cutoff, declared by the source
    in the version known then, or said by an approved model before then."""
    sensitivity: Literal["behaviour", "personal", "audit"] = "behaviour"
    """``personal``: says who somebody is; ``audit``: for fairness reports, kept out of training."""
    buying: Literal["more", "less", ""] = ""
    """What more of it, all else equal, says of buying to come: models can be held to it."""
    theme: str = ""
    """What a reason by it is about, such as ``price``; empty: see :mod:`features.themes`."""
    levels: tuple[str, ...] = ()
    """Words of a category in the order of their codes; empty until a model has learned them."""
    rare: tuple[str, ...] = ()
    """Words that count together as the level ``other``, each too rare for a code of its own."""


def check(table: pa.Table, schema: pa.Schema, key: Sequence[str], name: str) -> None:
    """Refuse a table that breaks its schema or its key; all problems in one error.

    Without a ``key`` rows may repeat.

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
    if key and not any(k in missing for k in key):
        nulls = {k: table.column(k).null_count for k in key if table.column(k).null_count}
        problems += [f"key column {k!r} is missing in {n} rows" for k, n in nulls.items()]
        distinct = table.select(list(key)).group_by(list(key)).aggregate([]).num_rows
        if distinct != table.num_rows:
            problems.append(
                f"key ({', '.join(key)}) is doubled: {table.num_rows} rows, {distinct} keys"
            )
    if problems:
        raise DataError.listing(f"table {name}: {len(problems)} problem(s)", problems)

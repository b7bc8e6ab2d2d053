"""What looks wrong in finished tables although every record could be read.

Words that no feature counts, and amounts that may have been minor units already: both give models
that learn, from figures that are wrong.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import columns as c
from features.feeds import UNIT_PRICE, type_of

if TYPE_CHECKING:
    from features.sources import Source

FEWEST = 20
"""Of fewer amounts, that all are whole says nothing."""
SHOWN = 10
"""Of the words that no feature counts, so many of the most frequent are named."""


class Remark(NamedTuple):
    """What a person should look at: in which column, in how many rows."""

    table: str
    column: str
    rows: int
    remark: str


def remarks(source: "Source", folder: Path, name: str) -> Iterator[Remark]:
    """Look at the table ``name`` of ``source`` below ``folder``."""
    path, schema = folder / f"{name}.parquet", source.table_schema(name)
    for column in schema.columns:
        if column.words:
            words = pq.read_table(path, columns=[column.name])[column.name].drop_null()
            counts = pc.value_counts(words).to_pylist()
            other = [k for k in counts if k["values"] not in column.words]
            if other:
                other.sort(key=lambda k: (-k["counts"], k["values"]))
                named = ", ".join(k["values"] for k in other[:SHOWN])
                told = f"no feature counts {named}; those counted are {', '.join(column.words)}"
                yield Remark(
                    name, column.name, sum(k["counts"] for k in other), f"{told}: map them"
                )
    for column in schema.columns:
        if column.name in _read_as_money(source, name):
            amounts = pq.read_table(path, columns=[column.name])[column.name].drop_null()
            if len(amounts) >= FEWEST and not (amounts.to_numpy() % 100).any():
                yield Remark(
                    name, column.name, len(amounts),
                    f"all are whole {source.currency}: if the file has minor units (cents) "
                    "already, add type: integer, or all is a hundred times too much",
                )  # fmt: skip


def _read_as_money(source: "Source", name: str) -> set[str]:
    """Columns that were multiplied by a hundred when they were read."""
    schema = source.table_schema(name)
    found = {
        column
        for feed in source.tables[name].feeds.values()
        for column, declared in feed.columns.items()
        if column == UNIT_PRICE or type_of(schema, column, declared) == "money"
    }
    return (found - {UNIT_PRICE}) | ({c.AMOUNT} if UNIT_PRICE in found else set())

"""What a feature table's columns look like at one cutoff: for people, and to notice drift."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from features import columns as c
from features.schema import FeatureColumn

SAMPLE_ROWS = 10_000
"""Deciles come from about so many rows, chosen by the customer's number; all else from all rows."""
LEVELS = 20
"""Of a category, so many of the most frequent words are counted."""


def profile(table: pa.Table, columns: Sequence[FeatureColumn], cutoff: str) -> list[dict[str, Any]]:
    """Per column: rows, missing share, mean, deviation, least, deciles, greatest; or its words."""
    step = max(1, table.num_rows // SAMPLE_ROWS)
    sample = table
    if step > 1:
        customers = table[c.CUSTOMER].to_numpy()
        sample = table.filter(pa.array(customers % step == 0))
    return [
        {
            "name": column.name,
            "cutoff": cutoff,
            "rows": table.num_rows,
            "missing": table[column.name].null_count / max(table.num_rows, 1),
            **(
                _words(table[column.name])
                if column.dtype == "string"
                else _numbers(table[column.name], sample[column.name])
            ),
        }
        for column in columns
    ]


def _numbers(values: pa.ChunkedArray, sample: pa.ChunkedArray) -> dict[str, Any]:
    low_high = pc.min_max(values).as_py()
    deciles = pc.quantile(sample, q=[k / 10 for k in range(1, 10)]).to_pylist()
    return {
        "mean": pc.mean(values).as_py(),
        "sd": pc.stddev(values).as_py(),
        "min": low_high["min"],
        **{f"p{k}0": value for k, value in enumerate(deciles, start=1)},
        "max": low_high["max"],
    }


def _words(values: pa.ChunkedArray) -> dict[str, Any]:
    counts = pc.value_counts(values.drop_null()).to_pylist()
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    return {"levels": {entry["values"]: entry["counts"] for entry in counts[:LEVELS]}}

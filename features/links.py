"""Links: which source id is which customer, and since when we know of it, over all tables."""

from typing import Any

import pyarrow as pa

from features import columns as c
from features.canonical import LINKS
from features.errors import DataError
from features.identity import customer_ids
from features.schema import check

SOURCE_ID = "source_id"
OWN = "same source id"
"""Rule of the link of a source id to its own customer."""


class Links:
    """The customers of a source met so far: an id is the same customer in every table."""

    def __init__(self, source: str, key: bytes) -> None:
        self._source, self._key = source, key
        self._ids: dict[str, int] = {}
        self._met: list[pa.Table] = []

    def of(self, met: pa.Table) -> pa.Table:
        """Customers of the ids in ``met``, which a table knows since ``known_time``.

        Raises
        ------
        DataError
            If two ids meet in one number.
        """
        self._met.append(met)
        found = met[SOURCE_ID].to_pylist()
        new = [source_id for source_id in found if source_id not in self._ids]
        self._ids |= customer_ids(self._source, new, self._key)
        if len(set(self._ids.values())) != len(self._ids):
            raise DataError(
                f"source {self._source}: two customers meet in one internal id; change the key"
            )
        ids = pa.array([self._ids[source_id] for source_id in found], pa.int64())
        return pa.table({SOURCE_ID: met[SOURCE_ID], c.CUSTOMER: ids})

    def table(self) -> pa.Table:
        """One row per source id, in order: known since the first row of any table."""
        met = pa.concat_tables(self._met) if self._met else _NOBODY
        first = met.group_by(SOURCE_ID).aggregate([(c.KNOWN_TIME, "min")]).sort_by(SOURCE_ID)
        source_ids, rows = first[SOURCE_ID].to_pylist(), first.num_rows
        ids = pa.array([self._ids[source_id] for source_id in source_ids], pa.int64())
        columns: dict[str, Any] = {
            "source": pa.repeat(self._source, rows),
            SOURCE_ID: first[SOURCE_ID],
            c.CUSTOMER: ids,
            c.ACCOUNT: ids,
            "rule": pa.repeat(OWN, rows),
            "confidence": pa.repeat(1.0, rows),
            c.KNOWN_TIME: first[f"{c.KNOWN_TIME}_min"],
        }
        table = pa.table([columns[name] for name in LINKS.arrow.names], schema=LINKS.arrow)
        check(table, LINKS.arrow, LINKS.key, LINKS.name)
        return table


_NOBODY = pa.table(
    {SOURCE_ID: pa.array([], pa.string()), c.KNOWN_TIME: pa.array([], pa.timestamp("us"))}
)

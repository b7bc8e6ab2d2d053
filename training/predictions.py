"""The prediction log: which version answered what, and in which bins the features lay.

Parquet files below ``<registry>/predictions/<model>/v<version>/``, each whole or absent. A log
cannot be made again, so it lies in the registry. It holds no value of a feature and no id of a
source: customers appear under the keyed number that tables know them by, and only where they were
asked for by id. Services and batch scoring write it, the ledger and the report read it.
"""

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import columns as c
from features.settings import Workspace, fingerprint
from features.store import sync_folder
from training.bundle import Loaded
from training.categories import encoded
from training.contract import Floats, matrix
from training.drift import Bins, Codes
from training.supervised.bundle import Bundle

BATCH, REQUEST = "batch", "request"
"""Where answers came from: everyone at once, or one request."""
SCHEMA = pa.schema([
    ("time", pa.timestamp("us", "UTC")),
    ("origin", pa.string()),
    ("request_id", pa.string()),
    ("row", pa.int32()),
    (c.CUSTOMER, pa.int64()),
    (c.CUTOFF, pa.timestamp("us")),
    ("answer", pa.float64()),
    ("score", pa.float64()),
    ("bins", pa.list_(pa.uint8())),
])  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """Answers to be logged: those of one request, or a whole batch."""

    origin: str
    request_id: str
    """Of a batch what names it: written again, it replaces itself."""
    time: datetime
    """When it was answered."""
    answers: Floats
    scores: Floats
    customers: NDArray[np.int64] | None = None
    """int64 numbers of shape (n_rows,), where customers were asked for by id."""
    cutoff: datetime | None = None
    """The moment as of which the features hold, where that is known."""


def table(told: Sequence[Answered], codes: Codes) -> pa.Table:
    """The rows of the log, request after request.

    All at once: a table for each request would hold up a service for 20 ms of every second.

    Parameters
    ----------
    told
        What was answered.
    codes
        The bins of all its rows, shape (n_rows, n_features + 1).
    """
    rows, width = codes.shape
    counts = np.array([len(one.answers) for one in told])
    whose = pa.array(np.repeat(np.arange(len(told)), counts))
    number = np.arange(rows) - np.repeat(np.cumsum(counts) - counts, counts)
    customers = np.concatenate([
        np.zeros(n, np.int64) if one.customers is None else one.customers
        for one, n in zip(told, counts, strict=True)
    ])  # fmt: skip
    unnamed = np.repeat([one.customers is None for one in told], counts)
    offsets = np.arange(rows + 1, dtype=np.int32) * width
    return pa.table(
        [
            pa.array([one.time for one in told], SCHEMA.field("time").type).take(whose),
            pa.array([one.origin for one in told]).take(whose),
            pa.array([one.request_id for one in told]).take(whose),
            pa.array(number, pa.int32()),
            pa.array(customers, mask=unnamed),
            pa.array([one.cutoff for one in told], pa.timestamp("us")).take(whose),
            np.concatenate([one.answers for one in told]),
            np.concatenate([one.scores for one in told]),
            pa.ListArray.from_arrays(pa.array(offsets), pa.array(codes.ravel())),
        ],
        schema=SCHEMA,
    )


def folder(place: Workspace, model: str, version: int) -> Path:
    """Where the log of a version lies."""
    return place.registry / "predictions" / model / f"v{version}"


def versions(place: Workspace, model: str) -> list[int]:
    """The versions of ``model`` that have a log."""
    found = (place.registry / "predictions" / model).glob("v*")
    return sorted(int(path.name[1:]) for path in found if path.name[1:].isdigit())


def write(into: Path, name: str, table: pa.Table) -> None:
    """Write one file of the log, durable and whole before it has its name."""
    into.mkdir(parents=True, exist_ok=True)
    partial = into / f".{name}-{os.getpid()}.part"
    try:
        with partial.open("wb") as stream:
            pq.write_table(table, stream, compression="zstd")
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(into / f"{name}.parquet")
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(into)


def write_batch(
    place: Workspace, model: str, version: int, loaded: Loaded, cutoff: datetime,
    rows: pd.DataFrame, answers: pd.DataFrame,
) -> None:  # fmt: skip
    """Log what was answered to everyone at once; written again, it replaces itself.

    Parameters
    ----------
    loaded
        The bundle that answered; only answers to rows with a score are logged.
    rows
        Customers with their features.
    answers
        Customers with their answers, in the same order.
    """
    if not isinstance(loaded, Bundle):
        return
    X = matrix(encoded(rows[list(loaded.columns)], loaded.answer.columns), loaded.columns)
    customers = answers[c.CUSTOMER].to_numpy(np.int64)
    scores = answers["score"].to_numpy(np.float64)
    name = f"{BATCH}-{cutoff:%Y%m%dT%H%M}-{fingerprint(loaded.digest, customers.tolist())}"
    told = Answered(
        BATCH, name, now(), answers[loaded.answer.output].to_numpy(np.float64), scores,
        customers, cutoff,
    )  # fmt: skip
    write(folder(place, model, version), name, table([told], Bins.of(loaded).codes(X, scores)))


def read(place: Workspace, model: str, version: int) -> pd.DataFrame:
    """The log of a version, oldest first; ``bins`` are lists."""
    files = sorted(folder(place, model, version).glob("*.parquet"))
    tables = [pq.read_table(path, schema=SCHEMA) for path in files]
    told = pa.concat_tables(tables) if tables else SCHEMA.empty_table()
    return told.to_pandas().sort_values(["time", "request_id", "row"], ignore_index=True)


def forget(place: Workspace, model: str, version: int, customers: Collection[int]) -> int:
    """Take the numbers of ``customers`` out of the log; return how many rows had one."""
    gone, wanted = 0, pa.array(sorted(customers), pa.int64())
    for path in sorted(folder(place, model, version).glob("*.parquet")):
        table = pq.read_table(path, schema=SCHEMA)
        theirs = pc.is_in(table[c.CUSTOMER], value_set=wanted)
        if count := pc.sum(theirs).as_py():
            nobody = pc.if_else(theirs, pa.scalar(None, pa.int64()), table[c.CUSTOMER])
            place_of = table.schema.get_field_index(c.CUSTOMER)
            write(path.parent, path.stem, table.set_column(place_of, c.CUSTOMER, nobody))
            gone += count
    return gone


def codes(log: pd.DataFrame) -> Codes:
    """The bins of the rows of a log, shape (n_rows, n_features + 1)."""
    stacked: Codes = np.stack(log["bins"].to_list()) if len(log) else np.empty((0, 0), np.uint8)
    return stacked


def now() -> datetime:
    """The moment that is logged."""
    return datetime.now(UTC)

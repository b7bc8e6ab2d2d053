"""Telling a customer what is held of them: everything that an erasure would find.

Rows of tables, features, profiles, answers and explanations come as CSV, raw records as the lines
they are; what is not made of rows (a database, an array) is listed with how often it names them.
"""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa

from features import columns as c
from features.errors import ConfigError, DataError
from features.identity import customer_ids, customer_key
from features.settings import Workspace
from features.sources import Source, find_files, raw_paths
from features.traces import lines_of, linked_refs, naming, rows_of

MAP = "held.csv"
"""Every place that names the customer, how often, and the file that its records went to."""
OURS = (c.CUSTOMER, c.OTHER, c.ACCOUNT)
"""Internal numbers, which say nothing outside and are left out."""


def disclose(
    place: Workspace, source: Source, raw: Path | None, ref: str, out: Path
) -> pd.DataFrame:
    """Write what is held of the customer ``ref`` into the new folder ``out``; the map of it.

    Parameters
    ----------
    raw
        Folder of the raw files; None: these are not looked into.

    Returns
    -------
    DataFrame
        ``place``, ``records``, ``written``, as in ``held.csv``.

    Raises
    ------
    ConfigError
        If ``out`` is there already.
    DataError
        If nothing names the customer.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already: name a new folder for what is held of {ref}")
    refs = [ref, *linked_refs(place, source, ref)]
    numbers = customer_ids(source.name, refs, customer_key(place.keys))
    found = [row for each in refs for row in _held(place, source, raw, each, numbers[each])]
    if not found:
        raise DataError(
            f"nothing made of source {source.name!r} names customer {ref!r}, nor do its raw files: "
            "give the number as the source writes it"
        )
    out.mkdir(mode=0o700, parents=True)
    lines = []
    for where, count, content in found:
        written = ""
        if content is not None:
            written = _free(out, where, ".csv" if isinstance(content, pa.Table) else ".txt")
            _write(out / written, content)
        lines.append({"place": where, "records": count, "written": written or "not made of rows"})
    held = pd.DataFrame(lines)
    held.to_csv(out / MAP, index=False)
    return held


def _held(
    place: Workspace, source: Source, raw: Path | None, ref: str, number: int
) -> Iterator[tuple[str, int, pa.Table | bytes | None]]:
    """Each place that names the customer: how often, and its rows or lines."""
    seen = set()
    for path, count in naming(place, ref, number):
        told = path.stat()
        if told.st_ino in seen:  # the parts of a feature table are links to one file
            continue
        seen.add(told.st_ino)
        rows = rows_of(path, ref, number) if path.suffix == ".parquet" else None
        yield path.relative_to(place.store).as_posix(), count, rows
    answers = place.registry / "predictions"
    for path in sorted(answers.rglob("*.parquet")):
        if len(rows := rows_of(path, ref, number)):
            yield path.relative_to(place.registry).as_posix(), len(rows), rows
    for path in [] if raw is None else raw_paths(find_files(source, raw)):
        lines = lines_of(path, ref)
        if lines is None or lines:
            text = b"".join(line.rstrip(b"\r\n") + b"\n" for _, line in lines or [])
            yield f"raw/{path.name}", len(lines or []), text if lines else None


def _free(out: Path, where: str, suffix: str) -> str:
    """A name for what comes from ``where``; several numbers of a person may be named there."""
    name, more = where, 1
    while (out / f"{name}{suffix}").exists():
        more += 1
        name = f"{where}.{more}"
    return f"{name}{suffix}"


def _write(path: Path, content: pa.Table | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    shown = content.drop_columns([name for name in OURS if name in content.column_names])
    if "raw" in shown.column_names:  # bytes as they were read
        place = shown.column_names.index("raw")
        said = [raw.decode("utf-8", "replace") for raw in shown["raw"].to_pylist()]
        shown = shown.set_column(place, "raw", pa.array(said))
    shown.to_pandas().to_csv(path, index=False)

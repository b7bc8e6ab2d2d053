"""What was set aside: to look at, to mend, and what becomes of it in the next build.

Nothing is replayed by itself. A build reads all files by the rules of now, so a mapping that was
mended, or a file that was delivered again under its name, takes in what they set aside before; the
earlier builds stay as they are.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from features.errors import DataError
from features.quality import read_report
from features.settings import Workspace
from features.store import current

Row = dict[str, Any]


def last_build(place: Workspace, source: str) -> Path:
    """The folder of the newest tables of ``source``.

    Raises
    ------
    DataError
        If there is none.
    """
    found = current(place.store / "tables" / source)
    if found is None:
        raise DataError(
            f"source {source}: no tables in {place.store}; `python -m features quality {source}` "
            "builds them"
        )
    return found.folder


def read_quarantine(folder: Path, table: str = "", reason: str = "") -> list[Row]:
    """Records that a build set aside: those of ``table``, with ``reason`` within their reason."""
    digests = {(row["table"], row["file"]): row["sha256"] for row in read_report(folder, "lineage")}
    rows: list[Row] = pq.read_table(folder / "quarantine.parquet").to_pylist()
    return [
        {**row, "sha256": digests[row["table"], row["file"]]}
        for row in rows if table in ("", row["table"]) and reason in row["reason"]
    ]  # fmt: skip


def write_raw_lines(aside: Iterable[Row], path: Path) -> None:
    """Write the raw bytes of the records to a private file, as they stood in theirs."""
    path.touch(mode=0o600)
    path.write_bytes(b"".join(row["raw"].removesuffix(b"\n") + b"\n" for row in aside))


def replayed(aside: Iterable[Row], folder: Path) -> list[dict[str, str]]:
    """What became of records that were set aside, in the build ``folder``.

    Returns
    -------
    list of dict
        ``table, file, reason, records, became``: ``in quarantine`` where the same bytes are there
        again, ``accepted, filtered or a duplicate`` where they are not but the file is, and
        ``no longer in the file`` where the file's bytes have changed or it is gone.
    """
    still = Counter((row["table"], row["file"], row["raw"]) for row in read_quarantine(folder))
    files: Mapping[tuple[str, str], str] = {
        (row["table"], row["file"]): row["sha256"] for row in read_report(folder, "lineage")
    }
    became: Counter[tuple[str, str, str, str]] = Counter()
    for row in aside:
        key = (row["table"], row["file"], row["raw"])
        if still[key]:
            still[key] -= 1
            fate = "in quarantine"
        elif files.get((row["table"], row["file"])) == row["sha256"]:
            fate = "accepted, filtered or a duplicate"
        else:
            fate = "no longer in the file"
        became[row["table"], row["file"], row["reason"], fate] += 1
    return [
        {"table": table, "file": file, "reason": reason, "records": str(n), "became": fate}
        for (table, file, reason, fate), n in sorted(became.items())
    ]

"""Raw file -> staged records, before anything is typed. Runs in a guarded child process.

Database CSV readers can drop the rest of a file after one stray quote. Here the standard ``csv``
module splits records in strict mode, physical lines are counted as they pass, and whatever does not
split is kept as raw bytes with its line and the reason (:mod:`features.readers`). An independent
pass over the bytes must find the same number of lines (:mod:`features.recount`).
"""

import gzip
import hashlib
import json
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any
from xml.parsers import expat
from zipfile import BadZipFile

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import DataError
from features.guessing import is_currency
from features.raw_files import BLANK, MAX_RECORD_LINES, Dialect, header_names, kind_of
from features.readers import records
from features.recount import recount
from features.sampling import Sample, draw
from features.settings import Strict

__all__ = ["BLANK", "MAX_RECORD_LINES", "Dialect", "Staged", "sample", "stage"]

BATCH = 50_000
CHILD_MEMORY = 8 << 30
CHILD_CPU_SECONDS = 3_600


class Staged(Strict):
    """What one file held.

    ``lines`` and ``bytes`` of the unpacked text; rows and 0 where a file has no lines: workbooks
    and Parquet.
    """

    file: str
    sha256: str
    """Of the file as it lies there, packed or not."""
    records: int
    header_lines: int
    lines: int
    bytes: int
    independent_lines: int
    independent_bytes: int
    currencies: tuple[str, ...] = ()
    """Columns that are called like one that says what money amounts are in."""


def stage(
    path: Path, dialect: Dialect, wanted: dict[str, str], first_row: int, out: Path
) -> Staged:
    """Stage ``path`` into the Parquet file ``out`` in a child process with limits.

    Parameters
    ----------
    wanted
        Canonical column name -> column name in the file. Nothing else is loaded.
    first_row
        Number given to the first record; rows are numbered over all files of a table.

    Returns
    -------
    Staged
        Counts; ``out`` has one row a record: ``row, line, lines, raw, problem``, wanted texts.

    Raises
    ------
    DataError
        If the file cannot be read to its end, lacks a column, is empty, or kills the child.
    """
    request = {"dialect": dialect.model_dump(), "wanted": wanted, "first_row": first_row}
    staged = Staged(**_asked(path, out, request))
    if (staged.lines, staged.bytes) != (staged.independent_lines, staged.independent_bytes):
        raise DataError(
            f"{path}: {staged.lines} lines and {staged.bytes} bytes were staged, an independent "
            f"reader finds {staged.independent_lines} and {staged.independent_bytes}; "
            "the file changed while it was read, or the reader lost rows: load it again"
        )
    return staged


def sample(path: Path, out: Path) -> Sample:
    """Write records from all over ``path`` to the file ``out`` of the same kind; in the child.

    Raises
    ------
    DataError
        If nothing can be made of the file, or it kills the child.
    """
    return Sample(**_asked(path, out, {"sample": True}))


def _asked(path: Path, out: Path, request: dict[str, Any]) -> dict[str, Any]:
    """The child's answer to ``request``."""
    child = subprocess.run(
        [sys.executable, "-m", "features.staging"],
        input=json.dumps({**request, "path": str(path.absolute()), "out": str(out.absolute())}),
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
        check=False,
    )
    if child.returncode != 0:
        out.unlink(missing_ok=True)
        tail = child.stderr.strip().splitlines()[-1:] or ["no message"]
        raise DataError(
            f"{path}: the reading process ended with code {child.returncode} ({tail[0]}); "
            "the file is set aside untouched, nothing was loaded from it"
        )
    reply: dict[str, Any] = json.loads(child.stdout)
    if "error" in reply:
        out.unlink(missing_ok=True)
        raise DataError(reply["error"])
    return reply


def _write(request: dict[str, Any]) -> dict[str, Any]:
    path, wanted = Path(request["path"]), request["wanted"]
    dialect = Dialect(**request["dialect"])
    has_lines = kind_of(path) in ("text", "json")
    counts = {"records": 0, "lines": 0, "bytes": 0, "header_lines": 0}
    schema = pa.schema(
        [("row", pa.int64()), ("line", pa.int64()), ("lines", pa.int32()), ("raw", pa.binary()),
         ("problem", pa.string()), *[(name, pa.string()) for name in wanted]]
    )  # fmt: skip
    nothing, headed, columns = [None] * len(wanted), False, set[str]()
    batch: list[tuple[Any, ...]] = []

    def flush() -> None:
        if batch:
            columns = [
                pa.array(v, t) for v, t in zip(zip(*batch, strict=True), schema.types, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
            batch.clear()

    with pq.ParquetWriter(
        request["out"], schema, compression="zstd", compression_level=1
    ) as writer:
        for values, problem, raw, lines, header in records(path, dialect, list(wanted.values())):
            line = counts["lines"] + 1
            counts["lines"] += lines
            counts["bytes"] += len(raw) if has_lines else 0
            if header:
                counts["header_lines"] += lines
                headed = headed or not problem
                columns.update(header_names(values))
                continue
            row = request["first_row"] + counts["records"]
            batch.append((row, line, lines, raw, problem or None, *(values or nothing)))
            counts["records"] += 1
            if len(batch) >= BATCH:
                flush()
        if not counts["records"]:
            if headed:
                raise DataError(f"{path}: a header but no record; export the file again")
            raise DataError(f"{path}: the file is empty; expected a header line and records")
        flush()
    lines, size = recount(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "file": path.name, "sha256": digest,
        "independent_lines": lines, "independent_bytes": size, **counts,
        "currencies": sorted(name for name in columns if is_currency(name)),
    }  # fmt: skip


def main() -> None:
    """Child process: a request on standard input, a JSON reply on standard output."""
    request = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY, CHILD_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CHILD_CPU_SECONDS, CHILD_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = request["path"]
    try:
        reply = draw(request) if "sample" in request else _write(request)
    except DataError as error:
        reply = {"error": str(error)}
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        reply = {"error": f"{path}: the gzip file is cut off or damaged ({error}); copy it again"}
    except BadZipFile as error:
        reply = {"error": f"{path}: the workbook is cut off or damaged ({error}); copy it again"}
    except (OSError, UnicodeError, LookupError, ValueError, expat.ExpatError) as error:
        reply = {"error": f"{path}: cannot be read: {type(error).__name__}: {error}"}
    except MemoryError:
        reply = {"error": f"{path}: reading it takes more than {CHILD_MEMORY >> 30} GiB of memory"}
    json.dump(reply, sys.stdout)


if __name__ == "__main__":
    main()

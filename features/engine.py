"""The engine behind every expression: DuckDB through Ibis, in process and locked down."""

import os
from pathlib import Path

import ibis
from ibis.backends.duckdb import Backend


def connect(*folders: Path, threads: int | None = None, memory: str | None = None) -> Backend:
    """A DuckDB backend that reaches ``folders`` and nothing else.

    No extension can be loaded, no other path opened, and neither setting undone. Threads and
    memory come from ``PERENNIAL_THREADS`` and ``PERENNIAL_MEMORY`` (such as ``1GB``) unless
    given: they are environment, not config, and change no result.
    """
    threads = threads or int(os.environ.get("PERENNIAL_THREADS") or os.cpu_count() or 1)
    memory = memory or os.environ.get("PERENNIAL_MEMORY") or "1GB"
    backend = ibis.duckdb.connect(threads=threads, memory_limit=memory)
    # Spill goes into the first folder, or nowhere; by default it is .tmp below the current folder.
    spill = str(folders[0]) if folders else ""
    backend.raw_sql(f"SET temp_directory = {_quoted(spill)}")
    allowed = ", ".join(_quoted(folder) for folder in folders)
    for setting in (
        f"allowed_directories = [{allowed}]",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        backend.raw_sql(f"SET {setting}")
    return backend


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"

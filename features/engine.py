"""The engine behind every expression: DuckDB through Ibis, in process and locked down."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import ibis
import ibis.expr.types as ir
import pyarrow as pa
from ibis.backends import BaseBackend
from ibis.backends.duckdb import Backend

Engine = Literal["duckdb", "spark"]


def connect(*folders: Path, threads: int | None = None, memory: str | None = None) -> Backend:
    """A DuckDB backend that reaches ``folders`` and nothing else.

    No extension can be loaded, no other path opened, and neither setting undone. Threads and
    memory come from ``PERENNIAL_THREADS`` and ``PERENNIAL_MEMORY`` (such as ``1GB``) unless
    given: they are environment, not config, and change no result.
    """
    threads = threads or available_threads()
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


def available_threads() -> int:
    """Threads to work with: ``PERENNIAL_THREADS``, else one per core."""
    return int(os.environ.get("PERENNIAL_THREADS") or os.cpu_count() or 1)


def _quoted(path: Path | str) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def keep(backend: BaseBackend, name: str, expression: ir.Table) -> ir.Table:
    """Compute ``expression`` now into the temporary table ``name``, replacing an older one."""
    if backend.name == "pyspark":
        from features.spark import keep_on_spark

        return keep_on_spark(backend, name, expression)
    return backend.create_table(name, expression, temp=True, overwrite=True)


def typed(backend: BaseBackend, expression: ir.Table) -> str:
    """The statement of ``expression``, with the types that it declares."""
    statement = str(backend.compile(expression))
    if backend.name == "pyspark":
        return statement
    # DuckDB adds integers up into wider ones.
    kinds = backend.compiler.type_mapper
    columns = ", ".join(
        f'CAST("{name}" AS {kinds.to_string(kind)}) AS "{name}"'
        for name, kind in expression.schema().items()
    )
    return f"SELECT {columns} FROM ({statement})"


def times(backend: BaseBackend, column: str, moments: Sequence[datetime]) -> str:
    """A statement that gives ``moments`` as rows."""
    kind = "TIMESTAMP_NTZ" if backend.name == "pyspark" else "TIMESTAMP"
    rows = (f"SELECT {kind} '{moment:%Y-%m-%d %H:%M:%S.%f}' AS {column}" for moment in moments)
    return " UNION ALL ".join(rows)


def make(backend: BaseBackend, name: str, statement: str) -> None:
    """Run ``statement`` into the temporary table ``name``, replacing an older one."""
    if backend.name == "pyspark":
        from features.spark import make_on_spark

        make_on_spark(backend, name, statement)
    else:
        backend.con.execute(f'CREATE OR REPLACE TEMP TABLE "{name}" AS {statement}')


def answer(backend: BaseBackend, statement: str) -> pa.Table:
    """The rows that ``statement`` gives."""
    if backend.name == "pyspark":
        return backend._session.sql(statement).toArrow()
    return backend.con.sql(statement).to_arrow_table()

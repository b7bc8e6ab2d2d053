"""Tables of databases -> JSON Lines files, which then go the way of every other raw file.

What is read is one snapshot: all tables of a database in one read-only transaction. The file is
named by its content, so an unchanged table is the same file, and a changed one leaves the old
beside it.
"""

import gzip
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import Field, model_validator

from features.errors import ConfigError, DataError
from features.raw_files import see_columns, text_of
from features.settings import Strict
from features.store import scratch, sync_folder

BATCH = 10_000
DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg",
           "mysql": "mysql+pymysql", "mariadb": "mysql+pymysql", "sqlite": "sqlite"}  # fmt: skip
"""Scheme of the URL -> SQLAlchemy's name of the driver that is used."""
EXTRAS = {"psycopg": "postgres", "pymysql": "mysql"}


class Database(Strict):
    """A table, or what a query gives, in SQLite, PostgreSQL or MySQL."""

    url_variable: str = Field(pattern="^[A-Z][A-Z0-9_]*$")
    """Environment variable that holds the URL, password and all; it stands nowhere else."""
    table: str | None = None
    """``table`` or ``schema.table``."""
    query: str | None = None
    """A SELECT, of which the declared columns are taken; ``:name`` stands for a bound value."""
    values: dict[str, str | int | float | bool | date | datetime] = {}
    """Values to bind in the query."""

    @model_validator(mode="after")
    def _one_place(self) -> "Database":
        if (self.table is None) == (self.query is None):
            raise ValueError("give exactly one of table and query")
        if self.values and self.query is None:
            raise ValueError("values are bound in a query")
        return self

    def __str__(self) -> str:
        return f"{self.table or 'a query'} at ${self.url_variable}"


def extract(
    wanted: Mapping[str, tuple[Database, Sequence[str]]], folder: Path
) -> dict[str, list[Path]]:
    """Write what each feed reads of its database to ``folder``.

    Parameters
    ----------
    wanted
        Feed -> where it is, and its columns.

    Returns
    -------
    dict
        Feed -> its file, ``<feed>-<hash of the content>.jsonl.gz``.

    Raises
    ------
    ConfigError
        If a variable is not set, its URL is of no known kind, or its driver is not installed.
    DataError
        If the database cannot be read, or gives another number of rows than it counts.
    """
    found = {}
    for variable in dict.fromkeys(database.url_variable for database, _ in wanted.values()):
        with _snapshot(variable) as connection:
            for feed, (database, columns) in wanted.items():
                if database.url_variable == variable:
                    found[feed] = [_written(connection, feed, database, columns, folder)]
    return {feed: found[feed] for feed in wanted}


@contextmanager
def _snapshot(variable: str) -> Iterator[Any]:
    """A connection within one read-only transaction."""
    import sqlalchemy as sa

    text = os.environ.get(variable)
    if not text:
        raise ConfigError(f"the environment variable {variable} holds no URL of a database")
    try:
        url = sa.make_url(text)
        driver = DRIVERS[url.drivername.partition("+")[0]]
    except (sa.exc.ArgumentError, KeyError):
        known = ", ".join(sorted(DRIVERS))
        raise ConfigError(
            f"${variable} is no URL of a database; expected kind://user:password@host/name "
            f"with one of the kinds {known}"
        ) from None
    try:
        if driver == "sqlite":
            engine = sa.create_engine("sqlite://", creator=lambda: _sqlite(url.database or ""))
        else:
            engine = sa.create_engine(url.set(drivername=driver))
    except ImportError as error:
        extra = EXTRAS.get(error.name or "", "")
        raise ConfigError(
            f"${variable}: reading {driver.partition('+')[0]} needs {error.name}: "
            f"pip install 'perennial[{extra}]'"
        ) from None
    try:
        with engine.connect() as connection:
            if driver.startswith("postgresql"):
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            elif driver.startswith("mysql"):
                connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")
                connection.commit()
            else:
                connection.exec_driver_sql("BEGIN")
            yield connection
    except (sa.exc.SQLAlchemyError, sqlite3.Error) as error:
        # The statement and its values stay out of the message.
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[:1]
        raise DataError(
            f"the database at ${variable} ({url.render_as_string(hide_password=True)}) cannot be "
            f"read: {''.join(said)}; nothing was loaded from it"
        ) from None
    finally:
        engine.dispose()


def _sqlite(path: str) -> sqlite3.Connection:
    """Read-only, so that a path that is not there does not become an empty database."""
    return sqlite3.connect(f"file:{quote(str(Path(path).absolute()))}?mode=ro", uri=True,
                           isolation_level=None)  # fmt: skip


def _written(
    connection: Any, feed: str, database: Database, columns: Sequence[str], folder: Path
) -> Path:
    """The declared columns in their order, which also orders the rows."""
    import sqlalchemy as sa

    names: list[Any] = [sa.column(sa.sql.quoted_name(name, quote=True)) for name in columns]
    place: Any
    if database.query is not None:
        query = database.query.strip().rstrip(";")
        place = sa.text(f"({query}) AS wanted").bindparams(**database.values)
    else:
        schema, _, table = (database.table or "").rpartition(".")
        place = sa.table(
            sa.sql.quoted_name(table, quote=True),
            schema=sa.sql.quoted_name(schema, quote=True) if schema else None,
        )
    # SQLite takes a quoted name that it does not know for a text, so what is there is asked first.
    header = connection.execute(sa.select(sa.text("*")).select_from(place).limit(0)).keys()
    see_columns(database, list(header), columns)
    rows = sa.select(*names).select_from(place).order_by(*names)
    seen = connection.execute(sa.select(sa.func.count()).select_from(place)).scalar_one()
    written, digest = 0, hashlib.sha256()
    with scratch(folder) as private:
        path = private / "rows"
        with (
            path.open("wb") as stream,
            gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
            connection.execute(rows, execution_options={"yield_per": BATCH}) as result,
        ):
            for part in result.partitions():
                lines = [
                    json.dumps(
                        dict(zip(columns, map(text_of, row), strict=True)), ensure_ascii=False
                    )
                    for row in part
                ]
                data = ("\n".join(lines) + "\n").encode()
                digest.update(data)
                packed.write(data)
                written += len(part)
        if written != seen:
            raise DataError(f"{database}: {written} rows were read, the database counts {seen}")
        if not written:
            raise DataError(f"{database}: no row; expected at least one for {feed}")
        final = folder / f"{feed}-{digest.hexdigest()[:16]}.jsonl.gz"
        with path.open("rb") as whole:
            os.fsync(whole.fileno())
        path.replace(final)
    sync_folder(folder)
    return final

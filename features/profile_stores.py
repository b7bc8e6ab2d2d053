"""Where profiles lie: a SQLite file by default; PostgreSQL or Redis by URL.

Each keeps the newest publication and the one before it, for readers that are just about to ask.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import unquote, urlsplit

from features.errors import ConfigError, DataError
from features.store import CURRENT, MANIFEST, current, publish

Packed = tuple[int, bytes, str | None]
"""Customer, numbers, words."""
Read = tuple[str, dict[str, Any], dict[int, tuple[bytes, str | None]]]
"""Key and facts of a publication, and what it holds of the customers asked about."""
Fill = Callable[[], Iterator[Packed]]
Opened = tuple[str, dict[str, Any], sqlite3.Connection]
FILE = "profiles.sqlite"
TRIES = 5
"""How often a reader follows a publication that is replaced while it asks."""


class ProfileStore(Protocol):
    """One place that holds profiles of one source."""

    def publish(self, key: str, facts: dict[str, Any], fill: Fill) -> None:
        """Make the profiles of ``fill`` the current ones, in one step."""
        ...

    def read(self, ids: Sequence[int]) -> Read:
        """The current publication, with the profiles of ``ids`` that it holds."""
        ...

    def close(self) -> None:
        """Give back what the calling thread holds."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_store(url: str, source: str) -> ProfileStore:
    """The store at ``url``: ``sqlite:///folder``, ``postgresql://...``, ``redis[s]://...``.

    Raises
    ------
    ConfigError
        If the URL is none of these, or its driver is not installed. URLs may hold passwords, so
        messages name the scheme alone.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "sqlite" if parts.path.startswith("/") and not parts.netloc:
            return SqliteStore(Path(unquote(parts.path[1:])), source)
        case "postgresql" | "postgres":
            from features.profile_servers import PostgresStore

            return PostgresStore(url, source)
        case "redis" | "rediss":
            from features.profile_servers import RedisStore

            return RedisStore(url, source)
    raise ConfigError(
        f"profile store {parts.scheme or '(no scheme)'!r}: expected sqlite:///<folder>, "
        "postgresql://..., redis://... or rediss://..."
    )


def nothing_published(source: str) -> DataError:
    """The error of a store that holds nothing of a source."""
    return DataError(
        f"no profiles of source {source!r} are published here; run `python -m features publish`"
    )


class Closing(ABC):
    """What can be closed is closed at the end of a ``with``."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Give back what the calling thread holds."""


# --- SQLite ---------------------------------------------------------------------------------


class SqliteStore(Closing):
    """An immutable file per publication below ``folder/<source>``; readers open it read-only.

    A changed pointer file tells readers of a new publication. Each thread has its own connection.
    """

    def __init__(self, folder: Path, source: str) -> None:
        self.root = folder / source
        self.source = source
        self._local = threading.local()

    def publish(self, key: str, facts: dict[str, Any], fill: Fill) -> None:
        """Write a new file, sync it and move the pointer."""

        def write(folder: Path) -> dict[str, Any]:
            with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
                connection.executescript(
                    "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA page_size = 8192;"
                    "CREATE TABLE profiles (customer_id INTEGER PRIMARY KEY, numbers BLOB NOT NULL,"
                    " words TEXT) STRICT;"
                )
                connection.executemany("INSERT INTO profiles VALUES (?, ?, ?)", fill())
                connection.commit()
            return facts

        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # publishers one after the other; freed by a kill
            before = current(self.root)
            made = publish(self.root, key, write)
            for folder in self.root.iterdir():
                kept = (made.folder, before.folder if before else made.folder)
                if (folder / MANIFEST).is_file() and folder not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def read(self, ids: Sequence[int]) -> Read:
        """Look the customers up in the current file."""
        key, facts, connection = self._opened()
        query = "SELECT numbers, words FROM profiles WHERE customer_id = ?"
        found = {}
        try:
            for customer in ids:
                if -(2**63) <= customer < 2**63:
                    row = connection.execute(query, (customer,)).fetchone()
                    if row is not None:
                        found[customer] = row
        except sqlite3.DatabaseError as error:
            raise DataError(f"{self.root / key / FILE}: cannot be read: {error}") from None
        return key, facts, found

    def close(self) -> None:
        """Close the calling thread's connection."""
        if hasattr(self._local, "opened"):
            self._local.opened[2].close()
            del self._local.opened, self._local.seen

    def _opened(self) -> Opened:
        local = self._local
        opened: Opened
        for _ in range(TRIES):
            try:
                stat = os.stat(self.root / CURRENT)
            except FileNotFoundError:
                raise nothing_published(self.source) from None
            seen = (stat.st_ino, stat.st_mtime_ns)
            if getattr(local, "seen", None) == seen:
                opened = local.opened
                return opened
            self.close()
            try:
                published = current(self.root)
                if published is None:
                    continue  # as below
                path = (published.folder / FILE).resolve()
                connection = sqlite3.connect(
                    f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False
                )
            except (DataError, sqlite3.OperationalError):
                continue  # replaced twice between the pointer and the file
            key, facts = published.manifest["key"], published.manifest["facts"]
            opened = (key, facts, connection)
            local.opened, local.seen = opened, seen
            return opened
        raise DataError(f"{self.root}: the publication that {CURRENT} names cannot be read")

"""The append-only record of what was registered, checked, decided and found when labels matured.

This record is the truth about approval; MLflow's aliases and tags mirror it. Each entry is one
SQLite transaction, carries the hash of the entry before it and is signed: decisions by the
reviewer, the rest by the place. So the last signature vouches for everything before it. Triggers
refuse updates and deletes.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from features.errors import DataError
from features.settings import Workspace, canonical
from training.keys import reviewer_key, signing_key, trusted_key, verifying_key

FILE = "record.db"
BUSY_SECONDS = 60

Event = Literal[
    "registered", "checked", "approved", "rejected", "rolled back", "expired", "matured"
]
MATURED: Event = "matured"
DECISIONS: tuple[Event, ...] = ("approved", "rejected", "rolled back", "expired")

_TABLE = """
CREATE TABLE IF NOT EXISTS record (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, event TEXT NOT NULL, model TEXT NOT NULL,
    version INTEGER NOT NULL, digest TEXT NOT NULL, actor TEXT NOT NULL, reason TEXT NOT NULL,
    evidence TEXT NOT NULL, previous TEXT NOT NULL, signature TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE
);
CREATE TRIGGER IF NOT EXISTS record_no_update BEFORE UPDATE ON record
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_no_delete BEFORE DELETE ON record
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
CREATE TRIGGER IF NOT EXISTS record_no_replace BEFORE INSERT ON record
WHEN EXISTS (SELECT 1 FROM record WHERE number = NEW.number OR hash = NEW.hash)
BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
"""


@dataclass(frozen=True)
class Entry:
    """One act: what happened to which version, by whom, why, and the evidence at hand."""

    number: int
    time: str
    event: Event
    model: str
    version: int
    digest: str
    """Digest of the version's bundle."""
    actor: str
    reason: str
    evidence: dict[str, Any]
    previous: str
    """Hash of the entry before it."""
    signature: str
    """Ed25519, in hex, over the fields above: by the actor of a decision, else by the place."""
    hash: str


class Record:
    """The record of a place's registry."""

    def __init__(self, place: Workspace) -> None:
        self.path, self.keys = place.registry / FILE, place.keys

    def append(
        self,
        event: Event,
        model: str,
        version: int,
        digest: str,
        actor: str,
        reason: str,
        evidence: dict[str, Any] | None = None,
        allow: Callable[[list[Entry]], None] | None = None,
    ) -> Entry:
        """Append one entry in one transaction.

        Parameters
        ----------
        allow
            Called inside the transaction with the model's entries so far; raises to refuse. What it
            saw cannot change before the entry is written.

        Raises
        ------
        ConfigError
            If a decision's actor has no key here.
        DataError
            If the record's chain is broken.
        """
        decides = event in DECISIONS
        key = reviewer_key(self.keys, actor) if decides else signing_key(self.keys)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            entries = self._read(connection)
            if allow is not None:
                allow([entry for entry in entries if entry.model == model])
            unsigned = Entry(
                number=len(entries) + 1,
                time=datetime.now(UTC).isoformat(timespec="microseconds"),
                event=event,
                model=model,
                version=version,
                digest=digest,
                actor=actor,
                reason=reason,
                evidence=evidence or {},
                previous=entries[-1].hash if entries else "",
                signature="",
                hash="",
            )
            signed = replace(unsigned, signature=key.sign(_signed(unsigned)).hex())
            entry = replace(signed, hash=_hash(signed))
            connection.execute(
                f"INSERT INTO record VALUES ({', '.join('?' * len(fields(Entry)))})",
                [canonical(v) if k == "evidence" else v for k, v in vars(entry).items()],
            )
            # Kept beside the rows, so that the last ones cannot be cut off unnoticed.
            connection.execute(f"PRAGMA user_version = {entry.number}")
        return entry

    def entries(self, model: str | None = None) -> list[Entry]:
        """All entries in order, of one model or of all.

        Raises
        ------
        DataError
            If an entry was changed or removed behind the record's back.
        """
        if not self.path.is_file():
            return []
        with self._connection() as connection:
            connection.execute("BEGIN")  # rows and their number are read from one moment
            return [e for e in self._read(connection) if model is None or e.model == model]

    def vouch(self, entry: Entry) -> None:
        """Check that who is said to have acted has signed the entry.

        Raises
        ------
        DataError
            If not, or if this place does not know that person's key.
        """
        decides = entry.event in DECISIONS
        key = trusted_key(self.keys, entry.actor) if decides else verifying_key(self.keys)
        if not signed_by(entry, key):
            raise DataError(
                f"{self.path}: entry {entry.number} is not signed by "
                f"{repr(entry.actor) if decides else 'this place'}; the record was written outside "
                "these commands, or PERENNIAL_KEYS_DIR is another place's: restore what was changed"
            )

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.executescript(_TABLE)
            yield connection
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise DataError(
                f"{self.path}: {error}; if it is locked, wait for the other command and try again"
            ) from None
        finally:
            connection.close()

    def _read(self, connection: sqlite3.Connection) -> list[Entry]:
        names = [field.name for field in fields(Entry)]
        entries: list[Entry] = []
        for row in connection.execute(f"SELECT {', '.join(names)} FROM record ORDER BY number"):
            values: dict[str, Any] = dict(zip(names, row, strict=True))
            number = len(entries) + 1
            previous = entries[-1].hash if entries else ""
            try:
                entry = Entry(**values | {"evidence": json.loads(values["evidence"])})
            except ValueError:
                raise self._broken(number) from None
            if (entry.number, entry.previous, entry.hash) != (number, previous, _hash(entry)):
                raise self._broken(number)
            entries.append(entry)
        if connection.execute("PRAGMA user_version").fetchone()[0] != len(entries):
            raise self._broken(len(entries) + 1)
        if entries:
            self.vouch(entries[-1])
        return entries

    def _broken(self, number: int) -> DataError:
        return DataError(
            f"{self.path}: entry {number} does not fit the chain; the record was changed "
            "outside these commands: restore it from its backup"
        )


def last_decision(entries: list[Entry], version: int) -> Entry | None:
    """What a reviewer decided last about a version, if anything was."""
    return next(
        (e for e in reversed(entries) if e.version == version and e.event in DECISIONS), None
    )


def champion(entries: list[Entry]) -> Entry | None:
    """The act that made the present champion of one model, or None.

    The last approval or rollback counts, unless that version was rejected afterwards: then the one
    before it stands again. After a champion expired nobody stands until somebody is approved.
    """
    standing: list[Entry] = []
    for entry in entries:
        if entry.event in ("approved", "rolled back"):
            standing.append(entry)
        elif entry.event == "rejected":
            standing = [e for e in standing if e.version != entry.version]
        elif entry.event == "expired" and standing and standing[-1].version == entry.version:
            standing = []
    return standing[-1] if standing else None


def signed_by(entry: Entry, key: Ed25519PublicKey) -> bool:
    """Whether the holder of ``key`` has signed the entry."""
    try:
        key.verify(bytes.fromhex(entry.signature), _signed(entry))
    except (InvalidSignature, ValueError):
        return False
    return True


def _signed(entry: Entry) -> bytes:
    """What a signature covers: every field before it."""
    covered = {k: v for k, v in vars(entry).items() if k not in ("signature", "hash")}
    return canonical(covered).encode()


def _hash(entry: Entry) -> str:
    """SHA-256 over every field but the hash itself."""
    sealed = {name: value for name, value in vars(entry).items() if name != "hash"}
    return hashlib.sha256(canonical(sealed).encode()).hexdigest()

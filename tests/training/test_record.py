"""The record: nothing is lost, nothing changed unnoticed, and one champion at most."""

import hashlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import DataError, NotApproved
from features.settings import canonical
from tests.worlds import ROOT
from training.record import DECISIONS, Entry, Event, Record, champion


def filled(folder: Path, n: int = 5) -> Record:
    """A record with ``n`` entries of one model, and one of another."""
    record = Record(folder)
    for k in range(n):
        record.append("registered", "churn", k + 1, f"digest-{k}", "pipeline", "a run", {"k": k})
    record.append("registered", "clv", 1, "other", "pipeline", "a run")
    return record


def sql(record: Record, *statements: str) -> None:
    """Run statements on the file, behind the record's back."""
    connection = sqlite3.connect(record.path, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


# --- what was appended is read -------------------------------------------------------------------


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    """Every field of every entry is read as it was written, of one model or of all."""
    record = Record(tmp_path / "registry")
    evidence = {"gates": [{"passed": True, "found": 0.5}], "text": 'quote " and ü\n'}
    first = record.append("registered", "churn", 1, "abc", "pipeline", "a run", evidence)
    second = record.append("approved", "churn", 1, "abc", "Ada", "good; better")
    third = record.append("registered", "clv", 1, "def", "pipeline", "a run")
    assert Record(tmp_path / "registry").entries() == [first, second, third]
    assert record.entries("churn") == [first, second]
    assert record.entries("nobody") == []
    assert [e.number for e in record.entries()] == [1, 2, 3]
    assert first.previous == ""
    assert (second.previous, third.previous) == (first.hash, second.hash)
    assert first.evidence == evidence
    assert first.time <= second.time <= third.time


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """A registry that is not there has no entries and is not made by asking."""
    assert Record(tmp_path / "registry").entries() == []
    assert not (tmp_path / "registry").exists()


# --- nothing is changed unnoticed ----------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET actor = 'Eve' WHERE number = 2",
        "DELETE FROM record WHERE number = 2",
        "DELETE FROM record",
        "REPLACE INTO record SELECT * FROM record WHERE number = 2",
        "INSERT OR REPLACE INTO record SELECT number, time, 'approved', model, version, digest, "
        "actor, reason, evidence, previous, 'x' FROM record WHERE number = 2",
    ],
)
def test_updates_and_deletes_are_refused(statement: str, tmp_path: Path) -> None:
    """The database itself refuses to change or remove an entry."""
    record = filled(tmp_path)
    before = record.entries()
    with pytest.raises(sqlite3.DatabaseError):
        sql(record, statement)
    assert record.entries() == before


UNGUARDED = tuple(f"DROP TRIGGER record_no_{change}" for change in ("update", "delete", "replace"))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE record SET event = 'approved' WHERE number = 3",
        "UPDATE record SET version = 9 WHERE number = 3",
        "UPDATE record SET digest = 'other' WHERE number = 1",
        "UPDATE record SET actor = 'Eve' WHERE number = 3",
        "UPDATE record SET reason = '' WHERE number = 3",
        "UPDATE record SET time = '2020-01-01' WHERE number = 3",
        "UPDATE record SET model = 'clv' WHERE number = 3",
        "UPDATE record SET evidence = '{\"k\":7}' WHERE number = 3",
        "UPDATE record SET evidence = 'no JSON' WHERE number = 3",
        "UPDATE record SET evidence = 5 WHERE number = 3",
        "UPDATE record SET hash = 'x' WHERE number = 6",
        "UPDATE record SET previous = '' WHERE number = 3",
        "UPDATE record SET number = 70 WHERE number = 3",
        "DELETE FROM record WHERE number = 1",
        "DELETE FROM record WHERE number = 3",
        "DELETE FROM record WHERE number = 6",
        "DELETE FROM record WHERE number > 2",
        "DELETE FROM record",
        "INSERT INTO record SELECT 7, time, 'approved', model, version, digest, actor, reason, "
        "evidence, hash, 'made up' FROM record WHERE number = 6",
    ],
)
def test_changes_behind_the_records_back_are_noticed(statement: str, tmp_path: Path) -> None:
    """With the triggers gone the chain still tells, on reading and before anything is appended."""
    record = filled(tmp_path)
    sql(record, *UNGUARDED, statement)
    with pytest.raises(DataError, match=r"record\.db.*outside these commands.*restore it"):
        record.entries()
    with pytest.raises(DataError, match="outside these commands"):
        record.append("approved", "churn", 1, "digest-0", "Ada", "good")


@pytest.mark.parametrize("column", [f.name for f in fields(Entry)])
def test_every_field_of_every_entry_is_sealed(column: str, tmp_path: Path) -> None:
    """Whatever entry and field is changed, the chain does not fit; changed back it fits again."""
    record = filled(tmp_path)
    for entry in record.entries():
        kept = f"(SELECT {column} FROM record WHERE number = {entry.number})"
        sql(record, "DROP TABLE IF EXISTS kept", f"CREATE TABLE kept AS SELECT {kept} AS was")
        change = f"UPDATE record SET {column} = 4711 WHERE number = {entry.number}"
        sql(record, *UNGUARDED, change)
        with pytest.raises(DataError, match="outside these commands"):
            record.entries()
        changed = "4711" if column == "number" else str(entry.number)
        back = f"UPDATE record SET {column} = (SELECT was FROM kept) WHERE number = {changed}"
        sql(record, *UNGUARDED, back)
        assert len(record.entries()) == 6


def test_an_entry_sealed_anew_does_not_fit_the_next(tmp_path: Path) -> None:
    """Changed with a hash that is right for itself, an entry breaks the chain behind it."""
    record = filled(tmp_path)
    third = record.entries()[2]
    changed = {k: v for k, v in vars(third).items() if k != "hash"} | {"actor": "Eve"}
    seal = hashlib.sha256(canonical(changed).encode()).hexdigest()
    sql(record, *UNGUARDED, f"UPDATE record SET actor = 'Eve', hash = '{seal}' WHERE number = 3")
    with pytest.raises(DataError, match="entry 4 does not fit the chain"):
        record.entries()


def test_a_file_that_is_no_record_is_a_clear_error(tmp_path: Path) -> None:
    """A truncated or foreign file is named, and not overwritten."""
    record = Record(tmp_path)
    record.path.write_bytes(b"something else" * 1_000)
    for use in (record.entries, lambda: record.append("approved", "m", 1, "d", "a", "r")):
        with pytest.raises(DataError, match=r"record\.db: file is not a database"):
            use()
    assert record.path.read_bytes() == b"something else" * 1_000


def test_a_lock_that_stays_is_a_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another command holding the record for too long is named with the remedy."""
    record = filled(tmp_path)
    monkeypatch.setattr("training.record.BUSY_SECONDS", 0.05)
    other = sqlite3.connect(record.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(DataError, match=r"locked.*wait for the other command"):
            record.append("approved", "churn", 1, "digest-0", "Ada", "good")
    finally:
        other.close()
    assert len(record.entries()) == 6


# --- deciding in one transaction -----------------------------------------------------------------


def test_a_refusal_leaves_no_entry(tmp_path: Path) -> None:
    """``allow`` sees the model's entries alone, and what it raises arrives with nothing written."""
    record = filled(tmp_path)
    before = record.entries()
    seen: list[list[Entry]] = []

    def refuse(entries: list[Entry]) -> None:
        seen.append(entries)
        raise NotApproved("no")

    with pytest.raises(NotApproved, match="^no$"):
        record.append("approved", "churn", 1, "digest-0", "Ada", "good", allow=refuse)
    assert seen == [record.entries("churn")]
    assert record.entries() == before
    record.append("approved", "churn", 1, "digest-0", "Ada", "good", allow=lambda _: None)
    assert len(record.entries()) == len(before) + 1


def test_what_allow_saw_cannot_change(tmp_path: Path) -> None:
    """While one decides, another's entry waits."""
    record = filled(tmp_path)

    def while_deciding(entries: list[Entry]) -> None:
        other = sqlite3.connect(record.path, timeout=0.05, isolation_level=None)
        try:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        finally:
            other.close()

    record.append("approved", "churn", 1, "digest-0", "Ada", "good", allow=while_deciding)


def test_of_many_promoters_one_wins(tmp_path: Path) -> None:
    """Eight promoters who saw the same champion: in each of five rounds one approval is written."""
    record = filled(tmp_path, n=8)

    def promote(version: int, expected: int) -> bool:
        def allow(entries: list[Entry]) -> None:
            standing = champion(entries)
            if (standing.number if standing else 0) != expected:
                raise NotApproved("another champion stands")

        try:
            record.append("approved", "churn", version, "d", "Ada", "good", allow=allow)
        except NotApproved:
            return False
        return True

    for _ in range(5):
        standing = champion(record.entries("churn"))
        expected = standing.number if standing else 0
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda v: promote(v, expected), range(1, 9)))  # noqa: B023
        assert won.count(True) == 1
        now = champion(record.entries("churn"))
        assert now is not None
        assert now.version == won.index(True) + 1


APPENDING = """
import sys
from pathlib import Path
from training.record import Record
record = Record(Path(sys.argv[1]))
for k in range(int(sys.argv[3])):
    record.append("checked", "churn", k, sys.argv[2], "tester", "at once")
"""


def test_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    """Four processes that start with no record at all: every entry is there, once, in a chain."""
    processes, each = 4, 15
    running = [
        subprocess.Popen(
            [sys.executable, "-c", APPENDING, str(tmp_path / "registry"), str(p), str(each)],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )
        for p in range(processes)
    ]  # fmt: skip
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said
    entries = Record(tmp_path / "registry").entries("churn")
    assert len(entries) == processes * each
    for p in range(processes):
        assert [e.version for e in entries if e.digest == str(p)] == list(range(each))


# --- the champion --------------------------------------------------------------------------------


def entry(number: int, event: Event, version: int) -> Entry:
    """An entry of which only event and version matter."""
    return Entry(number, "", event, "churn", version, f"digest-{version}", "", "", {}, "", "")


ACTS = st.tuples(st.sampled_from(["registered", "checked", *DECISIONS]), st.integers(1, 4))


@given(st.lists(ACTS, max_size=25))
def test_champion_is_the_last_one_put_up_and_not_rejected_since(
    acts: list[tuple[Event, int]],
) -> None:
    """Read backwards: the first approval or rollback of a version that no later act rejected."""
    entries = [entry(k, event, version) for k, (event, version) in enumerate(acts)]
    rejected: set[int] = set()
    expected = None
    for past in reversed(entries):
        if past.event == "rejected":
            rejected.add(past.version)
        elif past.event in ("approved", "rolled back") and past.version not in rejected:
            expected = past
            break
    assert champion(entries) == expected


def test_champion_by_hand() -> None:
    """Approved, approved, rejected: the first one stands again; rolled back: that one stands."""
    one, two = entry(1, "approved", 1), entry(2, "approved", 2)
    out, back = entry(3, "rejected", 2), entry(4, "rolled back", 1)
    assert champion([]) is None
    assert champion([entry(0, "registered", 1)]) is None
    assert champion([one, two]) == two
    assert champion([one, two, out]) == one
    assert champion([one, two, back]) == back
    assert champion([two, out]) is None

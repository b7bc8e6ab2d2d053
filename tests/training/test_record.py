"""The record: nothing is lost, nothing changed unnoticed, and one champion at most."""

import hashlib
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace, canonical
from tests.worlds import ROOT
from training.keys import add_reviewer, signing_key
from training.record import DECISIONS, Entry, Event, Record, champion


def at(folder: Path) -> Record:
    """The record of a registry in ``folder``, with its keys below."""
    keys = folder / "keys"
    return Record(Workspace(store=folder, registry=folder, keys=keys, data=None, configs=folder))


def filled(folder: Path, n: int = 5) -> Record:
    """A record with ``n`` entries of one model, and one of another; Ada may decide."""
    record = at(folder)
    add_reviewer(record.keys, "Ada")
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
    record = at(tmp_path / "registry")
    evidence = {"gates": [{"passed": True, "found": 0.5}], "text": 'quote " and ü\n'}
    add_reviewer(record.keys, "Ada")
    first = record.append("registered", "churn", 1, "abc", "pipeline", "a run", evidence)
    second = record.append("approved", "churn", 1, "abc", "Ada", "good; better")
    third = record.append("registered", "clv", 1, "def", "pipeline", "a run")
    assert at(tmp_path / "registry").entries() == [first, second, third]
    assert record.entries("churn") == [first, second]
    assert record.entries("nobody") == []
    assert [e.number for e in record.entries()] == [1, 2, 3]
    assert first.previous == ""
    assert (second.previous, third.previous) == (first.hash, second.hash)
    assert first.evidence == evidence
    assert first.time <= second.time <= third.time


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """A registry that is not there has no entries and is not made by asking."""
    assert at(tmp_path / "registry").entries() == []
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
        "actor, reason, evidence, previous, signature, 'x' FROM record WHERE number = 2",
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
        "evidence, hash, signature, 'made up' FROM record WHERE number = 6",
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


def resealed(entry: Entry, previous: str, signature: str) -> Entry:
    """The entry as somebody writes it who knows everything but the keys."""
    made = replace(entry, previous=previous, signature=signature, hash="")
    sealed = {k: v for k, v in vars(made).items() if k != "hash"}
    return replace(made, hash=hashlib.sha256(canonical(sealed).encode()).hexdigest())


def written(record: Record, entries: list[Entry]) -> None:
    """Write the entries over the file, with every guard of the database gone."""
    connection = sqlite3.connect(record.path, isolation_level=None)
    try:
        for statement in (*UNGUARDED, "DELETE FROM record"):
            connection.execute(statement)
        for one in entries:
            values = [canonical(v) if k == "evidence" else v for k, v in vars(one).items()]
            connection.execute(f"INSERT INTO record VALUES ({','.join('?' * 12)})", values)
        connection.execute(f"PRAGMA user_version = {len(entries)}")
    finally:
        connection.close()


@pytest.mark.parametrize("key", ["none", "another's", "the place's", "Eve's own"])
def test_a_decision_that_the_reviewer_did_not_sign_is_refused(key: str, tmp_path: Path) -> None:
    """A perfect chain with a decision made up at its end is no record, whoever else signs it."""
    record = filled(tmp_path)
    entries = record.entries()
    made_up = replace(
        entries[0], number=7, event="approved", actor="Ada", previous=entries[-1].hash
    )
    if key == "Eve's own":
        made_up = replace(made_up, actor="Eve")  # has a key, and nobody here trusts it
    keys = {
        "none": None,
        "another's": Ed25519PrivateKey.generate(),
        "the place's": signing_key(record.keys),
        "Eve's own": Ed25519PrivateKey.generate(),
    }
    covered = {k: v for k, v in vars(made_up).items() if k not in ("signature", "hash")}
    signer = keys[key]
    signature = signer.sign(canonical(covered).encode()).hex() if signer else ""
    written(record, [*entries, resealed(made_up, entries[-1].hash, signature)])
    with pytest.raises(DataError, match="entry 7 is not signed by 'Ada'|'Eve' is not trusted here"):
        record.entries()
    with pytest.raises(DataError, match="not signed|not trusted"):
        record.append("checked", "churn", 1, "d", "pipeline", "after it")


def test_the_last_signature_vouches_for_what_came_before(tmp_path: Path) -> None:
    """An early entry changed, with every later hash made right again, is noticed."""
    record = filled(tmp_path)
    forged: list[Entry] = []
    for one in record.entries():
        changed = replace(one, digest="other") if one.number == 2 else one
        forged.append(resealed(changed, forged[-1].hash if forged else "", one.signature))
    written(record, forged)
    with pytest.raises(DataError, match="entry 6 is not signed by this place"):
        record.entries()


def test_who_has_no_key_decides_nothing(tmp_path: Path) -> None:
    """The remedy is said, and nothing is written."""
    record = filled(tmp_path)
    with pytest.raises(ConfigError, match=r"'Eve' has no key here.*training reviewer 'Eve'"):
        record.append("approved", "churn", 1, "digest-0", "Eve", "good")
    assert len(record.entries()) == 6


def test_a_reviewers_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    """The second call leaves it; where only the public key is, nobody signs."""
    public = add_reviewer(tmp_path, "Ada")
    first = public.read_bytes()
    assert add_reviewer(tmp_path, "Ada").read_bytes() == first
    assert public.with_suffix(".key").stat().st_mode & 0o077 == 0
    public.with_suffix(".key").unlink()
    with pytest.raises(DataError, match="made elsewhere"):
        add_reviewer(tmp_path, "Ada")
    for odd in ("../Ada", "", "a/b", ".Ada"):
        with pytest.raises(ConfigError, match="a name has letters"):
            add_reviewer(tmp_path, odd)


def test_a_file_that_is_no_record_is_a_clear_error(tmp_path: Path) -> None:
    """A truncated or foreign file is named, and not overwritten."""
    record = at(tmp_path)
    record.path.write_bytes(b"something else" * 1_000)
    for use in (record.entries, lambda: record.append("checked", "m", 1, "d", "a", "r")):
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


@pytest.mark.parametrize("rounds", [5, pytest.param(200, marks=pytest.mark.slow)])
def test_of_many_promoters_one_wins(rounds: int, tmp_path: Path) -> None:
    """Sixteen promoters who saw the same champion: one approval a round, and the others are told.

    Nothing but a refusal reaches them, and no entry is lost.
    """
    many = 16
    record = filled(tmp_path, n=many)

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

    with ThreadPoolExecutor(many) as pool:
        for _ in range(rounds):
            standing = champion(record.entries("churn"))
            expected = standing.number if standing else 0
            won = list(pool.map(lambda v: promote(v, expected), range(1, many + 1)))  # noqa: B023
            assert won.count(True) == 1
            now = champion(record.entries("churn"))
            assert now is not None
            assert now.version == won.index(True) + 1
    assert len(record.entries()) == many + 1 + rounds


APPENDING = """
import sys
from pathlib import Path
from features.settings import Workspace
from training.record import Record
folder = Path(sys.argv[1])
place = Workspace(
    store=folder, registry=folder, keys=folder / "keys", data=None, configs=folder
)
record = Record(place)
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
    entries = at(tmp_path / "registry").entries("churn")
    assert len(entries) == processes * each
    for p in range(processes):
        assert [e.version for e in entries if e.digest == str(p)] == list(range(each))


# --- the champion --------------------------------------------------------------------------------


def entry(number: int, event: Event, version: int) -> Entry:
    """An entry of which only event and version matter."""
    return Entry(number, "", event, "churn", version, f"digest-{version}", "", "", {}, "", "", "")


ACTS = st.tuples(st.sampled_from(["registered", "checked", *DECISIONS]), st.integers(1, 4))


@given(st.lists(ACTS, max_size=25))
def test_champion_is_the_last_one_put_up_and_not_withdrawn_since(
    acts: list[tuple[Event, int]],
) -> None:
    """Read backwards: the first approval or rollback of a version that no later act rejected."""
    entries = [entry(k, event, version) for k, (event, version) in enumerate(acts)]
    assert champion(entries) == backwards(entries)


def backwards(entries: list[Entry]) -> Entry | None:
    """The champion, found from the end; what lies before the end of a champion's term is over."""
    rejected: set[int] = set()
    for k in range(len(entries) - 1, -1, -1):
        past = entries[k]
        if past.event == "rejected":
            rejected.add(past.version)
        elif past.event in ("approved", "rolled back") and past.version not in rejected:
            return past
        elif past.event == "expired":
            before = backwards(entries[:k])
            if before is not None and before.version == past.version:
                return None
    return None


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

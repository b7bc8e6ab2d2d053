"""Versions carried to another registry: whole and trusted, or refused with nothing left behind."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from tests.training.finished import MARKS, aliases, asked, settled, tags
from training import carry, review, versions
from training.keys import signing_key
from training.record import Record
from training.tracker import review_folder

pytestmark = MARKS


@pytest.fixture
def elsewhere(decided: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A place with keys of its own that trusts the place of the runs, and Ada."""
    place = settled(tmp_path / "elsewhere", monkeypatch)
    signing_key(place.keys)
    (place.keys / "places").mkdir()
    shutil.copy(decided.keys / "signing.pub", place.keys / "places" / "there.pub")
    shutil.copy(decided.keys / "reviewers" / "Ada.pub", place.keys / "reviewers" / "Ada.pub")
    return place


def test_a_version_arrives_whole_and_unapproved(
    decided: Workspace, elsewhere: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same digest, pack and numbers; a decision made there is told, and one has to be made here."""
    file = tmp_path / "churn-1.zip"
    with monkeypatch.context() as there:
        there.setenv("PERENNIAL_KEYS_DIR", str(decided.keys))
        told = asked("export", "churn", "--version", "1", "--out", str(file), *_at(decided))
    assert told.exit_code == 0, told.output
    found = asked("import", str(file))
    assert found.exit_code == 0, found.output
    assert "approved there by Ada: good enough (signature verified)" in found.stdout
    then = Record(decided).entries("churn")[0]
    (entry,) = Record(elsewhere).entries("churn")
    assert (entry.event, entry.version, entry.digest) == ("registered", 1, then.digest)
    assert entry.evidence["gates"] == then.evidence["gates"]
    assert entry.evidence["imported"] == {"from": "there", "version": 1, "entry": then.hash}
    assert aliases(elsewhere) == {"challenger": 1}
    assert tags(elsewhere, 1)["review"] == "pending"
    ours, theirs = (review_folder(p, "churn", 1) for p in (elsewhere, decided))
    names = sorted(p.relative_to(theirs) for p in theirs.rglob("*") if p.is_file())
    assert len(names) > 40
    assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)
    with pytest.raises(NotApproved, match="has no approved version"):
        versions.approved(elsewhere, "churn")
    again = asked("import", str(file))
    assert again.exit_code == 0
    assert len(Record(elsewhere).entries("churn")) == 1
    review.approve(elsewhere, "churn", 1, "Bob", "as they said")
    assert (
        versions.bundle_at(elsewhere, versions.approved(elsewhere, "churn").folder).replay() <= 1e-9
    )


def _at(place: Workspace) -> tuple[str, ...]:
    return ("--store", str(place.store), "--registry", str(place.registry))


def _changed(file: Path, name: str, data: bytes | None) -> None:
    with zipfile.ZipFile(file) as archive:
        files = {n: archive.read(n) for n in archive.namelist()}
    files |= {name: data} if data is not None else {}
    with zipfile.ZipFile(file, "w") as archive:
        for n, content in files.items():
            if n != name or data is not None:
                archive.writestr(n, content)


def _reworded(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        told = json.loads(archive.read("export.json"))
    for gate in told["entries"][0]["evidence"]["gates"]:
        gate["passed"] = True
    _changed(file, "export.json", json.dumps(told).encode())


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: _changed(f, "gates.json", b"[]"), "gates.json: missing or changed"),
        (lambda f: _changed(f, "bundle/model.ubj", None), "bundle/model.ubj: missing or changed"),
        (lambda f: _changed(f, "../more", b"x"), r"\.\./more: not in the statement"),
        (_reworded, "changed, or signed by a place that is not trusted here.*signing.pub"),
        (lambda f: _changed(f, "export.sig", bytes(64)), "not trusted here"),
        (lambda f: f.write_bytes(f.read_bytes()[:2000]), "not an export"),
        (lambda f: f.unlink(), "not an export"),
    ],
    ids=["pack", "bundle", "added", "statement", "signature", "cut off", "gone"],
)
def test_what_was_changed_on_the_way_is_refused(
    damage: Callable[[Path], None],
    said: str,
    decided: Workspace,
    elsewhere: Workspace,
    tmp_path: Path,
) -> None:
    """Named, with the remedy, and nothing is registered."""
    file = tmp_path / "churn-3.zip"
    carry.export(decided, "churn", 3, file)
    with pytest.raises(ConfigError, match="there already"):
        carry.export(decided, "churn", 3, file)
    damage(file)
    with pytest.raises(DataError, match=f"(?s){said}"):
        carry.import_(elsewhere, file)
    assert Record(elsewhere).entries() == []
    assert not (elsewhere.registry / "artifacts").exists()


def test_who_is_not_trusted_is_not_believed(
    decided: Workspace, elsewhere: Workspace, tmp_path: Path
) -> None:
    """A place without a key here is refused; a reviewer with another key here is an impostor."""
    file = tmp_path / "churn-1.zip"
    carry.export(decided, "churn", 1, file)
    shutil.copy(decided.keys / "reviewers" / "Bob.pub", elsewhere.keys / "reviewers" / "Ada.pub")
    with pytest.raises(DataError, match="by Ada: good enough: not signed by that person"):
        carry.import_(elsewhere, file)
    (elsewhere.keys / "places" / "there.pub").unlink()
    with pytest.raises(DataError, match="not trusted here"):
        carry.import_(elsewhere, file)
    assert Record(elsewhere).entries() == []

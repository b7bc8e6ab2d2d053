"""A person's decisions about versions, and a registry that was tampered with."""

import errno
import json
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from features.errors import ConfigError, DataError, NotApproved
from features.settings import Workspace
from tests.training.finished import (
    MARKS,
    aliases,
    asked,
    changed,
    said,
    tags,
)
from training import bundle as bundles
from training import mirror, notify, pack, review, versions
from training.keys import add_reviewer, verifying_key
from training.record import Record, champion
from training.tracker import bundle_folder, client, review_folder

pytestmark = MARKS


def test_a_notebook_gets_the_champions_answers(decided: Workspace) -> None:
    """``mlflow.pyfunc.load_model`` by alias answers as Python does, on the golden rows too."""
    import mlflow

    client(decided)
    notebook = mlflow.pyfunc.load_model("models:/churn@champion")
    approved = versions.approved(decided, "churn")
    loaded = bundles.load(approved.folder, verifying_key(decided.keys))
    assert (approved.version, approved.digest, approved.reviewer) == (1, loaded.digest, "Ada")
    assert loaded.golden is not None
    frame = pd.DataFrame(loaded.golden.X, columns=list(loaded.columns))
    found = notebook.predict(frame)
    assert len(found) > 100
    assert np.abs(found["churn_probability"] - loaded.golden.prediction).max() <= 1e-9
    assert np.abs(found["score"] - loaded.golden.score).max() <= 1e-9
    assert np.array_equal(found["score"], loaded.predict_frame(frame)["score"])


def test_approving_is_recorded_and_mirrored(undecided: Workspace) -> None:
    """An approval is an entry with who, why and the evidence; alias and tags say the same."""
    entry = review.approve(undecided, "churn", 1, "Grace", "beats the rule")
    last = Record(undecided).entries("churn")[-1]
    assert last == entry
    assert (last.event, last.version, last.actor, last.reason) == (
        "approved", 1, "Grace", "beats the rule",
    )  # fmt: skip
    assert last.evidence == {"failed_gates": [], "override": "", "release": False, "tree": "clean"}
    assert aliases(undecided) == {"champion": 1, "challenger": 2}
    found = tags(undecided, 1)
    assert (found["review"], found["reviewed_by"]) == ("approved", "Grace")
    assert (found["review_reason"], found["review_time"]) == ("beats the rule", entry.time)
    assert tags(undecided, 2)["review"] == "pending"


def test_an_override_is_kept_with_the_gates_it_overrides(decided: Workspace) -> None:
    """A failed gate is passed over by a written reason alone, which the record keeps."""
    with pytest.raises(NotApproved, match=r"(?s)1 gate\(s\) failed.*roc_auc floor: found 0\."):
        review.approve(decided, "churn", 3, "Ada", "good")
    entry = review.approve(decided, "churn", 3, "Ada", "good", override="the floor is a joke")
    assert entry.evidence["failed_gates"] == ["roc_auc floor"]
    assert entry.evidence["override"] == "the floor is a joke"
    assert aliases(decided) == {"champion": 3, "previous": 1}
    assert "the floor is a joke" not in review.show(decided, "churn", 1)
    assert "approved by Ada: good" in review.show(decided, "churn", 3)


def test_rollback_and_rejection(decided: Workspace) -> None:
    """Back to the version before, back again, and away with the champion: each is an entry."""
    review.approve(decided, "churn", 3, "Ada", "good", override="test")
    review.rollback(decided, "churn", 1, "Bob", "complaints")
    assert aliases(decided) == {"champion": 1, "previous": 3}
    assert (tags(decided, 1)["review"], tags(decided, 1)["reviewed_by"]) == ("rolled back", "Bob")
    review.rollback(decided, "churn", 3, "Ada", "they were wrong")
    assert aliases(decided) == {"champion": 3, "previous": 1}
    review.reject(decided, "churn", 3, "Eve", "biased")
    assert aliases(decided)["champion"] == 1
    assert aliases(decided).get("previous") is None  # the rejected one is nowhere to go back to
    assert tags(decided, 3)["review"] == "rejected"
    assert versions.approved(decided, "churn").version == 1
    with pytest.raises(NotApproved, match="version 3 was rejected by Eve"):
        versions.approved(decided, "churn", 3)
    with pytest.raises(NotApproved, match="was rejected by Eve"):
        review.rollback(decided, "churn", 3, "Ada", "please")
    review.reject(decided, "churn", 1, "Eve", "that one too")
    assert "champion" not in aliases(decided)
    before = Record(decided).entries()
    with pytest.raises(NotApproved, match=r"version 1 was rejected by Eve \(that one too\); run"):
        review.approve(decided, "churn", 1, "Ada", "back to the first")
    assert Record(decided).entries() == before
    with pytest.raises(NotApproved, match="has no approved version; look at one with"):
        versions.approved(decided, "churn")
    events = [e.event for e in Record(decided).entries("churn")][-5:]
    assert events == ["approved", "rolled back", "rolled back", "rejected", "rejected"]


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda p: review.approve(p, "churn", 1, "Ada", "again"), "is the champion already"),
        (lambda p: review.rollback(p, "churn", 1, "Ada", "again"), "is the champion already"),
        (lambda p: review.rollback(p, "churn", 3, "Ada", "why not"), "has not been reviewed"),
        (
            lambda p: review.approve(p, "churn", 2, "Ada", "old", override="x"),
            r"judged against another champion than the present one \(version 1\).*run its pipeline",
        ),
        (
            lambda p: review.approve(p, "churn", 3, "Ada", "x", override="x", release=True),
            "its tree is unknown; commit, run again and release that version",
        ),
        (lambda p: versions.approved(p, "churn", 2), "has not been reviewed.*approve churn"),
    ],
    ids=["approve champion", "roll back to champion", "roll back to undecided", "stale champion",
         "release of unknown", "use undecided"],
)  # fmt: skip
def test_what_may_not_be_done_is_refused(act: Any, said: str, decided: Workspace) -> None:
    """Refused with the reason and the remedy, and the record and MLflow stay as they were."""
    before, standing = Record(decided).entries(), aliases(decided)
    with pytest.raises(NotApproved, match=f"(?s){said}"):
        act(decided)
    assert Record(decided).entries() == before
    assert aliases(decided) == standing


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda p: review.approve(p, "clv", 1, "Ada", "x"), r"no model 'clv'.*known: \['churn'\]"),
        (lambda p: review.show(p, "clv"), "no model 'clv'"),
        (lambda p: versions.approved(p, "clv"), "no model 'clv'"),
        (lambda p: review.approve(p, "churn", 9, "Ada", "x"), r"no version 9.*\[1, 2, 3\]"),
        (lambda p: review.reject(p, "churn", 9, "Ada", "x"), "no version 9"),
        (lambda p: review.rollback(p, "churn", 9, "Ada", "x"), "no version 9"),
        (lambda p: review.approve(p, "churn", 3, " ", "good", "x"), "--reviewer NAME and --reason"),
        (lambda p: review.approve(p, "churn", 3, "Ada", "", "x"), "--reviewer NAME and --reason"),
        (lambda p: review.reject(p, "churn", 3, "", "bad"), "--reviewer NAME and --reason"),
        (lambda p: review.rollback(p, "churn", 3, "Ada", "\n"), "--reviewer NAME and --reason"),
    ],
)
def test_what_does_not_exist_is_named(act: Any, said: str, decided: Workspace) -> None:
    """An unknown model or version, no reviewer or no reason: what is there, or what is needed."""
    before = Record(decided).entries()
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        act(decided)
    assert Record(decided).entries() == before


def test_a_release_comes_from_the_committed_code(undecided: Workspace) -> None:
    """From a clean tree it may be released; from a changed one it may not, override or no."""
    with pytest.raises(NotApproved, match="its tree is changed; commit, run again"):
        review.approve(undecided, "churn", 2, "Ada", "x", override="x", release=True)
    entry = review.approve(undecided, "churn", 1, "Ada", "good", release=True)
    assert entry.evidence["release"] is True


def test_the_tree_is_read_from_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean, changed by an edit, changed by a new file, and unknown without a history."""
    monkeypatch.setattr(pack, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert pack.code_state()["tree"] == "unknown"

    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            cwd=tmp_path, check=True, capture_output=True,
        )  # fmt: skip

    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "x.py").write_text("1\n")
    git("init")
    assert pack.code_state()["tree"] == "unknown"  # no commit yet
    git("add", "training")
    git("commit", "-m", "one")
    state = pack.code_state()
    assert state["tree"] == "clean"
    assert re.fullmatch(r"[0-9a-f]{40}", state["commit"])
    (tmp_path / "notes.txt").write_text("beside the code\n")
    assert pack.code_state()["tree"] == "clean"
    (tmp_path / "training" / "new.py").write_text("2\n")
    assert pack.code_state()["tree"] == "changed"
    (tmp_path / "training" / "new.py").unlink()
    (tmp_path / "training" / "x.py").write_text("3\n")
    assert pack.code_state() == {"commit": state["commit"], "tree": "changed"}


@pytest.mark.parametrize("damage", ["flipped", "missing", "another version's", "all of another's"])
def test_tampered_artifacts_are_refused(damage: str, decided: Workspace) -> None:
    """Approving, serving and judging against changed, missing or exchanged files is refused."""
    folder, other = bundle_folder(decided, "churn", 1), bundle_folder(decided, "churn", 3)
    booster = folder / "model.ubj"
    data = bytearray(booster.read_bytes())
    data[len(data) // 2] ^= 1
    exchanged = {p.name: (other / p.name).read_bytes() for p in other.iterdir()}
    damages: dict[str, dict[str, bytes | None]] = {
        "flipped": {"model.ubj": bytes(data)},
        "missing": {"model.ubj": None},
        "another version's": {"model.ubj": exchanged["model.ubj"]},
        "all of another's": dict(exchanged),
    }
    before = Record(decided).entries()
    with _all_changed(folder, damages[damage]):
        wanted = "artifacts were exchanged" if damage == "all of another's" else "model.ubj"
        with pytest.raises(DataError, match=wanted):
            versions.approved(decided, "churn")
        with pytest.raises(DataError, match=wanted):
            versions.bundle_of(decided, before[0])
        with pytest.raises(DataError, match=wanted):
            review.approve(decided, "churn", 1, "Ada", "good")
        import mlflow

        if damage != "all of another's":
            with pytest.raises(DataError, match="not what was signed"):
                mlflow.pyfunc.load_model("models:/churn@champion")
    assert Record(decided).entries() == before
    assert versions.approved(decided, "churn").version == 1


@contextmanager
def _all_changed(folder: Path, files: dict[str, bytes | None]) -> Iterator[None]:
    if not files:
        yield
        return
    (name, data), *rest = files.items()
    with changed(folder / name, data), _all_changed(folder, dict(rest)):
        yield


def test_a_term_that_ends_leaves_nobody_standing(decided: Workspace) -> None:
    """The one before does not come back by itself; a version that is not champion has no term."""
    with pytest.raises(NotApproved, match=r"version 3 is not the champion \(version 1 is\)"):
        review.expire(decided, "churn", 3, "Eve", "a year old")
    review.expire(decided, "churn", 1, "Eve", "a year old")
    assert "champion" not in aliases(decided)
    assert tags(decided, 1)["review"] == "expired"
    with pytest.raises(NotApproved, match="has no approved version"):
        versions.approved(decided, "churn")
    with pytest.raises(NotApproved, match="version 1 was declared expired by Eve"):
        review.rollback(decided, "churn", 1, "Ada", "please")
    review.approve(decided, "churn", 1, "Ada", "for another year")
    assert versions.approved(decided, "churn").version == 1


def test_in_a_team_nobody_approves_their_own(
    decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who ran the pipeline is in the record; rejecting one's own is allowed."""
    author = Record(decided).entries("churn")[0].evidence["author"]
    add_reviewer(decided.keys, author)
    monkeypatch.setenv(review.TEAM, "1")
    with pytest.raises(NotApproved, match="somebody else of the team has to approve it"):
        review.approve(decided, "churn", 3, author, "good", override="x")
    review.approve(decided, "churn", 3, "Ada", "good", override="x")
    review.reject(decided, "churn", 3, author, "my mistake")


def test_a_hook_hears_of_decisions_and_undoes_none(
    decided: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets the entry as JSON; that it fails is said and changes nothing."""
    heard = tmp_path / "heard.json"
    monkeypatch.setenv(notify.HOOK, f"tee {heard}")
    entry = review.approve(decided, "churn", 3, "Ada", "good", override="x")
    told = json.loads(heard.read_text())
    assert (told["event"], told["version"], told["hash"]) == ("approved", 3, entry.hash)
    for command, problem in (("false", "ended with code 1"), ("/no/such", "did not run")):
        monkeypatch.setenv(notify.HOOK, command)
        standing = champion(Record(decided).entries("churn"))
        assert standing is not None
        other = {1: 3, 3: 1}[standing.version]
        with said() as lines:
            review.rollback(decided, "churn", other, "Ada", "to and fro")
        assert any(problem in line for line in lines)
        assert versions.approved(decided, "churn").version == other


def test_gates_that_were_doctored_do_not_help(decided: Workspace) -> None:
    """The gates of the record count: those in the pack, made to look passed, change nothing."""
    file = review_folder(decided, "churn", 3) / "gates.json"
    gates = json.loads(file.read_text())
    doctored = json.dumps([g | {"passed": True} for g in gates]).encode()
    for data in (doctored, b"[]"):
        with changed(file, data), pytest.raises(NotApproved, match="roc_auc floor"):
            review.approve(decided, "churn", 3, "Ada", "all green")
    assert champion(Record(decided).entries("churn")).version == 1  # type: ignore[union-attr]


def test_each_gate_failed_alone_is_refused(undecided: Workspace) -> None:
    """Whichever it is: named, and nobody stands."""
    entry = Record(undecided).entries("churn")[0]
    gates = entry.evidence["gates"]
    assert len(gates) > 5
    assert all(gate["passed"] for gate in gates)
    for failing in gates:
        found = [gate | {"passed": gate is not failing} for gate in gates]
        Record(undecided).append(
            "registered",
            "churn",
            1,
            entry.digest,
            "pipeline",
            "x",
            entry.evidence | {"gates": found},
        )
        with pytest.raises(
            NotApproved, match=rf"(?s)1 gate\(s\) failed.*{re.escape(failing['gate'])}"
        ):
            review.approve(undecided, "churn", 1, "Ada", "good")
    assert champion(Record(undecided).entries("churn")) is None
    assert "champion" not in aliases(undecided)


def test_a_champion_set_in_mlflows_database_is_none(undecided: Workspace) -> None:
    """Rows written by SQL, past MLflow's own interface: nothing is served, and it is put back."""
    connection = sqlite3.connect(undecided.registry / "mlflow.db")
    connection.execute(
        "INSERT INTO registered_model_aliases (alias, version, name, workspace) "
        "SELECT 'champion', 2, name, workspace FROM registered_models"
    )
    connection.commit()
    connection.close()
    assert aliases(undecided)["champion"] == 2
    with pytest.raises(NotApproved, match="has no approved version"):
        versions.approved(undecided, "churn")
    repaired = mirror.mirror(undecided, "churn")
    assert repaired == ["alias champion stood at 2, the record says nothing"]
    assert "champion" not in aliases(undecided)


def test_a_version_registered_by_hand_is_no_version(decided: Workspace) -> None:
    """It has no pack and no entry: nobody can look at it, approve it or have it served."""
    api = client(decided)
    source = api.get_model_version("churn", "1").source
    made = int(api.create_model_version("churn", source).version)
    for act in (
        lambda: review.show(decided, "churn", made),
        lambda: review.approve(decided, "churn", made, "Ada", "good", override="x"),
        lambda: versions.approved(decided, "churn", made),
    ):
        with pytest.raises(ConfigError, match=f"no version {made} with a review pack"):
            act()


def test_newest_entries_that_were_cut_off_are_missed(decided: Workspace) -> None:
    """Rows and their count gone together: the chain is whole, but MLflow has seen more."""
    review.reject(decided, "churn", 1, "Ada", "complaints")
    file = decided.registry / "record.db"
    connection = sqlite3.connect(file, isolation_level=None)
    number = connection.execute("SELECT max(number) FROM record").fetchone()[0]
    connection.execute("DROP TRIGGER record_no_delete")
    connection.execute("DELETE FROM record WHERE number = ?", [number])
    connection.execute(f"PRAGMA user_version = {number - 1}")
    connection.close()
    assert champion(Record(decided).entries("churn")) is not None  # as if nobody had rejected it
    for act in (
        lambda: versions.approved(decided, "churn"),
        lambda: review.approve(decided, "churn", 3, "Ada", "x", override="x"),
        lambda: mirror.mirror(decided, "churn"),
    ):
        with pytest.raises(DataError, match="MLflow has seen an entry .*were cut off"):
            act()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/store/x"),
            "/store/x: no space is left",
        ),
        (
            PermissionError(errno.EACCES, "denied", "/store/y"),
            "/store/y: may not be read or written",
        ),
        (sqlite3.OperationalError("database is locked"), "does not answer .*database is locked"),
        (MlflowException("gone away"), "does not answer .*gone away"),
    ],
    ids=["disk full", "not allowed", "locked", "tracker"],
)
def test_trouble_of_the_machine_is_one_clear_error(
    error: Exception, said: str, decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Code 2, one line and the remedy; nothing is decided."""
    before = Record(decided).entries()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(review, "mirror", fail)
    found = asked(
        "approve",
        "churn",
        "--version",
        "3",
        "--reviewer",
        "Ada",
        "--reason",
        "x",
        "--override",
        "x",
    )
    assert found.exit_code == 2
    assert re.fullmatch(rf"error: .*{said}.*run the same command again\n", found.stderr)
    assert Record(decided).entries() == before


def test_a_registry_that_was_moved_is_a_clear_error(decided: Workspace, tmp_path: Path) -> None:
    """Artifacts are where MLflow says they are, or the message says which are not."""
    moved = tmp_path / "moved"
    shutil.copytree(decided.registry, moved)
    connection = sqlite3.connect(moved / "mlflow.db")
    for table, column in (("runs", "artifact_uri"), ("logged_models", "artifact_location")):
        connection.execute(f"UPDATE {table} SET {column} = replace({column}, 'artifacts', 'old')")
    connection.commit()
    connection.close()
    place = decided.model_copy(update={"registry": moved})
    for act in (
        lambda: versions.approved(place, "churn"),
        lambda: review.show(place, "churn"),
        lambda: review.approve(place, "churn", 3, "Ada", "x", override="x"),
    ):
        with pytest.raises(DataError, match="cannot be read.*restore the registry folder"):
            act()


@pytest.mark.parametrize("evidence", [{}, {"gates": []}, {"gates_passed": True}])
def test_a_version_without_gate_results_is_refused(
    evidence: dict[str, Any], decided: Workspace
) -> None:
    """No results are not passed results."""
    Record(decided).append("registered", "churn", 4, "d", "pipeline", "a run", evidence)
    with pytest.raises(NotApproved, match="version 4 has no gate results.*run its pipeline again"):
        review.approve(decided, "churn", 4, "Ada", "good", override="x")


def test_a_lost_review_pack_is_a_clear_error(decided: Workspace) -> None:
    """Nobody approves what cannot be looked at."""
    file = review_folder(decided, "churn", 3) / "gates.json"
    with (
        changed(file, None),
        pytest.raises(DataError, match="its review pack cannot be read.*nothing was decided"),
    ):
        review.approve(decided, "churn", 3, "Ada", "good", override="x")


def test_a_lost_tracking_database_is_a_clear_error(decided: Workspace, tmp_path: Path) -> None:
    """With MLflow's database gone no decision is made, and the message says what to restore."""
    registry = tmp_path / "halved"
    registry.mkdir()
    shutil.copy(decided.registry / "record.db", registry)
    halved = decided.model_copy(update={"registry": registry})
    before = Record(halved).entries()
    for act in (
        lambda: review.approve(halved, "churn", 3, "Ada", "good", override="x"),
        lambda: review.reject(halved, "churn", 1, "Ada", "bad"),
        lambda: versions.approved(halved, "churn"),
        lambda: review.show(halved, "churn"),
    ):
        with pytest.raises(DataError, match="restore the registry folder from its backup"):
            act()
    assert Record(halved).entries() == before


def test_a_hand_moved_alias_is_noticed_and_repaired(decided: Workspace) -> None:
    """An alias set in MLflow decides nothing; the next decision says what was repaired."""
    api = client(decided)
    api.set_registered_model_alias("churn", "champion", "3")
    assert versions.approved(decided, "churn").version == 1
    moved = ["alias champion stood at 3, the record says 1"]
    assert mirror.misplaced(decided, "churn") == moved
    assert mirror.mirror(decided, "churn") == moved
    assert mirror.misplaced(decided, "churn") == []
    assert aliases(decided)["champion"] == 1
    assert mirror.mirror(decided, "churn") == []
    api.delete_registered_model_alias("churn", "champion")
    with said() as lines:
        review.approve(decided, "churn", 3, "Ada", "good", override="x")
    assert any("alias champion stood at nothing, the record says 1" in line for line in lines)
    assert aliases(decided)["champion"] == 3


def test_hand_set_tags_are_noticed_and_repaired(decided: Workspace) -> None:
    """Tags that claim a decision nobody made, or another reviewer, are put right."""
    api = client(decided)
    api.set_model_version_tag("churn", "1", "reviewed_by", "Mallory")
    api.set_model_version_tag("churn", "2", "review", "approved")
    assert mirror.mirror(decided, "churn") == [
        "version 1: tag reviewed_by",
        "version 2: tag review",
    ]
    assert tags(decided, 1)["reviewed_by"] == "Ada"
    assert tags(decided, 2)["review"] == "pending"


def test_a_tampered_record_stops_everything(decided: Workspace) -> None:
    """An approval written past the commands is noticed before anything is served or decided."""
    connection = sqlite3.connect(decided.registry / "record.db", isolation_level=None)
    connection.execute("DROP TRIGGER record_no_update")
    connection.execute("UPDATE record SET event = 'approved' WHERE version = 3")
    connection.close()
    for act in (
        lambda: versions.approved(decided, "churn"),
        lambda: review.show(decided, "churn"),
        lambda: review.reject(decided, "churn", 3, "Ada", "x"),
        lambda: mirror.mirror(decided, "churn"),
    ):
        with pytest.raises(DataError, match="does not fit the chain"):
            act()

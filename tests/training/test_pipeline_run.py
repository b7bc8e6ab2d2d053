"""Whole runs on a small simulated source: what they leave behind, and a person's decisions.

Three versions are made once. Version 1 comes from a run that was killed and taken up again,
version 2 from another seed with a gate that nothing passes, version 3 is version 2's model judged
anew after version 1 became champion. Each test decides on its own copy of the registry.
"""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from features.errors import ConfigError, DataError, NotApproved
from features.progress import Progress
from features.settings import Workspace
from features.store import Published
from tests.worlds import CONFIGS, ROOT, good, write_raw
from training import bundle as bundles
from training import pack, pipeline, review, tune
from training.record import Record, champion
from training.runs import run
from training.supervised import family, learn
from training.supervised import pack as supervised_pack
from training.track import bundle_folder, client, review_folder

STAGES = (*pipeline.PREPARING, *family.FAMILY.stages)

pytestmark = [
    pytest.mark.filterwarnings(line)
    for line in (
        "ignore::PendingDeprecationWarning:shap.*",
        "ignore::sqlalchemy.exc.SADeprecationWarning:mlflow.*",
        "ignore:.*Any type hint is inferred as AnyType:UserWarning",
        "ignore:Operation with range:pandas.errors.Pandas4Warning",
    )
]

PIPELINE: dict[str, Any] = {
    "name": "churn",
    "data": "simulated",
    "source": {
        "simulate.customers": 500, "simulate.days": 800, "simulate.tables": ["order_lines"],
    },
    "task": {"use": "churn.Churn", "config": {"horizon_days": 60, "active_within_days": 365}},
    "cutoffs": {
        "test": "end-60d", "latest": "end-120d", "every_days": 60, "count": 5, "folds": 2,
        "fold_steps": 1, "history_days": 60,
    },
    "features": [{"use": "rfm.Rfm"}],
    "model": {
        "use": "gbm.Gbm",
        "config": {"trees": 20, "max_depth": 2, "learning_rate": 0.2, "min_child_weight": 5},
    },
    "baselines": [{"use": "recency.Recency"}, {"use": "logistic.Logistic"}],
    "search": {
        "trials": 4,
        "metric": "average_precision",
        "space": {"max_depth": [2, 4], "min_child_weight": [1, 30, "log"]},
    },
    "gates": {"roc_auc": {"min": 0.5, "champion_margin": 0.5}},
    "bootstrap": 20,
    "card": {
        "owner": "us", "purpose": "to test", "users": "testers", "misuse": "nothing else",
        "limits": "few customers",
    },
}  # fmt: skip
ANOTHER = ("seed=8", "gates.roc_auc.min=0.999")
TREES = ("clean", "changed", "unknown")
"""The state of the tree that versions 1, 2 and 3 are said to come from."""
PIXEL = b"\x89PNG\r\n\x1a\n"
VARIABLES = {
    "PERENNIAL_STORE": "store",
    "PERENNIAL_REGISTRY": "registry",
    "PERENNIAL_KEYS_DIR": "keys",
    "XDG_CONFIG_HOME": "config",
}


class Killed(BaseException):
    """Nothing that code would catch."""


@contextmanager
def said() -> Iterator[list[str]]:
    """What the program says while it runs."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("perennial")
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def settled(folder: Path, patched: pytest.MonkeyPatch) -> Workspace:
    """The workspace below ``folder``, in the environment too."""
    for variable, name in VARIABLES.items():
        patched.setenv(variable, str(folder / name))
    return Workspace.locate(configs=CONFIGS)


def planned(place: Workspace, *assignments: str) -> pipeline.Plan:
    """The pipeline with ``--set`` assignments."""
    path = place.store.parent / "churn.yaml"
    path.write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    return pipeline.load_plan(place, path, assignments)


def started(place: Workspace, *arguments: str) -> subprocess.Popen[str]:
    """``python -m training`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "training", *arguments], cwd=ROOT, text=True, env={**os.environ},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def killed_at(place: Workspace, line: str) -> list[str]:
    """Run the pipeline and kill it when it says ``line``; return what it had said."""
    planned(place)
    process = started(place, "run", str(place.store.parent / "churn.yaml"))
    assert process.stderr is not None
    heard = []
    for text in process.stderr:
        heard.append(text)
        if line in text:
            process.kill()
            break
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, "".join(heard)
    return heard


def coded(tree: str) -> dict[str, str]:
    """The state of the code that a version is said to come from."""
    return {"commit": f"commit-{tree}", "tree": tree}


class Runs:
    """Three registered versions, and what was said and left on the way."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with pytest.MonkeyPatch.context() as patched:
            self.place = settled(folder, patched)
            self.heard_before_the_kill = killed_at(self.place, "trial 2/4")
            self.entries_after_the_kill = Record(self.place.registry).entries()
            self.one, self.said_on_resuming = self.run(patched, "clean")

            patched.setattr(Figure, "savefig", lambda _, path, **__: path.write_bytes(PIXEL))
            with pytest.MonkeyPatch.context() as dying:
                dying.setattr(Record, "append", self.die)
                with pytest.raises(Killed):
                    self.run(patched, "changed", *ANOTHER)
            self.entries_before_the_record = Record(self.place.registry).entries()
            self.two, self.said_at_the_record = self.run(patched, "changed", *ANOTHER)

            self.before = folder / "before-any-decision"
            shutil.copytree(self.place.registry, self.before, ignore=_artifacts)
            review.approve(self.place, "churn", 1, "Ada", "good enough")
            self.three, _ = self.run(patched, "unknown", *ANOTHER)
            self.after = folder / "with-a-champion"
            shutil.copytree(self.place.registry, self.after, ignore=_artifacts)

    def run(self, patched: pytest.MonkeyPatch, tree: str, *assignments: str) -> Any:
        """Run the pipeline; what it left and what it said."""
        patched.setattr(pack, "code_state", lambda: coded(tree))
        with said() as lines:
            return run(self.place, planned(self.place, *assignments)), lines

    @staticmethod
    def die(*_: object, **__: object) -> None:
        """A power cut."""
        raise Killed


def _artifacts(folder: str, names: list[str]) -> set[str]:
    """Artifacts stay where the databases say they are."""
    return {"artifacts"} & set(names)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The three versions, made once."""
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def place(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Store and keys of the runs, with a copy of the registry: version 1 is champion."""
    settled(runs.folder, monkeypatch)
    registry = shutil.copytree(runs.after, tmp_path / "registry")
    monkeypatch.setenv("PERENNIAL_REGISTRY", str(registry))
    return Workspace.locate(configs=CONFIGS)


@pytest.fixture
def undecided(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The same as it was before any decision: versions 1 and 2, no champion."""
    registry = shutil.copytree(runs.before, tmp_path / "undecided")
    monkeypatch.setenv("PERENNIAL_REGISTRY", str(registry))
    return Workspace.locate(configs=CONFIGS)


@contextmanager
def changed(path: Path, data: bytes | None) -> Iterator[None]:
    """A file with other bytes, or without the file; put back afterwards."""
    before = path.read_bytes()
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def aliases(place: Workspace) -> dict[str, int]:
    """MLflow's aliases of the model."""
    found = client(place).get_registered_model("churn").aliases
    return {name: int(version) for name, version in found.items()}


def tags(place: Workspace, version: int) -> dict[str, str]:
    """MLflow's tags of a version."""
    return dict(client(place).get_model_version("churn", str(version)).tags)


# --- what a run leaves behind --------------------------------------------------------------------


def test_versions_are_numbered_and_recorded(runs: Runs, place: Workspace) -> None:
    """Three runs, three versions; the record holds each with what it was held against."""
    assert [runs.one.version, runs.two.version, runs.three.version] == [1, 2, 3]
    registered = [e for e in Record(place.registry).entries("churn") if e.event == "registered"]
    assert [e.version for e in registered] == [1, 2, 3]
    assert [e.evidence["code"]["tree"] for e in registered] == list(TREES)
    one, two, three = registered
    assert one.digest != two.digest == three.digest  # the third is the second, judged anew
    assert [e.evidence["against_champion"] for e in registered] == ["", "", one.digest]
    assert [e.evidence["gates_passed"] for e in registered] == [True, False, False]
    assert aliases(place) == {"champion": 1, "challenger": 3}


def test_a_killed_run_goes_on_and_ends_the_same(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in its search, the rerun goes on there and ends as an undisturbed run does."""
    assert runs.entries_after_the_kill == []
    assert any("trial 1/4" in line for line in runs.heard_before_the_kill)
    text = "\n".join(runs.said_on_resuming)
    assert "tables: already done with the same inputs" in text
    assert "features: already done with the same inputs" in text
    assert "trial 1/4" not in text
    assert "trial 4/4" in text
    # On one thread and in another folder, from the raw files on, with the same keys.
    monkeypatch.setenv("PERENNIAL_THREADS", "1")
    elsewhere = Workspace.locate(store=tmp_path / "store", configs=CONFIGS)
    plan = planned(elsewhere)
    progress = Progress("churn", STAGES)
    prepared = pipeline.prepare(elsewhere, plan, progress)
    learned = family.learn_all(elsewhere, plan, prepared, progress)
    resumed = runs.place.store / "runs" / "churn" / learned.manifest["key"]
    assert learned.content == Published(resumed, json.loads(
        (resumed / "manifest.json").read_text()), False).content  # fmt: skip
    first = Record(runs.place.registry).entries("churn")[0]
    assert learned.manifest["facts"]["digest"] == first.digest
    assert not list((runs.place.store / "studies").iterdir())  # finished searches leave nothing


@pytest.mark.parametrize(
    ("point", "whole"),
    [
        ("training.supervised.learn.best_threshold", False),
        ("training.supervised.learn.write", False),
        ("training.bundle.write_synced", False),
        ("features.store.write_synced", False),
        ("features.store.sync_folder", False),
        ("features.store._point", True),
    ],
)
def test_learning_killed_anywhere_leaves_all_or_nothing(
    point: str, whole: bool, runs: Runs, place: Workspace
) -> None:
    """Killed before it is published nothing is there; the rerun ends with the same bytes."""
    plan = planned(place, "seed=9", "search.trials=0", "baselines=[{use: recency.Recency}]")
    progress = Progress("churn", STAGES)
    prepared = pipeline.prepare(place, plan, progress)
    expected = family.learn_all(place, plan, prepared, progress)
    shutil.rmtree(expected.folder)
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(point, Runs.die)
        with pytest.raises(Killed):
            family.learn_all(place, plan, prepared, progress)
    assert expected.folder.exists() == whole
    again = family.learn_all(place, plan, prepared, progress)
    assert again.content == expected.content
    assert again.fresh != whole
    assert not list(expected.folder.parent.glob(".*"))


def test_a_run_killed_before_the_record_registers_once(runs: Runs, place: Workspace) -> None:
    """Killed between MLflow and the record, the rerun records the version that is there."""
    assert [e.version for e in runs.entries_before_the_record] == [1]
    versions = client(place).search_model_versions("name = 'churn'")
    assert sorted(int(v.version) for v in versions) == [1, 2, 3]
    text = "\n".join(runs.said_at_the_record)
    for stage in ("labels", "search", "fit", "review pack"):
        assert f"{stage}: already done with the same inputs" in text


def test_a_second_run_does_nothing_again(
    runs: Runs, undecided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same inputs nothing is fitted, judged or registered, and every stage says so."""
    import mlflow

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    for module in (tune, learn):
        monkeypatch.setattr(module, "fitted", refuse)
    monkeypatch.setattr(supervised_pack, "judge", refuse)
    monkeypatch.setattr(mlflow.pyfunc, "log_model", refuse)
    monkeypatch.setattr(Record, "append", refuse)
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    with said() as lines:
        done = run(undecided, planned(undecided))
    assert done.version == 1
    again = [line for line in lines if "already done with the same inputs" in line]
    assert [line.split(":")[0].strip() for line in again] == [
        "tables", "features", "checks", "labels", "search", "fit", "review pack", "version 1",
    ]  # fmt: skip


def test_the_champions_own_run_is_recognised(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion is not judged against itself: its pipeline makes no new version."""
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    before = Record(place.registry).entries()
    assert run(place, planned(place)).version == 1
    assert Record(place.registry).entries() == before


def test_committing_the_code_gives_a_version_that_may_be_released(
    place: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model from a changed tree, run again from the committed one, is a new version."""
    monkeypatch.setattr(Figure, "savefig", lambda _, path, **__: path.write_bytes(PIXEL))
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    with said() as lines:
        done = run(place, planned(place, *ANOTHER))
    assert done.version == 4
    assert any("fit: already done with the same inputs" in line for line in lines)
    last = Record(place.registry).entries()[-1]
    assert (last.version, last.evidence["code"]["tree"]) == (4, "clean")
    review.approve(place, "churn", 4, "Ada", "released", override="test", release=True)
    assert review.approved(place, "churn").version == 4


def test_the_version_has_signature_example_and_lineage(runs: Runs, place: Workspace) -> None:
    """Signature, input example and the data sets by name and content are in MLflow."""
    import mlflow

    api = client(place)
    info = mlflow.models.get_model_info("models:/churn/1")
    assert info.signature is not None
    assert info.signature.outputs.input_names() == ["churn_probability", "score"]
    loaded = bundles.load(bundle_folder(place, "churn", 1), bundles.verifying_key(place.keys))
    assert tuple(info.signature.inputs.input_names()) == loaded.columns
    assert info.saved_input_example_info is not None
    assert info.flavors["python_function"]["loader_module"] == "training.bundle"
    logged = api.get_run(api.get_model_version("churn", "1").run_id)
    assert logged.info.status == "FINISHED"
    datasets = {d.dataset.name: d.dataset.digest for d in logged.inputs.dataset_inputs}
    store = runs.place.store
    expected = {}
    for name in ("tables", "features"):
        current = store / name / "simulated" / (store / name / "simulated/CURRENT").read_text()
        expected[f"simulated.{name}"] = json.loads((current / "manifest.json").read_text())[
            "content"
        ]
    assert datasets == expected
    assert logged.data.params["model"] == "gbm.Gbm"
    assert logged.data.params["model.trees"] == "20"
    facts = json.loads((review_folder(place, "churn", 1) / "facts.json").read_text())
    assert logged.data.tags["bundle_digest"] == facts["digest"]
    assert logged.data.tags["git_commit"] == "commit-clean"
    assert tags(place, 1)["git_tree"] == "clean"
    assert "## Gates" in api.get_model_version("churn", "1").description


PACK = [
    "CARD.md", "report.html", "config.resolved.yaml", "data.json", "facts.json",
    "features.schema.json", "features.profile.json", "splits.csv", "metrics.csv",
    "differences.csv", "slices.csv", "gates.json", "search.csv", "importance.csv",
    "worked_rows.csv", "input_example.json", "requirements.lock",
    *[f"calibration.{a}.csv" for a in ("candidate", "recency", "logistic")],
    *[f"folds.{a}.csv" for a in ("candidate", "recency", "logistic")],
    *[f"plots/{p}.{kind}" for kind in ("png", "csv") for p in (
        "reliability", "gain", "lift", "precision_recall", "roc", "confusion", "slices",
        "timeline", "beeswarm", "search")],
]  # fmt: skip


def test_the_pack_is_complete(place: Workspace) -> None:
    """Every file that a reviewer needs is among the run's artifacts, and none is empty."""
    folder = review_folder(place, "churn", 1)
    lacking = [name for name in PACK if not (folder / name).is_file()]
    assert lacking == []
    assert not [name for name in PACK if (folder / name).stat().st_size < 10]
    assert (folder / "plots/gain.png").read_bytes()[:8] == PIXEL
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics["answer"]) == {"candidate", "recency", "logistic"}
    later = pd.read_csv(review_folder(place, "churn", 3) / "metrics.csv")
    assert set(later["answer"]) == {"candidate", "recency", "logistic", "champion"}
    assert len(pd.read_csv(folder / "search.csv")) == 4
    assert len(pd.read_csv(folder / "worked_rows.csv")) == 20
    gates = json.loads((folder / "gates.json").read_text())
    assert {g["gate"] for g in gates} >= {
        "roc_auc floor", "roc_auc against champion",
        "contributions add up to the score (largest gap)",
        "golden rows replayed in Python (largest gap)",
        "golden rows through the MLflow loader (largest gap)",
    }  # fmt: skip


def test_the_card_has_no_empty_cell(place: Workspace) -> None:
    """Every table of the card is full, and nothing in it is called nothing."""
    for version in (1, 2, 3):
        card = (review_folder(place, "churn", version) / "CARD.md").read_text()
        rows = [line for line in card.split("\n") if line.startswith("|")]
        cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) > 200
        assert not [c for c in cells if c.lower() in ("", "nan", "none", "nat", "null")]
        assert not re.search(r"\bnan\b", card)
        for heading in ("What it is", "Gates", "Metrics on the test cutoff", "Slices", "Data"):
            assert f"\n## {heading}\n" in card
        assert f"commit-{TREES[version - 1]}" in card


def test_reported_metrics_are_those_of_the_answers(runs: Runs, place: Workspace) -> None:
    """ROC-AUC in the pack is scikit-learn's, of the probabilities that the bundle gives."""
    folder = review_folder(place, "churn", 1)
    learned = runs.place.store / "runs" / "churn" / tags(place, 1)["run_key"]
    answers = pd.read_parquet(learned / "test.parquet")
    rows = pd.read_parquet(learned / "test_rows.parquet")
    metrics = pd.read_csv(folder / "metrics.csv").set_index(["answer", "metric"])["value"]
    for name in ("candidate", "recency", "logistic"):
        expected = roc_auc_score(answers["label"], answers[name])
        assert metrics[name, "roc_auc"] == pytest.approx(expected, abs=1e-12)
    loaded = bundles.load(bundle_folder(place, "churn", 1), bundles.verifying_key(place.keys))
    found = loaded.predict_frame(rows)["churn_probability"].to_numpy()
    assert np.array_equal(found, answers["candidate"].to_numpy())


def test_artifacts_hold_no_customer_and_no_pickle(runs: Runs) -> None:
    """No number of a customer, the source's or ours, lies in the registry; nothing is pickled."""
    links = pd.read_parquet(next(runs.place.store.glob("tables/simulated/*/links.parquet")))
    internal = [str(k).encode() for k in links["customer_id"].head(50)]
    seen = 0
    for path in (runs.place.registry / "artifacts").rglob("*"):
        if not path.is_file():
            continue
        data, seen = path.read_bytes(), seen + 1
        assert path.suffix not in (".pkl", ".pickle", ".joblib"), path
        assert not re.search(rb"\bS1\d{5}\b", data), path
        assert not any(k in data for k in internal), path
    assert seen > 100


def test_the_resolved_config_is_the_whole_config(place: Workspace, tmp_path: Path) -> None:
    """The config in the pack spells out every default, and read again it says the same."""
    path = review_folder(place, "churn", 1) / "config.resolved.yaml"
    again = pipeline.load_plan(place, path)
    assert pipeline.resolved_yaml(again) == path.read_text()
    spelled = yaml.safe_load(path.read_text())
    assert spelled["model"]["config"]["reg_lambda"] == 1.0
    assert spelled["task"]["config"]["maturity_days"] == 0
    assert spelled["search"]["trials"] == 4
    assert spelled["seed"] == 7


# --- decisions -----------------------------------------------------------------------------------


def test_a_notebook_gets_the_champions_answers(place: Workspace) -> None:
    """``mlflow.pyfunc.load_model`` by alias answers as Python does, on the golden rows too."""
    import mlflow

    client(place)
    notebook = mlflow.pyfunc.load_model("models:/churn@champion")
    approved = review.approved(place, "churn")
    loaded = bundles.load(approved.folder, bundles.verifying_key(place.keys))
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
    last = Record(undecided.registry).entries("churn")[-1]
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


def test_an_override_is_kept_with_the_gates_it_overrides(place: Workspace) -> None:
    """A failed gate is passed over by a written reason alone, which the record keeps."""
    with pytest.raises(NotApproved, match=r"(?s)1 gate\(s\) failed.*roc_auc floor: found 0\."):
        review.approve(place, "churn", 3, "Ada", "good")
    entry = review.approve(place, "churn", 3, "Ada", "good", override="the floor is a joke")
    assert entry.evidence["failed_gates"] == ["roc_auc floor"]
    assert entry.evidence["override"] == "the floor is a joke"
    assert aliases(place) == {"champion": 3, "previous": 1}
    assert "the floor is a joke" not in review.show(place, "churn", 1)
    assert "approved by Ada: good" in review.show(place, "churn", 3)


def test_rollback_and_rejection(place: Workspace) -> None:
    """Back to the version before, back again, and away with the champion: each is an entry."""
    review.approve(place, "churn", 3, "Ada", "good", override="test")
    review.rollback(place, "churn", 1, "Bob", "complaints")
    assert aliases(place) == {"champion": 1, "previous": 3}
    assert (tags(place, 1)["review"], tags(place, 1)["reviewed_by"]) == ("rolled back", "Bob")
    review.rollback(place, "churn", 3, "Ada", "they were wrong")
    assert aliases(place) == {"champion": 3, "previous": 1}
    review.reject(place, "churn", 3, "Eve", "biased")
    assert aliases(place)["champion"] == 1
    assert aliases(place).get("previous") is None  # the rejected one is nowhere to go back to
    assert tags(place, 3)["review"] == "rejected"
    assert review.approved(place, "churn").version == 1
    with pytest.raises(NotApproved, match="version 3 was rejected by Eve"):
        review.approved(place, "churn", 3)
    with pytest.raises(NotApproved, match="was rejected by Eve"):
        review.rollback(place, "churn", 3, "Ada", "please")
    review.reject(place, "churn", 1, "Eve", "that one too")
    assert "champion" not in aliases(place)
    with pytest.raises(NotApproved, match="has no approved version; look at one with"):
        review.approved(place, "churn")
    events = [e.event for e in Record(place.registry).entries("churn")][-5:]
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
        (lambda p: review.approved(p, "churn", 2), "has not been reviewed.*approve churn"),
    ],
    ids=["approve champion", "roll back to champion", "roll back to undecided", "stale champion",
         "release of unknown", "use undecided"],
)  # fmt: skip
def test_what_may_not_be_done_is_refused(act: Any, said: str, place: Workspace) -> None:
    """Refused with the reason and the remedy, and the record and MLflow stay as they were."""
    before, standing = Record(place.registry).entries(), aliases(place)
    with pytest.raises(NotApproved, match=f"(?s){said}"):
        act(place)
    assert Record(place.registry).entries() == before
    assert aliases(place) == standing


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda p: review.approve(p, "clv", 1, "Ada", "x"), r"no model 'clv'.*known: \['churn'\]"),
        (lambda p: review.show(p, "clv"), "no model 'clv'"),
        (lambda p: review.approved(p, "clv"), "no model 'clv'"),
        (lambda p: review.approve(p, "churn", 9, "Ada", "x"), r"no version 9.*\[1, 2, 3\]"),
        (lambda p: review.reject(p, "churn", 9, "Ada", "x"), "no version 9"),
        (lambda p: review.rollback(p, "churn", 9, "Ada", "x"), "no version 9"),
        (lambda p: review.approve(p, "churn", 3, " ", "good", "x"), "--reviewer NAME and --reason"),
        (lambda p: review.approve(p, "churn", 3, "Ada", "", "x"), "--reviewer NAME and --reason"),
        (lambda p: review.reject(p, "churn", 3, "", "bad"), "--reviewer NAME and --reason"),
        (lambda p: review.rollback(p, "churn", 3, "Ada", "\n"), "--reviewer NAME and --reason"),
    ],
)
def test_what_does_not_exist_is_named(act: Any, said: str, place: Workspace) -> None:
    """An unknown model or version, no reviewer or no reason: what is there, or what is needed."""
    before = Record(place.registry).entries()
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        act(place)
    assert Record(place.registry).entries() == before


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


# --- a registry that was tampered with -----------------------------------------------------------


@pytest.mark.parametrize("damage", ["flipped", "missing", "another version's", "all of another's"])
def test_tampered_artifacts_are_refused(damage: str, place: Workspace) -> None:
    """Approving, serving and judging against changed, missing or exchanged files is refused."""
    folder, other = bundle_folder(place, "churn", 1), bundle_folder(place, "churn", 3)
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
    before = Record(place.registry).entries()
    with _all_changed(folder, damages[damage]):
        wanted = "artifacts were exchanged" if damage == "all of another's" else "model.ubj"
        with pytest.raises(DataError, match=wanted):
            review.approved(place, "churn")
        with pytest.raises(DataError, match=wanted):
            review.bundle_of(place, before[0])
        with pytest.raises(DataError, match=wanted):
            review.approve(place, "churn", 1, "Ada", "good")
        import mlflow

        if damage != "all of another's":
            with pytest.raises(DataError, match="not what was signed"):
                mlflow.pyfunc.load_model("models:/churn@champion")
    assert Record(place.registry).entries() == before
    assert review.approved(place, "churn").version == 1


@contextmanager
def _all_changed(folder: Path, files: dict[str, bytes | None]) -> Iterator[None]:
    if not files:
        yield
        return
    (name, data), *rest = files.items()
    with changed(folder / name, data), _all_changed(folder, dict(rest)):
        yield


def test_gates_that_were_doctored_do_not_help(place: Workspace) -> None:
    """The gates of the record count: those in the pack, made to look passed, change nothing."""
    file = review_folder(place, "churn", 3) / "gates.json"
    gates = json.loads(file.read_text())
    doctored = json.dumps([g | {"passed": True} for g in gates]).encode()
    for data in (doctored, b"[]"):
        with changed(file, data), pytest.raises(NotApproved, match="roc_auc floor"):
            review.approve(place, "churn", 3, "Ada", "all green")
    assert champion(Record(place.registry).entries("churn")).version == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("evidence", [{}, {"gates": []}, {"gates_passed": True}])
def test_a_version_without_gate_results_is_refused(
    evidence: dict[str, Any], place: Workspace
) -> None:
    """No results are not passed results."""
    Record(place.registry).append("registered", "churn", 4, "d", "pipeline", "a run", evidence)
    with pytest.raises(NotApproved, match="version 4 has no gate results.*run its pipeline again"):
        review.approve(place, "churn", 4, "Ada", "good", override="x")


def test_a_lost_review_pack_is_a_clear_error(place: Workspace) -> None:
    """Nobody approves what cannot be looked at."""
    file = review_folder(place, "churn", 3) / "gates.json"
    with (
        changed(file, None),
        pytest.raises(DataError, match="its review pack cannot be read.*nothing was decided"),
    ):
        review.approve(place, "churn", 3, "Ada", "good", override="x")


def test_a_lost_tracking_database_is_a_clear_error(place: Workspace, tmp_path: Path) -> None:
    """With MLflow's database gone no decision is made, and the message says what to restore."""
    registry = tmp_path / "halved"
    registry.mkdir()
    shutil.copy(place.registry / "record.db", registry)
    halved = place.model_copy(update={"registry": registry})
    before = Record(registry).entries()
    for act in (
        lambda: review.approve(halved, "churn", 3, "Ada", "good", override="x"),
        lambda: review.reject(halved, "churn", 1, "Ada", "bad"),
        lambda: review.approved(halved, "churn"),
        lambda: review.show(halved, "churn"),
    ):
        with pytest.raises(DataError, match="restore the registry folder from its backup"):
            act()
    assert Record(registry).entries() == before


def test_a_hand_moved_alias_is_noticed_and_repaired(place: Workspace) -> None:
    """An alias set in MLflow decides nothing; the next decision says what was repaired."""
    api = client(place)
    api.set_registered_model_alias("churn", "champion", "3")
    assert review.approved(place, "churn").version == 1
    assert review.mirror(place, "churn") == ["alias champion stood at 3, the record says 1"]
    assert aliases(place)["champion"] == 1
    assert review.mirror(place, "churn") == []
    api.delete_registered_model_alias("churn", "champion")
    with said() as lines:
        review.approve(place, "churn", 3, "Ada", "good", override="x")
    assert any("alias champion stood at nothing, the record says 1" in line for line in lines)
    assert aliases(place)["champion"] == 3


def test_hand_set_tags_are_noticed_and_repaired(place: Workspace) -> None:
    """Tags that claim a decision nobody made, or another reviewer, are put right."""
    api = client(place)
    api.set_model_version_tag("churn", "1", "reviewed_by", "Mallory")
    api.set_model_version_tag("churn", "2", "review", "approved")
    assert review.mirror(place, "churn") == ["version 1: tag reviewed_by", "version 2: tag review"]
    assert tags(place, 1)["reviewed_by"] == "Ada"
    assert tags(place, 2)["review"] == "pending"


def test_a_tampered_record_stops_everything(place: Workspace) -> None:
    """An approval written past the commands is noticed before anything is served or decided."""
    import sqlite3

    connection = sqlite3.connect(place.registry / "record.db", isolation_level=None)
    connection.execute("DROP TRIGGER record_no_update")
    connection.execute("UPDATE record SET event = 'approved' WHERE version = 3")
    connection.close()
    for act in (
        lambda: review.approved(place, "churn"),
        lambda: review.show(place, "churn"),
        lambda: review.reject(place, "churn", 3, "Ada", "x"),
        lambda: review.mirror(place, "churn"),
    ):
        with pytest.raises(DataError, match="does not fit the chain"):
            act()


# --- the door ------------------------------------------------------------------------------------


def asked(*arguments: str) -> Any:
    """The same command in this process."""
    from typer.testing import CliRunner

    from training.__main__ import app

    mask = os.umask(0o022)
    try:
        return CliRunner().invoke(app, list(arguments))
    finally:
        os.umask(mask)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "{yaml}", "--set", "serach.trials=3"], "serach: unknown key; keys at the top"),
        (["review", "clv"], "no model 'clv'"),
    ],
    ids=["unknown key", "unknown model"],
)
def test_a_mistake_ends_with_code_2_and_one_message(
    arguments: list[str], said: str, place: Workspace
) -> None:
    """The message alone, no traceback, with what is known or what to do."""
    planned(place)
    path = place.store.parent / "churn.yaml"
    process = started(place, *[a.format(yaml=path) for a in arguments])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err
    assert out == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "model.use=gbm.Forest"], "defines no such part"),
        (
            ["--set", "model.use=forest.Forest"],
            "training.models has no file 'forest'; it has ['bgnbd', 'gbm",
        ),
        (["--set", "model.use=os.System"], "has no file 'os'"),
        (["--set", "model.config.max_dept=3"], "max_dept: unknown key"),
        (["--set", "model.config.max_depth=99"], "max_depth: Input should be less than or equal"),
        (["--set", "search.space.max_leaves=[1, 2]"], "max_leaves: gbm.Gbm has no such field"),
        (["--set", "gates.auc.min=0.5"], "gates: unknown metric(s) ['auc']"),
        (["--set", "baselines=[{use: gbm.Gbm}, {use: gbm.Gbm}]"], "each needs a file of its own"),
        (["--set", "data=nowhere"], "no source 'nowhere'"),
        (["--set", "cutoffs.test"], "expected a.b=value"),
        (["--set", "name=Churn!"], "name: String should match pattern"),
    ],
)
def test_a_wrong_config_is_refused_before_any_data_are_read(
    words: list[str], said: str, place: Workspace, tmp_path: Path
) -> None:
    """Key, value or part at fault is named, exit code 2, and nothing is written."""
    planned(place)
    path, store = place.store.parent / "churn.yaml", tmp_path / "store"
    found = asked("run", str(path), *words, "--store", str(store))
    assert found.exit_code == 2, found.output
    assert said in found.stderr
    assert not store.exists()


def test_a_config_that_is_not_there_is_named(place: Workspace) -> None:
    """A path without a file, exit code 2."""
    found = asked("run", "nowhere.yaml")
    assert found.exit_code == 2
    assert found.stderr == "error: nowhere.yaml: no such file\n"


def test_the_door_shows_and_decides(place: Workspace) -> None:
    """``review`` prints gates, metrics and record; decisions say what they wrote."""
    shown = asked("review", "churn", "--version", "1")
    assert shown.exit_code == 0, shown.stderr
    for part in ("churn version 1, bundle", "Gates", "roc_auc floor", "recency", "approved by Ada"):
        assert part in shown.stdout
    who = ("--reviewer", "Eve", "--reason", "because")
    for words, said in (
        (("approve", "--version", "3", "--override", "x"), "churn version 3 is champion"),
        (("rollback", "--version", "1"), "churn version 1 is champion again"),
        (("reject", "--version", "1"), "churn version 1 is rejected"),
    ):
        found = asked(words[0], "churn", *words[1:], *who)
        assert found.exit_code == 0, found.stderr
        assert re.fullmatch(rf"{said}; record entry \d+\n", found.stdout)
    standing = champion(Record(place.registry).entries("churn"))
    assert standing is not None
    assert (standing.version, standing.actor) == (3, "Eve")
    refused = asked("approve", "churn", "--version", "2", *who)
    assert refused.exit_code == 2
    assert refused.stderr.startswith("error: model 'churn' version 2: 1 gate(s) failed; reject it")


HELP = """
import runpy, sys
sys.argv = ["python -m " + sys.argv[1], *sys.argv[2:], "--help"]
try:
    runpy.run_module(sys.argv[0].split()[-1], run_name="__main__")
except SystemExit as end:
    code = end.code
heavy = {"mlflow", "xgboost", "optuna", "sklearn", "bentoml", "pandas", "ibis", "duckdb"}
print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["features"], ["build", "simulate"]),
        (["training"], ["run", "review", "approve", "reject", "rollback"]),
        (["serving"], ["package", "serve"]),
        (["training", "approve"], ["--reviewer", "--reason", "--override", "--release"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_help_is_worth_reading_and_quick(words: list[str], expected: list[str]) -> None:
    """Each door lists its commands with a sentence, and imports no engine for that."""
    found = subprocess.run(
        [sys.executable, "-c", HELP, *words], cwd=ROOT, capture_output=True, text=True, check=True
    )
    code, _, heavy = found.stderr.strip().split("\n")[-1].partition(" ")
    assert code == "0"
    assert heavy == "[]"
    for name in expected:
        line = next(line for line in found.stdout.split("\n") if line.strip().startswith(name))
        assert len(line.split()) > 3, f"{name} is not explained"


@pytest.mark.parametrize("source", ["simulated", "online_retail_II"])
def test_a_dry_run_writes_nothing(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it would do and leaves no folder, no key and no database."""
    place = settled(tmp_path / "fresh", monkeypatch)
    raw = tmp_path / "raw"
    write_raw(raw / "online_retail_II.csv", good(20))
    monkeypatch.chdir(ROOT)
    (tmp_path / "fresh").mkdir()
    planned(place)
    path = tmp_path / "fresh" / "churn.yaml"
    words = ["run", str(path), "--dry-run", "--set", f"data={source}", "--data-dir", str(raw)]
    if source != "simulated":
        words += ["--set", "source={}"]
    before = sorted(tmp_path.rglob("*"))
    found = asked(*words)
    assert found.exit_code == 0, found.output
    assert sorted(tmp_path.rglob("*")) == before
    for part in ("would:", "4 trials of gbm.Gbm", "5 teaching cutoffs", "register churn"):
        assert part in found.output
    assert ("simulate 500 customers" if source == "simulated" else "read ") in found.output

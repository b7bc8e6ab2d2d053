"""What whole runs on a small simulated source leave behind, also when they are killed."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from features import store
from features.progress import Progress
from features.settings import Workspace
from features.store import Published
from tests.training.finished import (
    ANOTHER,
    MARKS,
    PIXEL,
    TREES,
    Killed,
    Runs,
    aliases,
    asked,
    coded,
    drawn,
    planned,
    said,
    settled,
    started,
    tags,
)
from tests.worlds import CONFIGS, ROOT, good, write_raw
from training import bundle as bundles
from training import pack, pipeline, review, track, tune, versions
from training.keys import verifying_key
from training.record import Record, champion
from training.runs import run
from training.splits import Splits
from training.supervised import learn, stages
from training.supervised import pack as supervised_pack
from training.tracker import bundle_folder, client, review_folder
from training.warm import warm_start

STAGES = (*pipeline.PREPARING, *stages.STAGES)

pytestmark = MARKS


def test_versions_are_numbered_and_recorded(runs: Runs, decided: Workspace) -> None:
    """Three runs, three versions; the record holds each with what it was held against."""
    assert [runs.one.version, runs.two.version, runs.three.version] == [1, 2, 3]
    registered = [e for e in Record(decided).entries("churn") if e.event == "registered"]
    assert [e.version for e in registered] == [1, 2, 3]
    assert [e.evidence["code"]["tree"] for e in registered] == list(TREES)
    one, two, three = registered
    assert one.digest != two.digest == three.digest  # the third is the second, judged anew
    assert [e.evidence["against_champion"] for e in registered] == ["", "", one.digest]
    assert [e.evidence["gates_passed"] for e in registered] == [True, False, False]
    assert aliases(decided) == {"champion": 1, "challenger": 3}


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
    learned = stages.learn_all(elsewhere, plan, prepared, progress)
    resumed = runs.place.store / "runs" / "churn" / learned.manifest["key"]
    assert learned.content == Published(resumed, json.loads(
        (resumed / "manifest.json").read_text()), False).content  # fmt: skip
    first = Record(runs.place).entries("churn")[0]
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
    point: str, whole: bool, runs: Runs, decided: Workspace
) -> None:
    """Killed before it is published nothing is there; the rerun ends with the same bytes."""
    plan = planned(decided, "seed=9", "search.trials=0", "baselines=[{use: recency.Recency}]")
    progress = Progress("churn", STAGES)
    prepared = pipeline.prepare(decided, plan, progress)
    expected = stages.learn_all(decided, plan, prepared, progress)
    shutil.rmtree(expected.folder)
    pointed = store._point

    def dies(*said: Any) -> None:
        if point == "features.store._point" and said[0].parent.name != "runs":
            return pointed(*said)  # features of one length are published on the way
        return Runs.die(*said)

    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(point, dies)
        with pytest.raises(Killed):
            stages.learn_all(decided, plan, prepared, progress)
    assert expected.folder.exists() == whole
    again = stages.learn_all(decided, plan, prepared, progress)
    assert again.content == expected.content
    assert again.fresh != whole
    assert not list(expected.folder.parent.glob(".*"))


def test_another_process_helps_with_a_search_that_was_begun(
    decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It joins the study of the same run alone; the run then has nothing left to try."""
    words = ("seed=12", "baselines=[{use: recency.Recency}]")
    plan = planned(decided, *words)
    path = str(decided.store.parent / "churn.yaml")
    chosen = [word for setting in words for word in ("--set", setting)]
    alone = asked("search", path, *chosen)
    assert alone.exit_code == 2
    assert "nobody searches this here" in alone.stderr
    progress = Progress("churn", STAGES)
    prepared = pipeline.prepare(decided, plan, progress)
    with pytest.MonkeyPatch.context() as dying:
        dying.setattr(Progress, "step", Runs.die)  # after the first trial
        with pytest.raises(Killed):
            stages.learn_all(decided, plan, prepared, progress)
    helped = asked("search", path, *chosen)
    assert helped.exit_code == 0, helped.output
    assert helped.stdout == "churn: 4 trials are finished\n"
    monkeypatch.setattr(tune, "_value", Runs.die)
    learned = stages.learn_all(decided, plan, prepared, progress)
    assert pd.read_csv(learned.folder / "search.csv")["trial"].tolist() == [0, 1, 2, 3]


def test_a_warm_search_starts_from_the_champion(decided: Workspace) -> None:
    """Then from other versions, each parameters once; they become settings of the run."""
    plan = planned(decided)
    (said,) = warm_start(decided, plan)
    parts = [
        json.loads((review_folder(decided, "churn", v) / "facts.json").read_text())["parts"]
        for v in (1, 3)
    ]
    space = plan.config.search.space  # type: ignore[attr-defined]
    expected = [{n: part["candidate"]["config"][n] for n in space} for part in parts]
    started = planned(decided, said).config.search.start  # type: ignore[attr-defined]
    assert list(started) == [s for k, s in enumerate(expected) if s not in expected[:k]]
    assert warm_start(decided, planned(decided, "search.trials=0")) == []
    assert (
        warm_start(decided, planned(decided, "model={use: logistic.Logistic}", "search={}")) == []
    )


def test_trials_are_shown_in_mlflow(decided: Workspace, tmp_path: Path) -> None:
    """As a table of the run, or as a child run each."""
    api = client(decided)
    run_id = api.get_model_version("churn", "1").run_id
    table = json.loads(Path(api.download_artifacts(run_id, "trials.json", tmp_path)).read_text())
    assert table["columns"][:3] == ["trial", "state", "value"]
    assert len(table["data"]) == 4
    experiment = api.get_run(run_id).info.experiment_id
    folder = review_folder(decided, "churn", 1)
    plan = planned(decided, "trials_as=runs")
    track._log_trials(api, experiment, run_id, plan, Published(folder, {"key": "k"}, False))
    found = api.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'")
    trials = pd.read_csv(folder / "search.csv").set_index("trial")
    assert len(found) == 4
    for child in found:
        line = trials.loc[int(child.data.params["trial"])]
        assert child.data.metrics["value"] == pytest.approx(line["value"])
        assert float(child.data.params["max_depth"]) == line["max_depth"]


def test_a_run_killed_before_the_record_registers_once(runs: Runs, decided: Workspace) -> None:
    """Killed between MLflow and the record, the rerun records the version that is there."""
    assert [e.version for e in runs.entries_before_the_record] == [1]
    versions = client(decided).search_model_versions("name = 'churn'")
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
    decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion is not judged against itself: its pipeline makes no new version."""
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    before = Record(decided).entries()
    assert run(decided, planned(decided)).version == 1
    assert Record(decided).entries() == before


def test_committing_the_code_gives_a_version_that_may_be_released(
    decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same model from a changed tree, run again from the committed one, is a new version."""
    monkeypatch.setattr(Figure, "savefig", drawn)
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    with said() as lines:
        done = run(decided, planned(decided, *ANOTHER))
    assert done.version == 4
    assert any("fit: already done with the same inputs" in line for line in lines)
    last = Record(decided).entries()[-1]
    assert (last.version, last.evidence["code"]["tree"]) == (4, "clean")
    review.approve(decided, "churn", 4, "Ada", "released", override="test", release=True)
    assert versions.approved(decided, "churn").version == 4


def test_the_version_has_signature_example_and_lineage(runs: Runs, decided: Workspace) -> None:
    """Signature, input example and the data sets by name and content are in MLflow."""
    import mlflow

    api = client(decided)
    info = mlflow.models.get_model_info("models:/churn/1")
    assert info.signature is not None
    assert info.signature.outputs.input_names() == ["churn_probability", "score"]
    loaded = bundles.load(bundle_folder(decided, "churn", 1), verifying_key(decided.keys))
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
    facts = json.loads((review_folder(decided, "churn", 1) / "facts.json").read_text())
    assert logged.data.tags["bundle_digest"] == facts["digest"]
    assert logged.data.tags["git_commit"] == "commit-clean"
    assert tags(decided, 1)["git_tree"] == "clean"
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
        "timeline", "beeswarm", "search", "search_slices")],
]  # fmt: skip


def test_the_pack_is_complete(decided: Workspace) -> None:
    """Every file that a reviewer needs is among the run's artifacts, and none is empty."""
    folder = review_folder(decided, "churn", 1)
    lacking = [name for name in PACK if not (folder / name).is_file()]
    assert lacking == []
    assert not [name for name in PACK if (folder / name).stat().st_size < 10]
    assert (folder / "plots/gain.png").read_bytes()[:8] == PIXEL
    metrics = pd.read_csv(folder / "metrics.csv")
    assert set(metrics["answer"]) == {"candidate", "recency", "logistic"}
    later = pd.read_csv(review_folder(decided, "churn", 3) / "metrics.csv")
    assert set(later["answer"]) == {"candidate", "recency", "logistic", "champion"}
    assert "\n## Data changes\n\nNo champion yet.\n" in (folder / "CARD.md").read_text()
    after = review_folder(decided, "churn", 3)
    beside = pd.read_csv(after / "data_changes.csv", dtype=str)
    assert set(beside["change"]) == {"same"}
    accepted = beside[(beside["table"] == "order_lines") & (beside["what"] == "accepted")]
    facts = json.loads((folder / "data.json").read_text())["tables"]["tables"]["order_lines"]
    assert accepted["champion"].item() == f"{facts['totals']['accepted']:,}"
    assert "Its tables are these, to the last byte." in (after / "CARD.md").read_text()
    assert len(pd.read_csv(folder / "search.csv")) == 4
    assert len(pd.read_csv(folder / "worked_rows.csv")) == 20
    gates = json.loads((folder / "gates.json").read_text())
    assert {g["gate"] for g in gates} >= {
        "roc_auc floor", "roc_auc against champion",
        "contributions add up to the score (largest gap)",
        "golden rows replayed in Python (largest gap)",
        "golden rows through the MLflow loader (largest gap)",
    }  # fmt: skip


def test_the_card_has_no_empty_cell(decided: Workspace) -> None:
    """Every table of the card is full, and nothing in it is called nothing."""
    for version in (1, 2, 3):
        card = (review_folder(decided, "churn", version) / "CARD.md").read_text()
        rows = [line for line in card.split("\n") if line.startswith("|")]
        cells = [cell.strip() for row in rows for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        assert len(cells) > 200
        assert not [c for c in cells if c.lower() in ("", "nan", "none", "nat", "null")]
        assert not re.search(r"\bnan\b", card)
        for heading in ("What it is", "Gates", "Metrics on the test cutoff", "Slices", "Data"):
            assert f"\n## {heading}\n" in card
        assert f"commit-{TREES[version - 1]}" in card


def test_reported_metrics_are_those_of_the_answers(runs: Runs, decided: Workspace) -> None:
    """ROC-AUC in the pack is scikit-learn's, of the probabilities that the bundle gives."""
    folder = review_folder(decided, "churn", 1)
    learned = runs.place.store / "runs" / "churn" / tags(decided, 1)["run_key"]
    answers = pd.read_parquet(learned / "test.parquet")
    rows = pd.read_parquet(learned / "test_rows.parquet")
    metrics = pd.read_csv(folder / "metrics.csv").set_index(["answer", "metric"])["value"]
    for name in ("candidate", "recency", "logistic"):
        expected = roc_auc_score(answers["label"], answers[name])
        assert metrics[name, "roc_auc"] == pytest.approx(expected, abs=1e-12)
    loaded = bundles.load(bundle_folder(decided, "churn", 1), verifying_key(decided.keys))
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


def test_the_resolved_config_is_the_whole_config(decided: Workspace, tmp_path: Path) -> None:
    """The config in the pack spells out every default, and read again it says the same."""
    path = review_folder(decided, "churn", 1) / "config.resolved.yaml"
    again = pipeline.load_plan(decided, path)
    assert pipeline.resolved_yaml(again) == path.read_text()
    spelled = yaml.safe_load(path.read_text())
    assert spelled["model"]["config"]["reg_lambda"] == 1.0
    assert spelled["task"]["config"]["maturity_days"] == 0
    assert spelled["search"]["trials"] == 4
    assert spelled["seed"] == 7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "{yaml}", "--set", "serach.trials=3"], "serach: unknown key; keys at the top"),
        (["review", "clv"], "no model 'clv'"),
    ],
    ids=["unknown key", "unknown model"],
)
def test_a_mistake_ends_with_code_2_and_one_message(
    arguments: list[str], said: str, decided: Workspace
) -> None:
    """The message alone, no traceback, with what is known or what to do."""
    planned(decided)
    path = decided.store.parent / "churn.yaml"
    process = started(decided, *[a.format(yaml=path) for a in arguments])
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
            ["--set", "model.use=woods.Forest"],
            "training.models has no file 'woods'; it has ['bgnbd', 'blend'",
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
    words: list[str], said: str, decided: Workspace, tmp_path: Path
) -> None:
    """Key, value or part at fault is named, exit code 2, and nothing is written."""
    planned(decided)
    path, store = decided.store.parent / "churn.yaml", tmp_path / "store"
    found = asked("run", str(path), *words, "--store", str(store))
    assert found.exit_code == 2, found.output
    assert said in found.stderr
    assert not store.exists()


def test_a_config_that_is_not_there_is_named(decided: Workspace) -> None:
    """A path without a file, exit code 2."""
    found = asked("run", "nowhere.yaml")
    assert found.exit_code == 2
    assert found.stderr == "error: nowhere.yaml: no such file\n"


def test_the_door_shows_and_decides(decided: Workspace) -> None:
    """``review`` prints gates, metrics and record; decisions say what they wrote."""
    shown = asked("review", "churn", "--version", "1")
    assert shown.exit_code == 0, shown.stderr
    for part in ("churn version 1, bundle", "Gates", "roc_auc floor", "recency", "approved by Ada"):
        assert part in shown.stdout
    who = ("--reviewer", "Eve", "--reason", "because")
    for words, told in (
        (("approve", "--version", "3", "--override", "x"), "churn version 3 is champion"),
        (("rollback", "--version", "1"), "churn version 1 is champion again"),
        (("reject", "--version", "1"), "churn version 1 is rejected"),
    ):
        found = asked(words[0], "churn", *words[1:], *who)
        assert found.exit_code == 0, found.stderr
        assert re.fullmatch(rf"{told}; record entry \d+\n", found.stdout)
    standing = champion(Record(decided).entries("churn"))
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
    decided = settled(tmp_path / "fresh", monkeypatch)
    raw = tmp_path / "raw"
    write_raw(raw / "online_retail_II.csv", good(20))
    monkeypatch.chdir(ROOT)
    (tmp_path / "fresh").mkdir(exist_ok=True)
    planned(decided)
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


def test_seasons_are_seen_in_data_of_one_length(decided: Workspace) -> None:
    """Of the first season a year before nothing is hidden; later all know as much, and no more."""
    plan = planned(decided)
    prepared = pipeline.prepare(decided, plan, Progress("churn", STAGES))
    splits = stages.division(decided, plan, prepared)
    assert isinstance(splits, Splits)
    first, alike = splits.first_season, splits.of_one_length
    assert first is not None
    assert alike is not None
    pd.testing.assert_frame_equal(
        alike.at(first).X.reset_index(drop=True), splits.rows.at(first).X.reset_index(drop=True)
    )
    late, full = alike.at(splits.moments.test), splits.test
    assert late.X["rfm__T_days"].max() <= alike.at(first).X["rfm__T_days"].max() + 1
    assert full.X["rfm__T_days"].max() > 1.2 * late.X["rfm__T_days"].max()
    season = splits.shipped.last.season
    assert season is not None
    assert np.array_equal(season.now.customers, full.customers[season.asked])
    assert np.array_equal(season.now.y, full.y[season.asked])
    taught = season.before.taught
    assert len(taught) > 0
    before = splits.moments.year_ago[splits.moments.test]
    assert (np.abs(taught.cutoffs - np.datetime64(before)) >= np.timedelta64(splits.gap)).all()

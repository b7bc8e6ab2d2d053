"""Versions side by side, ranked, and made again from their record."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml

import training
from features.errors import ConfigError, NotApproved
from features.settings import Workspace
from tests.training.finished import MARKS, PIPELINE, Runs, coded, started
from training import experiments, pack
from training.tracker import review_folder

pytestmark = MARKS


def test_compared_versions_show_their_own_numbers(decided: Workspace) -> None:
    """What stands beside each other is what each pack holds."""
    found = experiments.compare(decided, ["churn:1", "churn:2"])
    for number in (1, 2):
        written = pd.read_csv(review_folder(decided, "churn", number) / "metrics.csv")
        own = written[written["answer"] == "candidate"].set_index("metric")
        shown = found.metrics[found.metrics["version"] == f"churn:{number}"].set_index("metric")
        assert shown["value"].to_dict() == own["value"].to_dict()
        assert shown["ci_low"].to_dict() == own["ci_low"].to_dict()
    assert list(found.beside.columns) == ["metric", "churn:1", "churn:2"]
    assert len(found.beside) == found.metrics["metric"].nunique()


def test_only_settings_that_differ_are_shown(decided: Workspace) -> None:
    """Version 2 had another seed and another gate; nothing else is named."""
    changed = experiments.compare(decided, ["churn:1", "churn:2"]).settings
    assert set(changed["setting"]) == {"config.seed", "config.gates.roc_auc.min"}
    line = changed.set_index("setting").loc["config.seed"]
    assert (line["churn:1"], line["churn:2"]) == ("7", "8")
    same = experiments.compare(decided, ["churn:2", "churn:2"])
    assert same.settings.empty


def test_other_data_are_said_to_be_incomparable(decided: Workspace) -> None:
    """Two versions that were judged on other tables cannot be read off a table."""
    one, two = (experiments.version(decided, f"churn:{i}") for i in (1, 2))
    assert len(experiments.Comparison((one, two)).notes) == 1
    two.settings["data.tables"] = "others"
    assert any("other customers" in note for note in experiments.Comparison((one, two)).notes)
    two.settings["config.data"] = "another_source"
    assert any("no number is" in note for note in experiments.Comparison((one, two)).notes)


def test_a_comparison_is_written_whole(decided: Workspace, tmp_path: Path) -> None:
    """Tables, plot and page; the page holds the picture and needs no network."""
    out = tmp_path / "compared"
    experiments.compare(decided, ["churn:1", "churn:3"]).write(out)
    assert {p.name for p in out.iterdir()} == {
        "metrics.csv", "metrics.png", "settings.csv", "compare.html",
    }  # fmt: skip
    page = (out / "compare.html").read_text()
    assert "data:image/png;base64" in page
    assert "http" not in page
    assert set(pd.read_csv(out / "metrics.csv")["version"]) == {"churn:1", "churn:3"}


def test_the_leaderboard_has_every_version_with_its_standing(
    decided: Workspace, tmp_path: Path
) -> None:
    """Version 1 is champion; the gate that nothing passes is told of version 2 and 3."""
    board = experiments.leaderboard(experiments.versions(decided))
    about = board.drop_duplicates("version").set_index("version")
    assert about["status"].to_dict() == {1: "champion", 2: "not reviewed", 3: "not reviewed"}
    assert about["gates"].to_dict() == {1: "passed", 2: "failed", 3: "failed"}
    assert set(about["use"]) == {"gbm.Gbm"}
    assert len(experiments.ranked(board)) == 3
    experiments.write_leaderboard(board, tmp_path)
    assert len(pd.read_csv(tmp_path / "leaderboard.csv")) == len(board)
    assert "<h2>churn</h2>" in (tmp_path / "leaderboard.html").read_text()


def test_a_version_is_made_again_from_its_record_alone(
    decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From raw files on, in another store: tables, features, bundle and metrics are the same."""
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    table = experiments.rerun(decided, "churn:1")
    assert table["same"].all(), table[~table["same"]]
    assert {"data.tables", "data.features", "bundle"} <= set(table["what"])
    assert table["what"].str.startswith("candidate: ").any()
    assert not list((decided.store / "reruns").iterdir())


def test_a_rerun_tells_what_differs(
    decided: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With another seed in the settings of the pack the bundle is another one, the data are not."""
    version = experiments.version(decided, "churn:1")
    copy = tmp_path / "pack"
    copy.mkdir()
    for path in version.pack.iterdir():
        if path.is_file():
            (copy / path.name).write_bytes(path.read_bytes())
    said = yaml.safe_load((copy / "config.resolved.yaml").read_text())
    said["seed"] = 99
    (copy / "config.resolved.yaml").write_text(yaml.safe_dump(said, sort_keys=False))
    changed = replace(version, pack=copy)
    monkeypatch.setattr(experiments, "version", lambda *_: changed)
    table = experiments.rerun(decided, "churn:1").set_index("what")
    assert table.loc["data.features", "same"]
    assert not table.loc["bundle", "same"]


def test_what_is_not_there_is_named(decided: Workspace) -> None:
    """An unknown model or number: what is there is said."""
    for name in ("chum", "churn:9", "churn:x"):
        with pytest.raises(ConfigError, match=f"no version '{name}'.*models there: churn"):
            experiments.version(decided, name)


def test_the_notebook_functions_do_what_the_commands_do(
    runs: Runs, decided: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run recognises what is done, load gives the champion alone, compare takes both forms."""
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))
    path = decided.store.parent / "churn.yaml"
    path.write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    made = training.run(path, place=decided)
    assert made.name == "churn:1"
    assert "churn:1 (champion)" in repr(made)
    bundle = training.load("churn", place=decided)
    rows = pd.DataFrame(json.loads((made.pack / "input_example.json").read_text())["rows"])
    assert bundle.predict_frame(rows)["churn_probability"].between(0, 1).all()
    with pytest.raises(NotApproved):
        training.load("churn", 2, place=decided)
    compared = training.compare(made, "churn:2", place=decided)
    assert [v.number for v in compared.versions] == [1, 2]
    assert "<table" in compared._repr_html_()


def test_the_door_compares_and_ranks(decided: Workspace, tmp_path: Path) -> None:
    """Both commands print the table and write the page where it is asked for."""
    out = tmp_path / "out"
    compared = started(decided, "compare", "churn:1", "churn:2", "--out", str(out)).communicate()
    assert "config.seed" in compared[0], compared[1]
    assert (out / "compare.html").is_file()
    ranked = started(decided, "leaderboard", "--out", str(out)).communicate()
    assert "champion" in ranked[0], ranked[1]
    assert (out / "leaderboard.html").is_file()


def test_run_needs_to_be_told_what(decided: Workspace) -> None:
    """No config and no --all, or both: refused before anything is read."""
    nothing = started(decided, "run")
    assert nothing.communicate()[1].startswith("error: name one or more pipeline YAMLs")
    both = started(decided, "run", "configs/churn.yaml", "--all")
    assert both.communicate()[1].startswith("error: name one or more pipeline YAMLs")
    assert (nothing.returncode, both.returncode) == (2, 2)

"""A pipeline in variants, the steps between two versions, a look before, a run on a schedule."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from features.errors import ConfigError
from features.settings import Workspace
from features.tables import build_tables
from tests.training.finished import MARKS, PIPELINE, asked, coded, planned, said
from training import pack, variants
from training.pipeline import load_plan
from training.preflight import preflight, refuse
from training.record import Record
from training.rows import labels_of

pytestmark = MARKS


@pytest.fixture(autouse=True)
def _clean_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pack, "code_state", lambda: coded("clean"))


def written(place: Workspace, **changed: Any) -> Path:
    """The pipeline's YAML, with some keys changed."""
    path = place.store.parent / "churn.yaml"
    path.write_text(yaml.safe_dump(PIPELINE | changed, sort_keys=False))
    return path


def test_a_grid_is_every_combination() -> None:
    """In the order of the axes; strings, numbers and mappings come through as YAML."""
    found = variants.grid(["seed=[1, 2]", "model.config=[{a: x}, {}]"])
    assert [v.settings for v in found] == [
        (f"seed={s}", f"model.config={m}")
        for s, m in itertools.product((1, 2), ('{"a": "x"}', "{}"))
    ]
    assert variants.grid([]) == []
    for odd in ("seed=1", "seed", "seed=[]", "seed=[1", f"seed={list(range(101))}"):
        with pytest.raises(ConfigError, match="--over"):
            variants.grid([odd])


def test_a_sweep_compares_in_pairs_and_registers_nothing(
    decided: Workspace, tmp_path: Path
) -> None:
    """The same variant differs by nothing; another is better by what the values say, in a pair."""
    before = Record(decided).entries()
    chosen = variants.grid(["seed=[7]", "model.config.max_depth=[1]", "search.trials=[0]"])
    path = written(decided, search=PIPELINE["search"] | {"trials": 0})
    table = variants.sweep(decided, path, [], [variants.Variant("same", ("seed=7",)), chosen[0]])
    assert list(table["variant"].unique()) == ["as written", "same", chosen[0].label]
    own, same, other = (
        part.set_index("metric") for _, part in table.groupby("variant", sort=False)
    )
    directed = [m for m in ("roc_auc", "average_precision", "log_loss", "brier") if m in own.index]
    assert directed
    assert (same.loc[directed, "better_by"] == 0).all()
    sign = np.where(np.isin(directed, ["log_loss", "brier"]), -1.0, 1.0)
    expected = sign * (other.loc[directed, "value"] - own.loc[directed, "value"])
    assert np.allclose(other.loc[directed, "better_by"], expected, atol=1e-12)
    inside = other.loc[directed]
    assert (inside["better_by_low"] <= inside["better_by_high"]).all()
    assert Record(decided).entries() == before
    variants.write(table, tmp_path / "out", "sweep")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"sweep.csv", "sweep.png"}


def test_each_feature_set_is_left_out_once(decided: Workspace) -> None:
    """Compared in pairs without its columns; where a baseline needs them, that is told."""
    parts = [{"use": "rfm.Rfm"}, {"use": "cadence.Cadence"}]
    path = written(decided, features=parts, search=PIPELINE["search"] | {"trials": 0})
    chosen = variants.without_each(load_plan(decided, path))
    assert [v.label for v in chosen] == ["without rfm.Rfm", "without cadence.Cadence"]
    with said() as lines:
        table = variants.sweep(decided, path, [], chosen)
    assert any("without rfm.Rfm cannot be learned" in line for line in lines)
    of_auc = table[table["metric"] == "roc_auc"].set_index("variant")
    assert of_auc["better_by"].notna().to_dict() == {
        "as written": False, "without cadence.Cadence": True,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="nothing can be left out"):
        variants.without_each(load_plan(decided, written(decided)))


def test_why_walks_from_one_version_to_the_other(decided: Workspace) -> None:
    """Code changed nothing; the parameters that differ are named; both ends are as recorded."""
    written(decided)
    table = variants.why(decided, "churn:1", "churn:2")
    steps = table.drop_duplicates(["step", "swapped"])[["step", "swapped"]].to_numpy().tolist()
    assert steps == [
        ["as recorded", "churn:1"], ["churn:1 made now", "code"], ["parameters", "seed"],
        ["as recorded", "churn:2"],
    ]  # fmt: skip
    made = table[table["swapped"] == "code"]
    assert (made["change"] == 0).all()
    assert (table.loc[table["swapped"] == "churn:2", "change"] == 0).all()
    with pytest.raises(ConfigError, match="no version 'clv"):
        variants.why(decided, "churn:1", "clv:1")


def test_a_look_before_counts_what_the_run_will_see(decided: Workspace) -> None:
    """Customers and labels of each cutoff, as the run's own rows."""
    plan = planned(decided)
    found = preflight(decided, plan)
    assert found.problems == ()
    assert found.cutoffs["role"].value_counts()["test"] == 1
    stored = build_tables(decided, plan.source)
    test = found.cutoffs[found.cutoffs["role"] == "test"].iloc[0]
    with stored.open() as tables:
        labels, _ = labels_of(tables, plan.task, [test["cutoff"].to_pydatetime()])
    assert (test["asked"], test["labelled"]) == (len(labels), len(labels))
    assert test["mean_label"] == pytest.approx(labels["label"].mean())
    assert any("rows of" in line for line in found.cost)
    refuse(found)


def test_a_look_before_names_every_problem(decided: Workspace) -> None:
    """A window past the data's end, and cutoffs at which nobody is asked."""
    late = planned(decided, "cutoffs.test=end-30d", "cutoffs.latest=end-100d")
    found = preflight(decided, late)
    assert any("its label window ends" in p for p in found.problems)
    with pytest.raises(ConfigError, match="this run would not come to an end"):
        refuse(found)
    nobody = preflight(decided, planned(decided, "task.config.active_within_days=1"))
    assert any("rows with label" in p or "nobody is asked" in p for p in nobody.problems)


def test_a_refresh_registers_only_what_passes(decided: Workspace) -> None:
    """A version known already is named; one that fails a gate is told and not registered."""
    path = str(written(decided))
    before = Record(decided).entries()
    again = asked("refresh", path)
    assert again.exit_code == 0, again.stderr
    worse = asked("refresh", path, "--set", "seed=11", "--set", "gates.roc_auc.min=0.999")
    assert "failed its gates, not registered" in worse.stdout
    assert Record(decided).entries()[: len(before)] == before
    assert all(e.evidence["gates_passed"] for e in Record(decided).entries()[len(before) :])
    trouble = asked("refresh", "nowhere.yaml", path)
    assert trouble.exit_code == 2
    assert "1 of 2 could not run" in trouble.stderr
    assert "churn:" in trouble.stdout

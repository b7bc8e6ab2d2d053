"""Whole recommendations on a small simulated source: learned, judged, read back, refused."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from features.errors import ConfigError
from features.settings import Workspace
from features.store import Published
from serving.score import score
from tests.training.finished import coded, settled
from tests.training.whole import learned, planned, workspace
from training import pack as packs
from training import review
from training.recommend.bundle import ListsBundle
from training.runs import Learned, run
from training.versions import bundle_at

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range:pandas.errors.Pandas4Warning")

PIPELINE: dict[str, Any] = {
    "name": "recommend",
    "data": "simulated",
    "source": {
        "simulate.customers": 250, "simulate.days": 700,
        "simulate.tables": ["order_lines", "products"],
    },
    "task": {"use": "recommend.Recommend", "config": {"horizon_days": 60}},
    "cutoffs": {
        "test": "end-60d", "latest": "end-120d", "every_days": 60, "count": 2, "folds": 1,
        "fold_steps": 1, "history_days": 60,
    },
    "features": [{"use": "rfm.Rfm"}],
    "makers": [
        {"use": use}
        for use in ("personal.Decayed", "due.Due", "popular.Recent", "ease.Ease",
                    "neighbours.Cosine", "together.Together", "content.Content")
    ],
    "candidates": {"each": 15, "bought": 40},
    "rankers": [{"trees": 10}, {"objectives": ["binary:logistic"], "trees": 5}],
    "baselines": [{"use": "popular.Recent"}, {"use": "tifu.Tifu"}, {"use": "ease.Ease"}],
    "gates": {"all_ndcg_at_10": {"beats_baseline": True}, "coverage_at_10": {"min": 0.05}},
    "bootstrap": 20,
    "card": {
        "owner": "us", "purpose": "to test", "users": "testers", "misuse": "nothing else",
        "limits": "few customers",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for the runs of this file."""
    return workspace(tmp_path_factory.mktemp("recommend"))


@pytest.fixture(scope="module")
def judged(work: Workspace) -> tuple[Learned, Published]:
    """What was learned, and its review pack."""
    run = learned(work, PIPELINE)
    return run, run.judged(work, None)


def test_gates_pass_and_every_list_is_measured(judged: tuple[Learned, Published]) -> None:
    """Better than popularity by a paired interval; every answer on the same customers."""
    _, pack = judged
    gates = pack.manifest["facts"]["gates"]
    assert all(gate["passed"] for gate in gates), gates
    metrics = pd.read_csv(pack.folder / "metrics.csv")
    assert set(metrics["answer"]) == {"candidate", "recent", "tifu", "ease"}
    for name in (
        "all_ndcg_at_10",
        "repeat_recall_at_5",
        "discovery_map_at_20",
        "cold_mrr_at_10",
        "novelty_at_10",
    ):
        assert (metrics["metric"] == name).sum() == 4, name
    trials = pd.read_csv(pack.folder / "search.csv")
    assert trials.groupby("list")["chosen"].sum().tolist() == [1, 1]
    splits = pd.read_csv(pack.folder / "splits.csv")
    assert splits["role"].tolist() == ["teaching", "teaching", "test"]
    card = (pack.folder / "CARD.md").read_text()
    assert "none: histories are posted" in card
    for plot in ("ndcg", "recall_by_k", "coverage", "categories", "importance"):
        assert (pack.folder / "plots" / f"{plot}.png").is_file()
        assert len(pd.read_csv(pack.folder / "plots" / f"{plot}.csv"))


def test_bundle_answers_as_recorded(work: Workspace, judged: tuple[Learned, Published]) -> None:
    """Loaded with the keys, golden lists come again; posted histories get names and reasons."""
    folder: Path = judged[1].folder / "bundle"
    loaded = bundle_at(work, folder)
    assert isinstance(loaded, ListsBundle)
    assert loaded.replay() == 0
    assert {said.path for said in loaded.recorded()} == {"/recommend"}
    reply = loaded.reply(loaded.golden[0]["body"], explained=True)
    assert all(item["name"] and item["reason"] for item in reply["items"])
    assert loaded.shown().say(reply)


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning:mlflow.*")
@pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning")
def test_lists_for_everyone_are_counted_by_customer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each item, with what it is called; customers are who has lines."""
    monkeypatch.setattr(packs, "code_state", lambda: coded("clean"))
    place = settled(tmp_path / "whole", monkeypatch)
    run(place, planned(place, PIPELINE, "makers=[{use: personal.Decayed}, {use: ease.Ease}]"))
    review.approve(place, "recommend", 1, "Ada", "as good as one can tell")
    done = score(place, "recommend", tmp_path / "lists.csv")
    lines = pd.read_csv(done.path, dtype={"source_id": str})
    assert done.customers == lines["source_id"].nunique() < len(lines)
    assert lines.groupby("source_id")["rank"].apply(list).map(lambda r: r == sorted(r)).all()
    assert lines["name"].notna().all()


def test_champion_is_judged_on_the_same_customers(
    work: Workspace, judged: tuple[Learned, Published]
) -> None:
    """A champion that is the candidate itself is better by nothing, draw by draw."""
    pack = judged[1]
    champion = bundle_at(work, pack.folder / "bundle")
    margin = "gates={all_ndcg_at_10: {champion_margin: 0.0}}"
    again = learned(work, PIPELINE, margin).judged(work, champion)
    found = pd.read_csv(again.folder / "differences.csv")
    own = found[found["against"] == "champion"]
    assert len(own) == 60
    assert (own[["better_by", "ci_low", "ci_high"]] == 0).all(axis=None)
    assert again.manifest["facts"]["gates"][0]["passed"]


def test_what_does_not_fit_is_refused_before_data_are_read(work: Workspace) -> None:
    """Makers that keep customers, doubled parts, gates on what is not measured."""
    for wrong, said in (
        ("makers=[{use: tifu.Tifu}]", "keep customers"),
        ("makers=[{use: ease.Ease}, {use: ease.Ease}]", "stand twice"),
        ("gates={auc: {min: 0.5}}", "unknown metric"),
        ("makers=[{use: ease.Ease, config: {lambda: 3}}]", "unknown key"),
    ):
        with pytest.raises(ConfigError, match=said):
            planned(work, PIPELINE, wrong)


def test_makers_that_propose_nothing_new_are_refused(work: Workspace) -> None:
    """Nothing teaches the order of items never bought where no maker names one."""
    with pytest.raises(
        ConfigError, match="0 candidates among items never bought before at 1 teach"
    ):
        learned(work, PIPELINE, "makers=[{use: personal.Decayed}]")

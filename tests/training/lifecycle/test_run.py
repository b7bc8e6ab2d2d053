"""A whole lifecycle on a small simulated source: learned, judged, served, refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.errors import ConfigError
from features.settings import Workspace, load_yaml
from serving import base, demo, replay
from serving.guard import Guard
from serving.release import Release
from tests.serving.asgi import ask, post
from tests.training.whole import learned, planned, workspace
from tests.worlds import CONFIGS
from training import bundle as common
from training.lifecycle.bundle import LifecycleBundle
from training.versions import bundle_at

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range:pandas.errors.Pandas4Warning")

SHIPPED = load_yaml(CONFIGS / "lifecycle.yaml")
COUNTED = [f"periods__{n}_p{k}" for n in ("orders", "visits", "carts", "praise") for k in range(9)]
PIPELINE: dict[str, Any] = SHIPPED | {
    "source": {
        "simulate.customers": 400, "simulate.days": 500,
        "simulate.tables": ["order_lines", "events"],
    },
    "cutoffs": {
        "test": "end-30d", "latest": "end-60d", "every_days": 30, "count": 3, "folds": 1,
        "fold_steps": 1, "history_days": 90,
    },
    "features": [
        {"use": "periods.Periods", "config": {"days": 30, "count": 9}, "columns": COUNTED},
        *SHIPPED["features"][1:],
    ],
    "chain": {"observe": ["orders", "visits", "praise"], "states": [2, 3], "steps": [1]},
    "bootstrap": 20,
    "gates": {"loglik": {"beats_baseline": True}, "roc_auc": {"min": 0.5, "champion_margin": 0.5}},
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all runs of this file: tables and features are made once."""
    return workspace(tmp_path_factory.mktemp("lifecycle"))


def bundle(work: Workspace, folder: Path) -> LifecycleBundle:
    """The bundle in a folder of a run or a pack."""
    made = bundle_at(work, folder / "bundle")
    assert isinstance(made, LifecycleBundle)
    return made


def test_a_run_leaves_a_pack_that_can_be_judged(work: Workspace) -> None:
    """Card without empty cells, tables that tell no small group, gates, a history by customer."""
    run = learned(work, PIPELINE)
    pack = run.judged(work, None)
    facts = pack.manifest["facts"]
    assert facts["gates_passed"], [g for g in facts["gates"] if not g["passed"]]
    made = bundle(work, pack.folder)
    assert set(made.answer.hidden) == {"advocacy"}
    assert list(made.answer.observe) == ["orders", "visits"]
    assert "praise" in run.published.manifest["facts"]["unseen"]
    metrics = pd.read_csv(pack.folder / "metrics.csv")
    assert set(metrics["answer"]) == {"candidate", "rule_stages", "last_period", "no_memory"}
    assert metrics["value"].notna().all()
    card = (pack.folder / "CARD.md").read_text()
    for title in ("Stages", "Learned states", "Why so many states", "KPIs by stage", "Funnel",
                  "RFM segments and stages", "Next likely action",
                  "What decides each step"):  # fmt: skip
        assert f"## {title}\n" in card
    assert "advocacy: the source does not show praise" in card
    kpis = pd.read_csv(pack.folder / "kpis.csv")
    assert (kpis["customers"].dropna() >= 20).all()
    assert kpis.loc[kpis["value"].isna(), "note"].ne("told").all()
    assert kpis.set_index("kpi").loc["clv", "note"] == "the source brings no derived"
    assert set(kpis["by"]) == {"everyone", "stage", "state", "segment"}
    for name in ("ways", "channel_funnel", "rfm_by_stage", "actions", "next_actions",
                 "conversion", "conversion_reasons"):  # fmt: skip
        assert len(pd.read_csv(pack.folder / f"{name}.csv"))
    crossed = pd.read_csv(pack.folder / "rfm_by_stage.csv").set_index("group")
    cells = [str(cell) for cell in crossed.to_numpy().ravel()]
    assert all(cell in ("0", "under 20") or int(cell) >= 20 for cell in cells)
    history = pd.read_csv(run.published.folder / "history.csv")
    last = history[history["period_end"] == made.answer.cutoff].set_index("customer_id")
    test = pd.read_parquet(run.published.folder / "test.parquet")
    told = made.predict_frame(test[list(made.columns)])
    assert last.loc[test["customer_id"], "stage"].tolist() == told["stage"].tolist()
    assert last.loc[test["customer_id"], "state"].tolist() == told["state"].tolist()
    assert not learned(work, PIPELINE).published.fresh


def test_the_served_answers_are_those_of_training(work: Workspace) -> None:
    """Golden rows over HTTP, explanations that add up, frames for MLflow, the model's page."""
    run = learned(work, PIPELINE)
    made = bundle(work, run.published.folder)
    release = Release(model="lifecycle", version=1, digest=made.digest, reviewer="Ann",
                      approved_at="2026-01-02")  # fmt: skip
    app = Guard(base.make_app(made, release), base.RULES)
    assert made.replay() == 0.0
    assert replay.through_app(made, app) <= common.TOLERANCE
    asked = next(iter(made.recorded()))
    reply = post(app, asked.path, asked.body["rows"])
    assert reply.status == 200, reply.body
    filed = made.predict_frame(pd.DataFrame(asked.body["rows"], dtype=float))
    told = demo.numbers(made, reply.json["predictions"])
    assert f"next_{made.answer.states[-1].id}" in told
    np.testing.assert_allclose(told, filed[told.columns], atol=common.TOLERANCE)
    changed = json.loads(json.dumps(reply.json))
    changed["predictions"][0]["next"]["A"] += 0.25
    assert asked.difference(changed) == pytest.approx(0.25)
    changed["predictions"][0]["state"] = "Z"
    assert asked.difference(changed) == float("inf")
    for said in reply.json["predictions"]:
        assert sum(said["next"].values()) == pytest.approx(1.0)
    explained = post(app, "/explain", asked.body["rows"][:20]).json["explanations"]
    for said in explained:
        total = said["base"] + sum(k["contribution"] for k in said["contributions"])
        assert total == pytest.approx(said["margin"], abs=1e-9)
        unseen = [k["contribution"] for k in said["contributions"] if k["value"] is None]
        assert not np.any(unseen)
    model = ask(app, "GET", "/model").json
    assert [state["id"] for state in model["states"]] == list("ABC")[: len(model["states"])]
    assert set(model["hidden_stages"]) == {"advocacy"}
    shown = made.shown()
    assert (
        "golden customer in stage" in shown.say(post(app, shown.path, shown.body["rows"]).json)[0]
    )
    nobody = [dict.fromkeys(made.columns)]
    (answer,) = post(app, "/predict", nobody).json["predictions"]
    assert answer["stage"] == "awareness"


@pytest.mark.usefixtures("undrawn")
def test_a_champion_is_set_beside(work: Workspace) -> None:
    """Another number of states and steps, judged on the same customers by who buys."""
    run = learned(work, PIPELINE)
    other = learned(work, PIPELINE, "chain.states=[2, 2]", "chain.steps=[2]")
    pack = run.judged(work, bundle(work, other.published.folder))
    metrics = pd.read_csv(pack.folder / "metrics.csv")
    own = metrics[metrics["answer"] == "champion"]
    assert set(own["metric"]) == {"roc_auc", "log_loss", "brier", "agreement", "states"}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("task.config.period_days=28", "features need one periods.Periods with days: 28"),
        ("gates={accuracy: {min: 0.5}}", "unknown metric"),
        ("gates={loglik: {champion_margin: 0.1}}", "not measured of a champion"),
        ("chain.observe=[visits]", "orders first"),
        ("chain.levels={orders: [2, 3]}", "rise from 1"),
        ("funnel=[purchase, heaven]", "no stage"),
        ("cutoffs={snapshots: [end-100d]}", "needs a clock"),
    ],
)
def test_what_does_not_fit_is_refused_before_data_are_read(
    setting: str, said: str, place: Workspace
) -> None:
    """Each mistake by name."""
    with pytest.raises(ConfigError, match=said):
        planned(place, PIPELINE, setting)


def test_observables_that_nobody_counts_are_named(work: Workspace) -> None:
    """With what to do."""
    with pytest.raises(ConfigError, match=r"no columns of \['steps'\]"):
        learned(work, PIPELINE, "chain.observe=[orders, steps]")

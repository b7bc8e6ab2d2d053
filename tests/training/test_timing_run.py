"""A question of when from raw files to its review pack, judged against a champion by every day."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.figure import Figure

from features.progress import Progress
from features.settings import Workspace
from tests.training.finished import MARKS, drawn, settled
from tests.worlds import CONFIGS
from training import bundle as bundles
from training.gates import CANDIDATE, CHAMPION
from training.keys import verifying_key
from training.pack import build_pack
from training.pipeline import JUDGING, PREPARING, load_plan, prepare
from training.supervised.points import AT_A_POINT

pytestmark = [mark for mark in MARKS if mark.name == "filterwarnings"]
SMALL = (
    "source.simulate.customers=400", "source.simulate.tables=[order_lines, feedback]",
    "features=[{use: rfm.Rfm}, {use: cadence.Cadence}]", "audit=[rfm__T_days]",
    "baselines=[{use: rates.Rates}]", "search.trials=0", "bootstrap=20", "sets={coverage: 0.8}",
    "model.config.trees=15", "model.config.periods_days=[15, 30, 60, 90]",
    "gates={roc_auc_30d: {min: 0.5, champion_margin: 0.1}, concordance: {min: 0.5}}",
)  # fmt: skip


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of a small run that is judged against itself."""
    with pytest.MonkeyPatch.context() as patched:
        settled(tmp_path_factory.mktemp("timing"), patched)
        patched.setattr(Figure, "savefig", drawn)
        place = Workspace.locate(configs=CONFIGS)
        plan = load_plan(place, CONFIGS / "timing.yaml", SMALL)
        progress = Progress("timing", (*PREPARING, *plan.family.stages, *JUDGING))
        prepared = prepare(place, plan, progress)
        learned = plan.family.learn(place, plan, prepared, progress)
        made = bundles.load(learned.folder / "bundle", verifying_key(place.keys))
        return build_pack(place, plan, prepared, learned, made).folder


def test_every_answer_is_judged_by_every_day(pack: Path) -> None:
    """Candidate, baselines and champion, with the gates that name a day."""
    metrics = pd.read_csv(pack / "metrics.csv")
    for answer in (CANDIDATE, "rates", CHAMPION):
        found = set(metrics.loc[metrics["answer"] == answer, "metric"])
        assert {f"{m}_{d}d" for m in AT_A_POINT for d in (15, 30, 60)} <= found
        assert {"concordance", "integrated_brier"} <= found
    paired = pd.read_csv(pack / "differences.csv").set_index(["against", "metric"])["better_by"]
    assert (paired[CHAMPION] == 0).all(), "the champion is this very bundle"
    assert paired["rates", "brier_30d"] != 0
    gates = json.loads((pack / "gates.json").read_text())
    assert [g["gate"] for g in gates[:3]] == [
        "roc_auc_30d floor", "roc_auc_30d against champion", "concordance floor",
    ]  # fmt: skip


def test_the_card_tells_when_to_whom_and_how_surely(pack: Path) -> None:
    """Its tables have no empty cell, which writing it has checked."""
    card = (pack / "CARD.md").read_text()
    for title in (
        "By when", "Intervals of days", "Due and overdue", "Fairness", "Answer sets",
        "Reasons that customers state",
    ):  # fmt: skip
        assert f"## {title}\n" in card, title
    states = pd.read_csv(pack / "states.csv")
    sizes: Any = pd.read_csv(pack / "slices.csv").set_index("slice")["n"]
    assert states["customers"].sum() == sizes["everyone"]
    assert set(states["state"]) <= {"early", "due", "overdue", "no rhythm"}
    groups = pd.read_csv(pack / "fairness.csv")["group"]
    assert groups.str.startswith("rfm__T_days").sum() == 3
    curves = pd.read_csv(pack / "plots" / "curves.csv").set_index(["group", "days"])
    assert curves.loc["everyone"].index.tolist() == [15, 30, 60, 90]
    assert curves.loc["everyone", "found"].is_monotonic_increasing


def test_what_is_put_aside_is_no_column_of_the_model(pack: Path) -> None:
    """Named in the YAML, it is judged by and not learned from."""
    answer = json.loads((pack / "bundle" / "answer.json").read_text())
    assert "rfm__T_days" not in [column["name"] for column in answer["columns"]]
    assert [told["name"] for told in answer["told"]][-2:] == ["state", "answer_set"]

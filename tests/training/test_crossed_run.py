"""A question on a snapshot from raw file to registered version, and judged against a champion."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.figure import Figure

from features.errors import ConfigError
from features.settings import Workspace
from tests.training.finished import MARKS, drawn, settled
from tests.worlds import CONFIGS
from training import pipeline, review
from training.gates import CHAMPION
from training.record import Record
from training.runs import run
from training.versions import bundle_of

pytestmark = [mark for mark in MARKS if mark.name == "filterwarnings"]
N = 160
SNAPSHOTS = ("telco", "bank", "credit")

SOURCE: dict[str, Any] = {
    "name": "club", "description": "invented members", "time_zone": "UTC", "currency": "EUR",
    "lawful_basis": "invented people",
    "attributes": {
        "files": ["members.csv"], "owner": "us", "steward": "us",
        "columns": {
            "customer_ref": {"from": "id", "category": "identifier", "purposes": ["analytics"]},
            "event_time": {"constant": "2024-01-01"},
            **{
                name: {"from": name, "type": kind, "category": "x", "purposes": ["analytics"]}
                for name, kind in (("age", "number"), ("fee", "number"), ("plan", "text"))
            },
        },
    },
    "outcomes": {
        "files": ["members.csv"], "owner": "us", "steward": "us",
        "columns": {
            "customer_ref": {"from": "id", "category": "identifier", "purposes": ["analytics"]},
            "event_time": {"constant": "2024-01-31"},
            "name": {"constant": "left"},
            "value": {"from": "left", "category": "x", "purposes": ["analytics"]},
        },
    },
}  # fmt: skip
PIPELINE: dict[str, Any] = {
    "name": "club", "data": "club",
    "task": {"use": "outcome.Outcome", "config": {
        "name": "leaving", "output": "leaving_probability", "outcome": "left", "horizon_days": 30,
        "question": "Will a member leave within {horizon_days} days?",
    }},
    "cutoffs": {"snapshots": ["2024-01-02"], "folds": 2, "repeats": 2, "inner": 2},
    "features": [{"use": "attributes.Attributes", "config": {"columns": {
        "age": {"unit": "years", "sensitivity": "audit"}, "plan": "category",
        "fee": {"unit": "currency", "theme": "price"},
    }}}],
    "model": {"use": "logistic.Logistic", "config": {"C": 0.5}},
    "baselines": [{"use": "recency.Recency", "config": {"column": "attributes__fee"}}],
    "search": {"trials": 2, "metric": "log_loss", "space": {"C": [0.1, 1, "log"]}},
    "decide": {"value": 100, "contact_cost": 1, "offer_cost": 5},
    "gates": {"roc_auc": {"min": 0.5, "champion_margin": 0.5}},
    "bootstrap": 20,
    "card": {
        "owner": "us", "purpose": "to test", "users": "testers", "misuse": "nothing else",
        "limits": "few members",
    },
}  # fmt: skip


def members(path: Path) -> None:
    """Members whose fee and plan say something of who leaves."""
    rng = np.random.default_rng(3)
    fee, basic = rng.gamma(4.0, 10.0, N), rng.random(N) < 0.5
    left = rng.random(N) < 1 / (1 + np.exp(-(0.06 * (fee - 40) + 1.5 * basic - 0.8)))
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["id", "age", "fee", "plan", "left"])
        for k in range(N):
            plan = "basic" if basic[k] else "full"
            writer.writerow([f"M{k}", rng.integers(18, 80), f"{fee[k]:.2f}", plan, int(left[k])])


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two versions: the second, with another seed of the model, is judged against the first."""
    folder = tmp_path_factory.mktemp("crossed")
    with pytest.MonkeyPatch.context() as patched:
        settled(folder, patched)
        patched.setattr(Figure, "savefig", drawn)
        members(folder / "data" / "members.csv")
        configs = folder / "configs"
        (configs / "data").mkdir(parents=True)
        (configs / "data" / "club.yaml").write_text(yaml.safe_dump(SOURCE, sort_keys=False))
        (configs / "club.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
        place = Workspace.locate(configs=configs, data=folder / "data")
        first = run(place, pipeline.load_plan(place, configs / "club.yaml"))
        review.approve(place, "club", 1, "Ada", "good enough")
        changed = ["search.trials=0", "model.config.C=0.01"]
        second = run(place, pipeline.load_plan(place, configs / "club.yaml", changed))
        yield place, first, second


def test_the_pack_says_that_there_is_no_clock(done: Any) -> None:
    """Figures are of answers to every member by others, twice; the card says so."""
    _, first, _ = done
    card = (first.pack.folder / "CARD.md").read_text()
    assert "There is no clock" in card
    assert f"{N:,} customers, {2 * N:,} answers" in card
    assert "Rolling cutoffs" not in card
    assert not (first.pack.folder / "plots" / "timeline.png").exists()
    splits = pd.read_csv(first.pack.folder / "splits.csv")
    assert splits.loc[splits["role"] == "judge", "rows"].sum() == 2 * N
    gates = json.loads((first.pack.folder / "gates.json").read_text())
    assert all(g["passed"] for g in gates), gates


def test_audit_attributes_are_judged_and_not_learned(done: Any) -> None:
    """Age is in slices and in no column of the model."""
    place, first, _ = done
    entry = Record(place).entries("club")[0]
    made: Any = bundle_of(place, entry)
    assert made.columns == ("attributes__plan", "attributes__fee")
    slices = pd.read_csv(first.pack.folder / "slices.csv")["slice"]
    assert slices.str.startswith("attributes__age").sum() == 3


def test_the_champion_is_compared_in_the_same_folds(done: Any) -> None:
    """What is compared are the champion's answers to those it had not seen, fold by fold."""
    place, first, second = done
    differences = pd.read_csv(second.pack.folder / "differences.csv")
    assert CHAMPION in set(differences["against"])
    champions = pd.read_csv(second.pack.folder / "metrics.csv").query("answer == 'champion'")
    own = pd.read_csv(first.pack.folder / "metrics.csv").query("answer == 'candidate'")
    assert np.allclose(champions["value"], own["value"])
    gates = json.loads((second.pack.folder / "gates.json").read_text())
    found = next(g["found"] for g in gates if g["gate"] == "roc_auc against champion")
    assert found.startswith("better by")


def test_costs_decide_the_threshold_that_is_served(done: Any) -> None:
    """The bundle's threshold is where a contact pays; the pack has the curve and its worth."""
    place, first, _ = done
    made: Any = bundle_of(place, Record(place).entries("club")[0])
    assert made.answer.threshold == pytest.approx(6 / (0.3 * 95 + 5))
    worth = pd.read_csv(first.pack.folder / "decisions.csv").set_index("answer")
    assert set(worth.index) == {"candidate", "recency"}
    assert (first.pack.folder / "plots" / "profit.png").is_file()


def test_reasons_are_told_by_theme(done: Any) -> None:
    """Themes of the YAML and of the set, with groups that are no larger than the sample."""
    _, first, _ = done
    told = pd.read_csv(first.pack.folder / "themes.csv")
    assert set(told["theme"]) == {"price", "person"}
    assert pd.read_csv(first.pack.folder / "groups.csv")["customers"].sum() <= N


@pytest.mark.parametrize("name", ["telco", "bank", "credit", "propensity", "winback", "service"])
def test_shipped_questions_fit_their_sources(name: str, place: Workspace) -> None:
    """Each YAML is read and checked against its source; three have no clock."""
    plan = pipeline.load_plan(
        place.model_copy(update={"configs": CONFIGS}), CONFIGS / f"{name}.yaml"
    )
    assert plan.config.serve == "generic"
    assert f"at {plan.config.cutoffs.said}".count("snapshot") == (name in SNAPSHOTS)


def test_costs_of_an_amount_are_refused(place: Workspace) -> None:
    """Decisions are about events."""
    place = place.model_copy(update={"configs": CONFIGS})
    said = ["decide={value: 10, contact_cost: 0, offer_cost: 1}"]
    with pytest.raises(ConfigError, match="decide: is about events"):
        pipeline.load_plan(place, CONFIGS / "spend.yaml", said)


def test_segments_of_a_snapshot_are_refused(place: Workspace) -> None:
    """They are judged by a later period, so they need a clock."""
    place = place.model_copy(update={"configs": CONFIGS})
    said = ["cutoffs={snapshots: [2024-01-02]}"]
    with pytest.raises(ConfigError, match="kind 'segments' needs a clock"):
        pipeline.load_plan(place, CONFIGS / "segments.yaml", said)

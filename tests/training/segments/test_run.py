"""A whole segmentation on a small simulated source: learned, judged, followed, named, refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from features.errors import ConfigError
from features.progress import Progress
from features.settings import Workspace, resolve
from features.snapshot import SETS
from tests.training.whole import learned, planned, workspace
from tests.worlds import CONFIGS
from training import pipeline
from training.keys import add_reviewer
from training.record import Record
from training.segments.bundle import SegmentsBundle
from training.segments.by_category import spend_by_category
from training.segments.inputs import check_columns
from training.segments.judge import CATEGORIES
from training.versions import bundle_at

pytestmark = pytest.mark.filterwarnings("ignore:Operation with range:pandas.errors.Pandas4Warning")

ACTIVITY = ["rfm__recency_days", "orders__orders_365d", "orders__spend_365d"]
PIPELINE: dict[str, Any] = {
    "name": "segments",
    "data": "simulated",
    "source": {
        "simulate.customers": 500, "simulate.days": 800,
        "simulate.tables": ["order_lines", "products"],
    },
    "task": {"use": "segments.Segments", "config": {"horizon_days": 60}},
    "cutoffs": {
        "test": "end-60d", "latest": "end-120d", "every_days": 60, "count": 4, "folds": 2,
        "fold_steps": 1, "history_days": 60,
    },
    "features": [{"use": "rfm.Rfm"}, {"use": "orders.Orders", "columns": [
        "orders__orders_365d", "orders__spend_365d", "orders__spend_total", "orders__basket_items",
        "orders__items_365d", "orders__items_180d", "orders__returns_365d",
        "orders__refund_rate_365d",
    ]}],
    "ways": [{"use": "kmeans.KMeans"}, {"use": "rules.Rules"}],
    "columns": {"activity": ACTIVITY},
    "choose": {"trials": 3, "k": [3, 4], "bootstrap": 3},
    "refits": 5,
    "gates": {
        "bootstrap_ari": {"min": 0.2}, "buying_auc": {"min": 0.5, "champion_margin": 0.5},
    },
    "bootstrap": 20,
    "card": {
        "owner": "us", "purpose": "to test", "users": "testers", "misuse": "nothing else",
        "limits": "few customers",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One workspace for all runs of this file: tables and features are made once."""
    return workspace(tmp_path_factory.mktemp("segments"))


def bundle(work: Workspace, folder: Path) -> SegmentsBundle:
    """The bundle in a folder of a run or a pack."""
    made = bundle_at(work, folder / "bundle")
    assert isinstance(made, SegmentsBundle)
    return made


def test_a_run_leaves_a_pack_that_can_be_judged(work: Workspace) -> None:
    """Card without empty cells, plots with their tables, gates that hold, a bundle that answers."""
    run = learned(work, PIPELINE)
    pack = run.judged(work, None)
    facts = pack.manifest["facts"]
    assert facts["gates_passed"], [g for g in facts["gates"] if not g["passed"]]
    for name in ("profile", "sizes", "stability", "choice", "migration", "axes"):
        assert (pack.folder / "plots" / f"{name}.png").stat().st_size > 5_000
        assert len(pd.read_csv(pack.folder / "plots" / f"{name}.csv"))
    card = (pack.folder / "CARD.md").read_text()
    for title in ("Segments", "Why this segmentation", "Principles", "Who moved", "Early warnings"):
        assert f"## {title}\n" in card
    metrics = pd.read_csv(pack.folder / "metrics.csv")
    assert set(metrics["answer"]) == {
        "candidate", "rfm_quintiles", "rfm_kmeans", "rfm_kmeans_20", "rfm_kmeans_log",
    }  # fmt: skip
    assert metrics["value"].notna().all()
    assert set(metrics.loc[metrics["metric"] == CATEGORIES, "answer"]) == set(metrics["answer"])
    made = bundle(work, pack.folder)
    frame = pd.DataFrame(json.loads((pack.folder / "input_example.json").read_text())["rows"])
    told = made.predict_frame(frame.astype(float))
    assert set(told["segment"]) <= {s.id for s in made.answer.segments}
    assert sum(s.share for s in made.answer.segments) == pytest.approx(1.0)
    assert sum(s.value_share for s in made.answer.segments) == pytest.approx(1.0)
    segments = pd.read_csv(pack.folder / "segments.csv")
    counted = {"segments": "mean_spend", "migration": "value_after", "migration_month": "share",
               "warnings": "value", "plots/migration": "share"}  # fmt: skip
    for name, told in counted.items():
        table = pd.read_csv(pack.folder / f"{name}.csv", dtype=str)
        numbers = pd.to_numeric(table["customers"], errors="coerce")
        assert ((numbers == 0) | (numbers >= 20) | numbers.isna()).all(), name
        assert (table.loc[numbers.isna(), told] == "not shown").all(), name
    examples = pd.read_csv(pack.folder / "examples.csv")
    assert set(examples["column"]) == set(made.columns)
    assert examples.groupby(["segment", "column"]).size().eq(3).all()
    few = segments["customers"].astype(str).str.startswith("under")
    assert (segments.loc[few, "mean_spend"] == "not shown").all()


def test_spend_by_category_is_that_of_the_tables(work: Workspace) -> None:
    """Added up with pandas from the period after the test cutoff, by customer and category."""
    run = learned(work, PIPELINE)
    customers = pd.read_parquet(run.published.folder / "test.parquet")["customer_id"].to_numpy()
    found = spend_by_category(run.plan, run.prepared, customers)
    lines, products = (
        pd.read_parquet(run.prepared.stored.published.folder / f"{name}.parquet")
        for name in ("order_lines", "products")
    )
    test = pd.Timestamp(run.prepared.moments.test)
    until = test + pd.Timedelta(days=60)
    after = (lines["event_time"] >= test) & (
        lines[["event_time", "known_time"]].max(axis=1) < until
    )
    sold = lines[after & ~lines["is_return"]].merge(
        products[products[["event_time", "known_time"]].max(axis=1) < test].drop_duplicates(
            "product_id"
        )[["product_id", "category"]]
    )
    wide = sold.pivot_table(
        index="customer_id", columns="category", values="amount_minor", aggfunc="sum"
    )
    assert found is not None
    assert found.sum() > 0
    np.testing.assert_array_equal(found, wide.reindex(customers).fillna(0).to_numpy())


@pytest.mark.usefixtures("undrawn")
def test_the_same_again_is_recognised_and_a_champion_is_followed(work: Workspace) -> None:
    """A rerun does nothing; judged against another segmentation, the card tells what became."""
    run = learned(work, PIPELINE)
    assert not learned(work, PIPELINE).published.fresh
    other = learned(work, PIPELINE, "ways=[{use: rules.Rules}]", "choose.trials=1")
    champion = bundle(work, other.published.folder)
    pack = run.judged(work, champion)
    followed = pd.read_csv(pack.folder / "followed.csv")
    old = followed[followed["segment"] != "none before"]
    assert set(old["segment"]) == {s.id for s in champion.answer.segments}
    test = pd.read_parquet(run.published.folder / "test.parquet")
    shown = pd.to_numeric(old["customers"], errors="coerce")
    hidden = shown.isna().sum()
    assert shown.sum() <= len(test) <= shown.sum() + 19 * hidden
    metrics = pd.read_csv(pack.folder / "metrics.csv")
    assert "champion" in set(metrics["answer"])
    assert pack.manifest["facts"]["against_champion"] == champion.digest


@pytest.mark.usefixtures("undrawn")
def test_edited_names_survive_retraining(work: Workspace) -> None:
    """Lines of names.yaml, edited, name what is learned anew with another seed."""
    run = learned(work, PIPELINE)
    pack = run.judged(work, None)
    lines = yaml.safe_load((pack.folder / "names.yaml").read_text())["names"]
    for line in lines:
        line |= {"id": f"X{line['id']}", "name": f"ours {line['id']}"}
    again = learned(work, PIPELINE, f"names={json.dumps(lines)}", "seed=8")
    before = {s.id: s.medians for s in bundle(work, run.published.folder).answer.segments}
    kept = [s for s in bundle(work, again.published.folder).answer.segments if s.id.startswith("X")]
    assert len(kept) >= len(lines) - 1
    for segment in kept:
        assert segment.name == f"ours {segment.id[1:]}"
        assert segment.words.startswith(segment.name)
        then = before[segment.id[1:]]
        distances = {
            i: sum(
                abs(np.log1p(segment.medians[c]) - np.log1p(m[c])) for c in ACTIVITY
            ) for i, m in before.items()
        }  # fmt: skip
        assert then is before[min(distances, key=lambda i: distances[i])]


@pytest.mark.usefixtures("undrawn")
def test_a_new_version_keeps_the_letters_of_the_champion(work: Workspace, tmp_path: Path) -> None:
    """Learned with another seed after an approval, like segments keep letters; itself is known."""
    place = work.model_copy(update={"registry": tmp_path / "registry"})
    one = learned(place, PIPELINE, "ways=[{use: kmeans.KMeans, config: {k: 4}}]")
    record, digest = Record(place), one.digest
    add_reviewer(place.keys, "us")
    for event in ("registered", "approved"):
        record.append(event, "segments", 1, digest, "us", "a test", {})
    progress = Progress("segments", one.plan.family.stages)
    assert not one.plan.family.learn(place, one.plan, one.prepared, progress).fresh
    ways = "ways=[{use: kmeans.KMeans, config: {k: 5}}]"
    two = learned(place, PIPELINE, ways, "seed=9")
    assert two.published.manifest["facts"]["follows"] == digest
    before, after = (bundle(place, run.published.folder).answer.segments for run in (one, two))
    names = {s.id: s.name for s in before}
    kept = [s for s in after if s.id in names]
    assert len(kept) == 4
    assert all(s.name == names[s.id] for s in kept)
    (new,) = (s for s in after if s.id not in names)
    assert new.id == "E"
    assert not learned(place, PIPELINE, ways, "seed=9").published.fresh


def test_margins_are_confident_where_refits_agree(work: Workspace) -> None:
    """Customers told surely are those that refits put there: the share is the mean confidence."""
    run = learned(work, PIPELINE)
    history = pd.read_parquet(run.published.folder / "history.parquet")
    assert history["confidence"].between(0, 1).all()
    assert history.groupby("cutoff").size().gt(50).all()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("ways=[{use: kmeans.Nothing}]", "defines no such part"),
        ("ways=[{use: kmeans.KMeans, config: {k: 1}}]", "greater than or equal to 2"),
        ("gates={accuracy: {min: 0.5}}", "unknown metric"),
        ("gates={segments: {beats_baseline: true}}", "no better or worse"),
        ("gates={bootstrap_ari: {champion_margin: 0.1}}", "not measured of a champion"),
        ("cutoffs={snapshots: [end-100d]}", "needs a clock"),
        ("choose.k=[5, 3]", "fewest and most clusters"),
        ("nothing=1", "unknown key"),
    ],
)
def test_what_does_not_fit_is_refused_before_data_are_read(
    setting: str, said: str, place: Workspace
) -> None:
    """Each mistake by name."""
    with pytest.raises(ConfigError, match=said):
        planned(place, PIPELINE, setting)


VIEWS = sorted(path.name for path in CONFIGS.glob("segments_*.yaml"))


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_fits_the_features_that_it_lists(name: str, place: Workspace) -> None:
    """Rules name columns that are there, words as words; each view is a model of its own."""
    plan = pipeline.load_plan(place, CONFIGS / name, ())
    assert plan.config.name == name.removesuffix(".yaml")
    schema = [k for part in plan.config.features for k in resolve(SETS, part).columns()]
    check_columns(plan.config, schema)


def test_words_and_audit_attributes_are_refused_by_name(place: Workspace) -> None:
    """Each where it stands, with what to do."""
    rules = {"values": {"profile__age_years": [30], "profile__region": [1]}, "quantiles": {},
             "words": ["rfm__recency_days"], "rules": []}  # fmt: skip
    ways = f"ways=[{{use: rules.Rules, config: {json.dumps(rules)}}}]"
    plan = pipeline.load_plan(place, CONFIGS / "segments_people.yaml", (ways,))
    schema = [k for part in plan.config.features for k in resolve(SETS, part).columns()]
    with pytest.raises(ConfigError) as error:
        check_columns(plan.config, schema)
    for said in ("'profile__age_years' is kept for audits", "'profile__region' holds words",
                 "'rfm__recency_days' holds numbers"):  # fmt: skip
        assert said in str(error.value)


def test_columns_that_are_not_there_are_all_named(work: Workspace) -> None:
    """Every place and column at once, with the remedy."""
    with pytest.raises(ConfigError, match="does not fit its features") as error:
        learned(
            work, PIPELINE, "columns={activity: [web__visits, rfm__recency_days]}", "value=nothing"
        )
    assert "columns.activity: no column 'web__visits'" in str(error.value)
    assert "value: no column 'nothing'" in str(error.value)

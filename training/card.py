"""The card of a version: what it is, how it was judged and how it was learned, as sections."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.settings import Part, canonical, fingerprint, resolve
from features.snapshot import read_schema
from features.store import Published
from training.bundle import MODELS
from training.evaluate import CANDIDATE, Judged
from training.pipeline import Plan, Prepared, versions
from training.report import Section, pairs

TREE = {
    "clean": "The code is the committed code.",
    "changed": "The tree differs from the commit: a demo may be approved, a release may not.",
    "unknown": "The code has no git history here: a demo may be approved, a release may not.",
}


@dataclass(frozen=True)
class Case:
    """A run and what judging it found: all that the review pack is written from."""

    plan: Plan
    prepared: Prepared
    learned: Published
    space: str
    """What scores and contributions are measured in."""
    judged: Judged
    by_slice: pd.DataFrame
    gates: list[dict[str, Any]]
    importance: pd.DataFrame
    alarms: list[tuple[str, float]]
    """Features that separate the classes alone, with their ROC-AUC."""
    champion_note: str
    """Why there is no champion to compare with; empty where there is one."""
    code: dict[str, str]
    """Commit and state of the tree."""

    @property
    def facts(self) -> dict[str, Any]:
        """What learning wrote down."""
        return dict(self.learned.manifest["facts"])

    @property
    def test(self) -> datetime:
        """The test cutoff."""
        return self.prepared.moments.test

    @property
    def matured(self) -> datetime:
        """When all labels of the test cutoff were known."""
        task = self.plan.task
        return self.test + timedelta(days=task.horizon_days + task.maturity_days)


def sections(case: Case) -> list[Section]:
    """All sections, in the order in which a reviewer needs them."""
    return [
        _identity(case),
        Section("Gates", [TREE[case.code["tree"]]], pd.DataFrame(case.gates)),
        _metrics(case),
        _differences(case),
        _slices(case),
        _learning(case),
        _parameters(case),
        _calibration(case),
        _calibration_choice(case),
        _drivers(case),
        _features(case),
        _data(case),
        _limits(case),
        _again(case),
    ]


def _identity(case: Case) -> Section:
    config, task, card = case.plan.config, case.plan.task, case.plan.config.card
    text = [
        task.question,
        f"Purpose: {card.purpose}.",
        f"For: {card.users}.",
        f"Not for: {card.misuse}.",
    ]
    facts = {
        "model": config.name,
        "owner": card.owner,
        "made on": f"{datetime.now():%Y-%m-%d}",
        "answers with": f"{task.output}, calibrated; scores and explanations in {case.space}",
        "bundle digest": case.facts["digest"],
        "run key": case.learned.manifest["key"],
        "config fingerprint": fingerprint(config),
        "commit": case.code["commit"],
        "tree": case.code["tree"],
        "judge anew by": f"{case.matured + timedelta(days=card.review_after_days):%Y-%m-%d}",
    }
    return Section("What it is", text, pairs(facts))


def _metrics(case: Case) -> Section:
    values = case.judged.table()
    text = (
        f"{len(case.judged.rows):,} customers at {case.test:%Y-%m-%d}, "
        f"labels until {case.matured:%Y-%m-%d}, rate {case.facts['rate']:.4f}; looked at once. "
        f"Intervals: {case.plan.config.bootstrap} bootstrap draws over customers. "
        "Threshold for accuracy, precision, recall and F1: "
        f"{case.facts['thresholds'][CANDIDATE]:.4f}, the one that told classes apart best on the "
        "validation cutoffs."
    )
    return Section(
        "Metrics on the test cutoff",
        [text],
        _beside(values, "answer", _with_intervals(values, "value")),
        ("reliability", "gain", "lift", "precision_recall", "roc", "confusion"),
    )


def _differences(case: Case) -> Section:
    paired = case.judged.differences()
    text = (
        "Paired differences on the same rows and draws; above 0 = the candidate is better. "
        f"Champion: {case.champion_note or 'compared'}."
    )
    table = _beside(paired, "against", _with_intervals(paired, "better_by", sign="+"))
    return Section("Candidate against each other answer", [text], table)


def _with_intervals(table: pd.DataFrame, column: str, sign: str = "") -> list[str]:
    """Such as ``0.7412 [0.7102, 0.7688]``."""
    spans = zip(table[column], table["ci_low"], table["ci_high"], strict=True)
    return [f"{v:{sign}.4f} [{low:{sign}.4f}, {high:{sign}.4f}]" for v, low, high in spans]


def _beside(table: pd.DataFrame, answers: str, cells: list[str]) -> pd.DataFrame:
    """Metrics down, answers across."""
    wide = table.assign(cell=cells).pivot_table(
        index="metric", columns=answers, values="cell", aggfunc="first", sort=False
    )
    return wide.reset_index()


def _slices(case: Case) -> Section:
    shown = ["slice", "n", "rate", "mean_probability", "roc_auc", "log_loss", "note"]
    return Section(
        "Slices",
        ["Groups judged apart; intervals are wide where a group is small."],
        case.by_slice[shown].astype(object).fillna("not judged"),
        ("slices",),
    )


def _learning(case: Case) -> Section:
    search, folder = case.plan.config.search, case.learned.folder
    text = [
        "Rolling cutoffs; a row teaches a block only if its label window has ended by then.",
        f"{case.facts['taught_rows']:,} rows of {case.facts['taught_customers']:,} customers "
        "taught the shipped model.",
        f"Search: {search.trials} trials by {search.metric} "
        f"on {len(case.prepared.moments.folds)} validation cutoffs.",
    ]
    searched = len(pd.read_csv(folder / "search.csv")) > 0
    plots = ("timeline", "search") if searched else ("timeline",)
    return Section("How it was learned", text, pd.read_csv(folder / "splits.csv"), plots)


def _parameters(case: Case) -> Section:
    part = Part(**case.facts["parts"][CANDIDATE])
    values = {
        **resolve(MODELS, part).config.model_dump(),
        "calibration": canonical(case.facts["calibrators"][CANDIDATE]),
        "season's shift at the test cutoff (log-odds)": case.facts["shift"],
    }
    return Section("Parameters", [f"{part.use}, seed {case.plan.config.seed}."], pairs(values))


def _calibration(case: Case) -> Section:
    folds = pd.read_csv(case.learned.folder / f"folds.{CANDIDATE}.csv")
    text = (
        "Learned on out-of-time scores. The season's shift is how far the same season a year ago "
        "departed from what a model that had not seen it expected."
    )
    return Section("Calibration on earlier cutoffs", [text], folds.drop(columns="answer"))


def _calibration_choice(case: Case) -> Section:
    choice = pd.read_csv(case.learned.folder / f"calibration.{CANDIDATE}.csv")
    text = "Log loss of each cutoff by a curve learned on the others."
    return Section("Choice of the calibration", [text], choice.drop(columns="answer"))


def _drivers(case: Case) -> Section:
    text = [
        f"Mean absolute contribution in {case.space}; direction is the rank correlation of value "
        "and contribution. Contributions explain the score before calibration and are no causes.",
        f"Largest gap between base + contributions and the score: {case.facts['additivity']:.2g}.",
    ]
    return Section("What drives the score", text, case.importance.head(15), ("beeswarm",))


def _features(case: Case) -> Section:
    found = "; ".join(f"{name} alone reaches AUC {auc:.3f}" for name, auc in case.alarms)
    schema = [
        {"column": k.name, "unit": k.unit, "meaning": k.meaning, "missing means": k.missing}
        for k in read_schema(case.prepared.features.folder)
    ]
    text = f"Features that separate the classes alone: {found or 'none'}."
    return Section("Features", [text], pd.DataFrame(schema))


def _data(case: Case) -> Section:
    source, tables = case.plan.source, case.prepared.stored.facts
    text = [
        source.description,
        f"Lawful basis: {source.lawful_basis}.",
        f"{tables['seen']:,} records seen, each in one place; {tables['customers']:,} customers, "
        f"{tables['first']} to {tables['last']} ({source.time_zone}), "
        f"amounts in {source.currency}.",
    ]
    account = [
        {"disposition": disposition, "reason": reason, "records": n}
        for disposition, reasons in tables["account"].items()
        for reason, n in reasons.items()
    ]
    return Section("Data", text, pd.DataFrame(account))


def _limits(case: Case) -> Section:
    text = [
        f"{case.plan.config.card.limits}.",
        "A probability holds for customers like those asked about, in a season like those seen.",
    ]
    return Section("Limits", text)


def _again(case: Case) -> Section:
    text = f"python -m training run {case.plan.path.name} with the settings in config.resolved.yaml"
    return Section("Make it again", [text], pairs(versions()))

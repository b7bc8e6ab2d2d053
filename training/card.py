"""The card of a version: what it is, how it was judged and how it was learned, as sections."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pandas as pd

from features.leakage.report import Report, read_checks
from features.settings import Part, canonical, fingerprint, resolve
from features.snapshot import read_schema
from features.store import Published
from training.bundle import MODELS
from training.evaluate import ALARM, CANDIDATE, CENTRE, SLICE_METRICS, Judged
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
    """Features that tell the answer alone, with their ROC-AUC or rank correlation."""
    champion_note: str
    """Why there is no champion to compare with; empty where there is one."""
    code: dict[str, str]
    """Commit and state of the tree."""

    @property
    def facts(self) -> dict[str, Any]:
        """What learning wrote down."""
        return dict(self.learned.manifest["facts"])

    @property
    def leakage(self) -> Report:
        """What the leakage kit found of the features."""
        return read_checks(self.prepared.checks.folder)

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
        _leakage(case),
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


JUDGED_BY = {
    "event": ("reliability", "gain", "lift", "precision_recall", "roc", "confusion"),
    "amount": ("deciles", "calibration", "gain"),
}
"""Plots beside the metrics."""


def _metrics(case: Case) -> Section:
    values, kind = case.judged.table(), case.judged.kind
    text = [
        f"{len(case.judged.rows):,} customers at {case.test:%Y-%m-%d}, "
        f"labels until {case.matured:%Y-%m-%d}, {CENTRE[kind]} {case.facts['rate']:.4f}; looked at "
        f"once. Intervals: {case.plan.config.bootstrap} bootstrap draws over customers."
    ]
    if kind == "event":
        text.append(
            "Threshold for accuracy, precision, recall and F1: "
            f"{case.facts['thresholds'][CANDIDATE]:.4f}, the one that told classes apart best on "
            "the validation cutoffs."
        )
    else:
        text.append(
            f"MAE, RMSE and means in {_unit(case)}; total_ratio is predicted over actual, "
            "capture_at_10 the share of it that the tenth with the highest answers has."
        )
    table = _beside(values, "answer", _with_intervals(values, "value"))
    return Section("Metrics on the test cutoff", text, table, JUDGED_BY[kind])


def _unit(case: Case) -> str:
    """What answers are measured in."""
    unit = case.plan.task.unit
    return case.plan.source.currency if unit == "currency" else unit


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
    kind = case.judged.kind
    shown = ["slice", "n", CENTRE[kind], *sorted(SLICE_METRICS[kind]), "note"]
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
        f"Dropped: {case.facts['dropped_immature']:,} customers at cutoffs whose labels were not "
        f"known by the test cutoff, {case.facts['dropped_unlabelled']:,} without a known label.",
    ]
    searched = len(pd.read_csv(folder / "search.csv")) > 0
    plots = ("timeline", "search") if searched else ("timeline",)
    splits = pd.read_csv(folder / "splits.csv").astype(object).fillna("not known")
    return Section("How it was learned", text, splits, plots)


def _parameters(case: Case) -> Section:
    part = Part(**case.facts["parts"][CANDIDATE])
    values = {
        **resolve(MODELS, part).config.model_dump(),
        "calibration": canonical(case.facts["calibrators"][CANDIDATE]),
        f"season's shift at the test cutoff ({case.space})": case.facts["shift"],
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
    text = {
        "event": "Log loss of each cutoff by a curve learned on the others.",
        "amount": "Absolute logarithm of predicted over actual total, each cutoff by a factor "
        "learned on the others.",
    }[case.judged.kind]
    return Section("Choice of the calibration", [text], choice.drop(columns="answer"))


def _drivers(case: Case) -> Section:
    text = [
        f"Mean absolute contribution in {case.space}; direction is the rank correlation of value "
        "and contribution. Contributions explain the score before calibration and are no causes.",
        f"Largest gap between base + contributions and the score: {case.facts['additivity']:.2g}.",
    ]
    return Section("What drives the score", text, case.importance.head(15), ("beeswarm",))


def _features(case: Case) -> Section:
    found = "; ".join(f"{name} alone reaches {value:.3f}" for name, value in case.alarms)
    schema = [
        {"column": k.name, "unit": k.unit, "meaning": k.meaning, "missing means": k.missing}
        for k in read_schema(case.prepared.features.folder)
    ]
    text = f"{ALARM[case.judged.kind].capitalize()}: {found or 'none'}."
    return Section("Features", [text], pd.DataFrame(schema))


def _leakage(case: Case) -> Section:
    report = case.leakage
    text = [
        "A sample of customers computed anew with other futures, late news, shuffled rows, fewer "
        "customers, a later calendar and cutoffs one by one: no value may change by a bit.",
        *report.verdict,
    ]
    return Section("Leakage checks", text, pd.DataFrame(report.by_set()))


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
        {"table": name, "disposition": disposition, "reason": reason, "records": n}
        for name, facts in tables["tables"].items()
        for disposition, reasons in facts["account"].items()
        for reason, n in reasons.items()
    ]
    return Section("Data", text, pd.DataFrame(account))


def _limits(case: Case) -> Section:
    text = [
        f"{case.plan.config.card.limits}.",
        "An answer holds for customers like those asked about, in a season like those seen.",
    ]
    return Section("Limits", text)


def _again(case: Case) -> Section:
    text = f"python -m training run {case.plan.path.name} with the settings in config.resolved.yaml"
    return Section("Make it again", [text], pairs(versions()))

"""The card of a supervised answer: how it was judged and how it was learned, as sections."""

from dataclasses import dataclass

import pandas as pd

from features.settings import Part, canonical, resolve
from training.bundle import MODELS
from training.card import (
    Case,
    again,
    beside,
    data,
    features,
    gates,
    identity,
    leakage,
    limits,
    with_intervals,
)
from training.evaluate import ALARM, CENTRE, SLICE_METRICS, Judged
from training.gates import CANDIDATE
from training.report import Section, pairs
from training.supervised.config import SupervisedPlan


@dataclass(frozen=True)
class SupervisedCase(Case):
    """What judging a supervised answer found besides."""

    plan: SupervisedPlan
    space: str
    """What scores and contributions are measured in."""
    judged: Judged
    by_slice: pd.DataFrame
    importance: pd.DataFrame
    alarms: list[tuple[str, float]]
    """Features that tell the answer alone, with their ROC-AUC or rank correlation."""


def sections(case: SupervisedCase) -> list[Section]:
    """All sections, in the order in which a reviewer needs them."""
    return [
        identity(
            case,
            f"{case.plan.task.output}, calibrated; scores and explanations in {case.space}",
        ),
        gates(case),
        _metrics(case),
        _differences(case),
        _slices(case),
        _learning(case),
        _parameters(case),
        _calibration(case),
        _calibration_choice(case),
        _drivers(case),
        _features(case),
        leakage(case),
        data(case),
        limits(case),
        again(case),
    ]


JUDGED_BY = {
    "event": ("reliability", "gain", "lift", "precision_recall", "roc", "confusion"),
    "amount": ("deciles", "calibration", "gain"),
}
"""Plots beside the metrics."""


def _metrics(case: SupervisedCase) -> Section:
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
    table = beside(values, "answer", with_intervals(values, "value"))
    return Section("Metrics on the test cutoff", text, table, JUDGED_BY[kind])


def _unit(case: SupervisedCase) -> str:
    """What answers are measured in."""
    unit = case.plan.task.unit
    return case.plan.source.currency if unit == "currency" else unit


def _differences(case: SupervisedCase) -> Section:
    paired = case.judged.differences()
    text = (
        "Paired differences on the same rows and draws; above 0 = the candidate is better. "
        f"Champion: {case.champion_note or 'compared'}."
    )
    table = beside(paired, "against", with_intervals(paired, "better_by", sign="+"))
    return Section("Candidate against each other answer", [text], table)


def _slices(case: SupervisedCase) -> Section:
    kind = case.judged.kind
    shown = ["slice", "n", CENTRE[kind], *sorted(SLICE_METRICS[kind]), "note"]
    return Section(
        "Slices",
        ["Groups judged apart; intervals are wide where a group is small."],
        case.by_slice[shown].astype(object).fillna("not judged"),
        ("slices",),
    )


def _learning(case: SupervisedCase) -> Section:
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


def _parameters(case: SupervisedCase) -> Section:
    part = Part(**case.facts["parts"][CANDIDATE])
    values = {
        **resolve(MODELS, part).config.model_dump(),
        "calibration": canonical(case.facts["calibrators"][CANDIDATE]),
        f"season's shift at the test cutoff ({case.space})": case.facts["shift"],
    }
    return Section("Parameters", [f"{part.use}, seed {case.plan.config.seed}."], pairs(values))


def _calibration(case: SupervisedCase) -> Section:
    folds = pd.read_csv(case.learned.folder / f"folds.{CANDIDATE}.csv")
    text = (
        "Learned on out-of-time scores. The season's shift is how far the same season a year ago "
        "departed from what a model that had not seen it expected."
    )
    return Section("Calibration on earlier cutoffs", [text], folds.drop(columns="answer"))


def _calibration_choice(case: SupervisedCase) -> Section:
    choice = pd.read_csv(case.learned.folder / f"calibration.{CANDIDATE}.csv")
    text = {
        "event": "Log loss of each cutoff by a curve learned on the others.",
        "amount": "Absolute logarithm of predicted over actual total, each cutoff by a factor "
        "learned on the others.",
    }[case.judged.kind]
    return Section("Choice of the calibration", [text], choice.drop(columns="answer"))


def _drivers(case: SupervisedCase) -> Section:
    text = [
        f"Mean absolute contribution in {case.space}; direction is the rank correlation of value "
        "and contribution. Contributions explain the score before calibration and are no causes.",
        f"Largest gap between base + contributions and the score: {case.facts['additivity']:.2g}.",
    ]
    return Section("What drives the score", text, case.importance.head(15), ("beeswarm",))


def _features(case: SupervisedCase) -> Section:
    found = "; ".join(f"{name} alone reaches {value:.3f}" for name, value in case.alarms)
    return features(case, f"{ALARM[case.judged.kind].capitalize()}: {found or 'none'}.")

"""The card of a supervised answer: how it was judged and how it was learned, as sections."""

import numpy as np
import pandas as pd

from features.cutoffs import Snapshots
from features.settings import resolve
from training import event_plots, explanation_plots, plots, value_plots
from training.bundle import MODELS
from training.card import (
    again,
    beside,
    data,
    data_changes,
    features,
    gates,
    identity,
    leakage,
    limits,
    shown_worse,
    with_intervals,
)
from training.evaluate import ALARM, CENTRE, SLICE_METRICS
from training.gates import CANDIDATE
from training.metrics import LOWER_IS_BETTER
from training.model_part import ModelPart
from training.plots import Drawn
from training.repairs import COLUMN, TABLE
from training.report import Section, pairs
from training.supervised import (
    changes,
    coverage,
    decide_report,
    fairness,
    lever_report,
    stale,
    stated,
    theme_report,
    tier_report,
    timing_report,
    tuned,
    value_report,
)
from training.supervised.case import SupervisedCase
from training.tune import search_slices

EXPLAINED = 15
"""Columns that the card lists as driving the score."""


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
        *fairness.sections(case),
        *coverage.sections(case),
        *tier_report.sections(case),
        *(value_report.sections(case.value, case.plan.source.currency) if case.value else ()),
        *(timing_report.sections(case.timing) if case.timing else ()),
        _learning(case),
        _parameters(case),
        *_repairs(case),
        _calibration(case),
        _calibration_choice(case),
        *decide_report.sections(case),
        _drivers(case),
        *theme_report.sections(case),
        *stated.sections(case),
        *lever_report.sections(case),
        *stale.sections(case),
        *changes.sections(case),
        _features(case),
        leakage(case),
        data(case),
        data_changes(case),
        limits(case),
        again(case),
    ]


def _metrics(case: SupervisedCase) -> Section:
    values, kind = case.judged.table(), case.judged.kind
    rows, centre = case.judged.rows, f"{CENTRE[kind]} {case.facts['rate']:.4f}"
    if case.crossed:
        who = (
            f"{len(np.unique(rows.customers)):,} customers, {len(rows):,} answers, {centre}. There "
            "is no clock: each customer was answered by models made from other customers alone, so "
            "these figures say nothing of how answers fare as time goes on."
        )
    else:
        who = (
            f"{len(rows):,} customers at {case.test:%Y-%m-%d}, "
            f"labels until {case.matured:%Y-%m-%d}, {centre}; looked at once."
        )
    drawn = f"Intervals: {case.plan.config.bootstrap} bootstrap draws over customers."
    text = [f"{who} {drawn}"]
    if kind == "event":
        text.append(
            "Threshold for accuracy, precision, recall and F1: "
            f"{case.facts['thresholds'][CANDIDATE]:.4f}, "
            + (
                "from which a contact pays."
                if case.plan.config.decide
                else "the one that told classes apart best on the validation blocks"
                + (", and for each answer the one of its own model." if case.crossed else ".")
            )
        )
        text.append(
            "Chance alone opens gaps between probability and rate, and each draw adds its own: the "
            "interval of ece lies high and may leave out its value."
        )
    else:
        text.append(
            f"MAE, RMSE and means in {case.unit}; total_ratio is predicted over actual, "
            "capture_at_10 the share of it that the tenth with the highest answers has."
        )
    table = beside(values, "answer", with_intervals(values, "value")).fillna("not told")
    heading = "Metrics across customers" if case.crossed else "Metrics on the test cutoff"
    ranked = case.judged.ranked
    events = kind == "event"
    figures = event_plots.of_events(ranked) if events else value_plots.of_amounts(ranked, case.unit)
    return Section(heading, text, table, figures=figures)


def _differences(case: SupervisedCase) -> Section:
    paired = case.judged.differences()
    text = (
        "Paired differences on the same rows and draws; above 0 = the candidate is better. "
        f"Champion: {case.champion_note or 'compared'}."
    )
    table = beside(paired, "against", with_intervals(paired, "better_by", sign="+"))
    table = table.fillna("not told")
    return Section("Candidate against each other answer", [text, shown_worse(paired)], table)


def _slices(case: SupervisedCase) -> Section:
    kind = case.judged.kind
    shown = ["slice", "n", CENTRE[kind], *sorted(SLICE_METRICS[kind]), "note"]
    return Section(
        "Slices",
        ["Groups judged apart; intervals are wide where a group is small."],
        case.by_slice[shown].astype(object).fillna("not judged"),
        figures={
            "slices": (
                case.by_slice,
                plots.slices(case.by_slice, SLICE_METRICS[kind][0], CENTRE[kind]),
            )
        },
        files={"slices": case.by_slice},
    )


def _learning(case: SupervisedCase) -> Section:
    search, folder = case.plan.config.search, case.learned.folder
    cutoffs = case.plan.config.cutoffs
    if isinstance(cutoffs, Snapshots):
        rule = (
            f"Customers divided into {cutoffs.folds} parts, {cutoffs.repeats} time(s), with equal "
            "rates; each part is answered by a model whose parameters and calibration were chosen "
            f"by dividing the others into {cutoffs.inner} parts. What ships is chosen likewise "
            "among all customers and learned from all of them."
        )
    else:
        rule = "Rolling cutoffs; a row teaches a block only if its label window has ended by then."
    text = [
        rule,
        f"{case.facts['taught_rows']:,} rows of {case.facts['taught_customers']:,} customers "
        "taught the shipped model.",
        f"Search: {search.trials} trials by {search.metric} "
        f"on {len(pd.read_csv(folder / f'folds.{CANDIDATE}.csv'))} validation blocks"
        + (", and as many anew for each part." if case.crossed else "."),
        *_tuning(case),
        f"Dropped: {case.facts['dropped_immature']:,} customers at cutoffs whose labels were not "
        f"known by the test cutoff, {case.facts['dropped_unlabelled']:,} without a known label.",
    ]
    splits, drawn = pd.read_csv(folder / "splits.csv"), _searched(case)
    if not case.crossed:
        timeline = plots.timeline(splits, CENTRE[case.judged.kind])
        drawn = {"timeline": (splits, timeline), **drawn}
    shown = splits.astype(object).fillna("not known")
    return Section("How it was learned", text, shown, figures=drawn)


def _tuning(case: SupervisedCase) -> list[str]:
    """What tuning is worth; nothing where nothing was tuned."""
    aged = stale.read(case.learned.folder)
    if aged is None:
        return []
    said = tuned.sentence(
        case.learned.folder, case.rows, aged[stale.NOW], case.plan.config.search.metric,
        case.judged.kind, *case.draws,
    )  # fmt: skip
    return [said] if said else []


def _searched(case: SupervisedCase) -> Drawn:
    """What the search tried; nothing where it tried nothing."""
    search, trials = case.plan.config.search, pd.read_csv(case.learned.folder / "search.csv")
    if trials.empty:
        return {}
    by_field = search_slices(trials, case.plan.config.model, search)
    return {
        "search": (trials, plots.search(trials, search.metric, search.metric in LOWER_IS_BETTER)),
        "search_slices": (by_field, plots.search_slices(by_field, search.metric)),
    }


def _parameters(case: SupervisedCase) -> Section:
    part = ModelPart(**case.facts["parts"][CANDIDATE])
    beside = {"own_share": part.own_share, "averaged_with": [p.use for p in part.averaged_with]}
    values = {
        **resolve(MODELS, part).config.model_dump(),
        **(beside if part.averaged_with else {}),
        "calibration": case.facts["calibrators"][CANDIDATE],
        **(
            {}
            if case.crossed
            else {f"season's shift at the test cutoff ({case.space})": case.facts["shift"]}
        ),
    }
    return Section("Parameters", [f"{part.named}, seed {case.plan.config.seed}."], pairs(values))


def _repairs(case: SupervisedCase) -> list[Section]:
    """Where the YAML declares repairs: what was learned for them, and how many values they met."""
    path = case.learned.folder / TABLE
    if not path.is_file():
        return []
    table = pd.read_csv(path)
    text = (
        "Learned from the rows that taught the shipped model and no others. The model is told by a "
        "mark of its own which values were repaired; an answer names them in its column "
        f"`{COLUMN}`. Explanations show values as they came."
    )
    return [Section("Repairs", [text], table, files={"repairs": table})]


def _calibration(case: SupervisedCase) -> Section:
    folds = pd.read_csv(case.learned.folder / f"folds.{CANDIDATE}.csv")
    if case.crossed:
        text = "Learned on scores of customers by models that had not seen them."
        return Section("Calibration", [text], folds.drop(columns=["answer", "season_shift"]))
    text = (
        "Learned on out-of-time scores. The season's shift is how far the same season a year ago "
        "departed from what a model that had not seen it expected."
    )
    return Section("Calibration on earlier cutoffs", [text], folds.drop(columns="answer"))


def _calibration_choice(case: SupervisedCase) -> Section:
    choice = pd.read_csv(case.learned.folder / f"calibration.{CANDIDATE}.csv")
    text = {
        "event": "Log loss of each block by a curve learned on the others.",
        "amount": "Absolute logarithm of predicted over actual total, each block by a factor "
        "learned on the others.",
    }[case.judged.kind]
    return Section("Choice of the calibration", [text], choice.drop(columns="answer"))


def _drivers(case: SupervisedCase) -> Section:
    explained = case.explained
    text = [
        f"Mean absolute contribution in {case.space}; direction is the rank correlation of value "
        "and contribution. Contributions explain the score before calibration and are no causes.",
        f"Largest gap between base + contributions and the score: {case.facts['additivity']:.2g}.",
    ]
    worded = [k.name for k in case.made.answer.columns if k.dtype == "string"]
    importance = explanation_plots.importance_table(explained, worded)
    labels = [name.replace("__", ": ").replace("_", " ") for name in explained.columns]
    drawn = {"beeswarm": (importance, explanation_plots.beeswarm(explained, labels))}
    words = set(importance.loc[importance["direction"] == "by word", "feature"])
    depends = explanation_plots.dependence_table(explained, importance, words)
    if len(depends):
        drawn["dependence"] = depends, explanation_plots.dependence(depends, explained.space)
    return Section(
        "What drives the score", text, importance.head(EXPLAINED),
        figures=drawn, files={"importance": importance},
    )  # fmt: skip


def _features(case: SupervisedCase) -> Section:
    found = "; ".join(f"{name} alone reaches {value:.3f}" for name, value in case.alarms)
    return features(case, f"{ALARM[case.judged.kind].capitalize()}: {found or 'none'}.")

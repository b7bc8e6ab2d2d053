"""The card of a supervised answer: how it was judged and how it was learned, as sections."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from features.cutoffs import Snapshots
from features.settings import Part, canonical, resolve
from training.bundle import MODELS
from training.card import (
    Case,
    again,
    beside,
    data,
    data_changes,
    features,
    gates,
    identity,
    leakage,
    limits,
    with_intervals,
)
from training.contract import Explanation
from training.evaluate import ALARM, CENTRE, SLICE_METRICS, Judged
from training.gates import CANDIDATE
from training.report import Section, pairs
from training.supervised import (
    changes,
    coverage,
    fairness,
    lever_report,
    stale,
    stated,
    tier_report,
    timing_report,
    value_report,
)
from training.supervised.config import SupervisedPlan
from training.supervised.sets import Sets
from training.supervised.timing_report import TimingReport
from training.supervised.value_report import ValueReport


@dataclass(frozen=True)
class SupervisedCase(Case):
    """What judging a supervised answer found besides."""

    plan: SupervisedPlan
    space: str
    """What scores and contributions are measured in."""
    judged: Judged
    by_slice: pd.DataFrame
    importance: pd.DataFrame
    explained: Explanation
    """Of the rows drawn to be explained."""
    alarms: list[tuple[str, float]]
    """Features that tell the answer alone, with their ROC-AUC or rank correlation."""
    themes: pd.DataFrame
    groups: pd.DataFrame | None
    """Customers at or above the threshold by what raises their score most; None for amounts."""
    decisions: pd.DataFrame | None
    """What each answer is worth, where costs are given."""
    fair: pd.DataFrame | None = None
    """What each group of the audit attributes gets of an event's answers; None without any."""
    said: pd.DataFrame | None = None
    """What customers wrote about; None where the source brings nothing of it."""
    sets: Sets | None = None
    """Which answers cannot be ruled out, where the YAML asks for it."""
    covered: pd.DataFrame | None = None
    """Whether answer sets hold the true answer; None without sets."""
    tiers: pd.DataFrame | None = None
    """Volume and precision by tier; None without tiers."""
    moved: pd.DataFrame | None = None
    """How answers move with what a business can move; None where the YAML names nothing."""
    wanted: str = ""
    """Which way is better."""
    staleness: pd.DataFrame | None = None
    """What models of other ages reach; None where nothing tells ages."""
    search_helped: str = ""
    """What tuning is worth, in words; empty where nothing was tuned."""
    drift: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Test rows against the latest lesson and the champion's test rows."""
    signature: pd.DataFrame = field(default_factory=pd.DataFrame)
    """What differs from the champion for who calls it."""
    costs: dict[str, float] = field(default_factory=dict)
    """Latency, size and memory."""
    value: ValueReport | None = None
    """Of answers that tell customer values."""
    timing: TimingReport | None = None
    """Of answers that tell when."""

    @property
    def crossed(self) -> bool:
        """Whether customers were divided, because there is no clock."""
        return isinstance(self.plan.config.cutoffs, Snapshots)


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
        *_fairness(case),
        *_sets(case),
        *(() if case.tiers is None else (tier_report.section(case.tiers),)),
        *(value_report.sections(case.value, case.plan.source.currency) if case.value else ()),
        *(timing_report.sections(case.timing) if case.timing else ()),
        _learning(case),
        _parameters(case),
        _calibration(case),
        _calibration_choice(case),
        *_decisions(case),
        _drivers(case),
        *_themes(case),
        *(() if case.moved is None else (lever_report.section(case.moved, case.wanted),)),
        *_aging(case),
        *changes.drift_section(case.drift),
        changes.signature_section(case.signature, case.champion_note),
        changes.cost_section(case.costs),
        _features(case),
        leakage(case),
        data(case),
        data_changes(case),
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
    else:
        text.append(
            f"MAE, RMSE and means in {_unit(case)}; total_ratio is predicted over actual, "
            "capture_at_10 the share of it that the tenth with the highest answers has."
        )
    table = beside(values, "answer", with_intervals(values, "value")).fillna("not told")
    heading = "Metrics across customers" if case.crossed else "Metrics on the test cutoff"
    return Section(heading, text, table, JUDGED_BY[kind])


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
    table = table.fillna("not told")
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


def _fairness(case: SupervisedCase) -> list[Section]:
    if case.fair is None or case.judged.rows.audit is None:
        return []
    return [fairness.section(case.fair, [str(name) for name in case.judged.rows.audit.columns])]


def _sets(case: SupervisedCase) -> list[Section]:
    if case.covered is None or case.sets is None:
        return []
    return [coverage.section(case.covered, case.sets, case.crossed)]


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
        *([case.search_helped] if case.search_helped else []),
        f"Dropped: {case.facts['dropped_immature']:,} customers at cutoffs whose labels were not "
        f"known by the test cutoff, {case.facts['dropped_unlabelled']:,} without a known label.",
    ]
    searched = len(pd.read_csv(folder / "search.csv")) > 0
    plots = (() if case.crossed else ("timeline",)) + (
        ("search", "search_slices") if searched else ()
    )
    splits = pd.read_csv(folder / "splits.csv").astype(object).fillna("not known")
    return Section("How it was learned", text, splits, plots)


def _parameters(case: SupervisedCase) -> Section:
    part = Part(**case.facts["parts"][CANDIDATE])
    values = {
        **resolve(MODELS, part).config.model_dump(),
        "calibration": canonical(case.facts["calibrators"][CANDIDATE]),
        **(
            {}
            if case.crossed
            else {f"season's shift at the test cutoff ({case.space})": case.facts["shift"]}
        ),
    }
    return Section("Parameters", [f"{part.use}, seed {case.plan.config.seed}."], pairs(values))


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
    text = [
        f"Mean absolute contribution in {case.space}; direction is the rank correlation of value "
        "and contribution. Contributions explain the score before calibration and are no causes.",
        f"Largest gap between base + contributions and the score: {case.facts['additivity']:.2g}.",
    ]
    by_value = (case.importance["direction"] != "by word").any()
    drawn = ("beeswarm", *(("dependence",) if by_value else ()))
    return Section("What drives the score", text, case.importance.head(15), drawn)


def _themes(case: SupervisedCase) -> list[Section]:
    text = (
        f"Contributions in {case.space} summed over the columns about the same thing; the sums add "
        "up to the score as contributions do."
    )
    shown = case.themes.round(4)
    found = [Section("Reasons by theme", [text], shown, ("themes",))]
    if case.groups is not None and len(case.groups):
        sampled = len(case.explained.scores)
        text = (
            f"Of {sampled:,} customers drawn, the {case.groups['customers'].sum():,} at or above "
            "the threshold, by the theme that raises their score most. An association, no cause."
        )
        found.append(Section("Groups with a common reason", [text], case.groups.round(3)))
    if case.said is not None:
        found.append(stated.section(case.said))
    return found


def _decisions(case: SupervisedCase) -> list[Section]:
    costs, currency = case.plan.config.decide, case.plan.source.currency
    if costs is None or case.decisions is None:
        return []
    a, b = costs.accept.alpha, costs.accept.beta
    text = [
        f"A contact costs {costs.contact_cost:g} {currency}, an offer that is taken "
        f"{costs.offer_cost:g}, a customer who stays is worth {costs.value:g}; of those about to "
        f"leave a share takes the offer that is Beta({a:g}, {b:g}), {costs.accept.mean:.2f} on "
        "average. Those who would have stayed all take it.",
        f"At that average a contact pays from probability {costs.threshold:.4f} on: the threshold "
        "that is served. Profits are per customer.",
    ]
    if costs.capacity is not None:
        text.append(f"At most {costs.capacity:,} contacts can be made.")
    return [Section("What decisions are worth", text, case.decisions.round(4), ("profit",))]


def _aging(case: SupervisedCase) -> list[Section]:
    if case.staleness is None:
        return []
    return [stale.section(case.staleness, case.plan.config.search.metric, case.judge_anew)]


def _features(case: SupervisedCase) -> Section:
    found = "; ".join(f"{name} alone reaches {value:.3f}" for name, value in case.alarms)
    return features(case, f"{ALARM[case.judged.kind].capitalize()}: {found or 'none'}.")

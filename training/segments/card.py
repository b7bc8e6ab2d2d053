"""The card of a segmentation: what segments there are, why these, how sure, who moves."""

from dataclasses import dataclass

import pandas as pd

from training import card
from training.card import Case
from training.gates import Compared
from training.report import Section, pairs
from training.segments.bundle import SegmentsAnswer
from training.segments.choose import FITS
from training.segments.config import SegmentsPlan
from training.segments.judge import MEANING
from training.segments.profile import LEAST_SHOWN
from training.segments.reach import ANY

SHOWN = (
    "way", "columns", "segments", "score", "told", "ari", "jaccard_low", "smallest", "silhouette",
    "davies_bouldin", "calinski_harabasz", "gap", "bic", "state", "reason",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SegmentsCase(Case):
    """What the pack of a segmentation is written from."""

    plan: SegmentsPlan
    judged: Compared
    answer: SegmentsAnswer
    trials: pd.DataFrame
    stability: pd.DataFrame
    profile: pd.DataFrame
    apart: pd.DataFrame
    examples: pd.DataFrame
    segments: pd.DataFrame
    moved: dict[str, pd.DataFrame]
    alarm: pd.DataFrame
    reach: pd.DataFrame | None
    """Share of each segment that may be spoken to by channel; None: the source has no consents."""
    followed: pd.DataFrame | None
    known: float
    """Share of customers with a value in every column."""


def sections(case: SegmentsCase) -> list[Section]:
    """All sections, in the order in which a reviewer needs them."""
    return [
        card.identity(case, "a segment with name, margin, confidence and runner-up"),
        card.gates(case),
        _segments(case),
        _rules(case),
        _metrics(case),
        _differences(case),
        _chosen(case),
        _trials(case),
        _principles(case),
        _stability(case),
        _profile(case),
        _apart(case),
        _examples(case),
        _moved(case),
        _alarm(case),
        _followed(case),
        _learning(case),
        card.features(case, _left_out(case)),
        card.leakage(case),
        card.data(case),
        card.data_changes(case),
        card.limits(case),
        card.again(case),
    ]


def _segments(case: SegmentsCase) -> Section:
    before = case.facts["follows"]
    text = [
        f"Learned without any outcome from {case.facts['taught_rows']:,} customers at "
        f"{case.facts['taught_at']}. At that date:",
        *(f"{s.id}: {s.words}." for s in case.answer.segments),
        f"The table shows the same segments at the test cutoff {case.test:%Y-%m-%d}, "
        f"amounts in {case.answer.currency}. Names come from the traits that stand out most; "
        "names.yaml holds them to be edited. "
        + (
            f"Letters and names of like segments are kept from bundle {before[:12]}."
            if before
            else "There was no version to keep letters and names from."
        ),
    ]
    return Section("Segments", text, case.segments, ("sizes",))


def _rules(case: SegmentsCase) -> Section:
    table = pd.DataFrame(
        [
            {"segment": s.id, "name": s.name, "rule": s.rule, "precision": s.precision,
             "coverage": s.coverage}
            for s in case.answer.segments
        ]
    )  # fmt: skip
    text = "The rule of at most three conditions that finds each segment best."
    return Section("Segments as rules", [text], table)


def _metrics(case: SegmentsCase) -> Section:
    table = case.judged.table()
    wide = card.beside(table, "answer", card.with_intervals(table, "value"))
    wide = wide.astype(object).where(wide.notna(), "not measured")
    wide.insert(1, "what", [MEANING[m] for m in wide["metric"]])
    text = (
        f"{case.facts['test_rows']:,} customers at {case.test:%Y-%m-%d}, judged by their spend "
        f"until {case.matured:%Y-%m-%d}, looked at once. Intervals: "
        f"{case.plan.config.bootstrap} bootstrap draws over customers; of refits, over refits. "
        "Baselines have as many groups: rfm_quintiles cuts the sum of R, F and M scores, "
        "rfm_kmeans is k-means on standardised R, F and M, rfm_kmeans_20 the same with groups of "
        "fewer than 20 customers joined to the nearest, rfm_kmeans_log on their logarithms."
    )
    return Section("Metrics on the test cutoff", [text], wide)


def _differences(case: SegmentsCase) -> Section:
    paired = case.judged.differences()
    text = (
        "Paired differences on the same customers and draws; above 0 = the candidate is better. "
        f"Champion: {case.champion_note or 'compared'}."
    )
    cells = card.with_intervals(paired, "better_by", sign="+")
    table = card.beside(paired, "against", cells)
    return Section(
        "Candidate against each other answer",
        [text, card.shown_worse(paired)],
        table.fillna("not measured"),
    )


def _chosen(case: SegmentsCase) -> Section:
    best = case.trials[case.trials["state"] == "chosen"].iloc[0]
    config = case.plan.config.choose
    fits = case.trials["reason"] == FITS
    text = [
        f"{len(case.trials)} trials on cutoffs before the test, {int(fits.sum())} of which keep "
        f"every demand: stability {config.stability:g}, no segment under {config.smallest:.2%} or "
        f"{LEAST_SHOWN} customers, at most {config.most} segments, none that dissolves under "
        "resampling. Among these the one is chosen that tells most of the next period: the mean "
        "share explained of who buys, of spend and of its logarithm, less "
        f"{config.penalty:g} for each segment.",
    ]
    if best["reason"] != FITS:
        text.append(f"No trial keeps every demand; the nearest one {best['reason']}.")
    return Section(
        "Why this segmentation", text,
        pairs({name: best[name] for name in SHOWN if best[name] == best[name]}), ("choice",),
    )  # fmt: skip


def _trials(case: SegmentsCase) -> Section:
    table = case.trials.sort_values("score", ascending=False, kind="stable")
    text = (
        "Silhouette, Davies-Bouldin, Calinski-Harabasz in the scaled space of each trial's own "
        "columns, so they compare trials with the same columns; gap for clusters, BIC for mixtures."
    )
    shown = table[list(SHOWN)].astype(object)
    return Section("All trials", [text], shown.where(table[list(SHOWN)].notna(), "not defined"))


def _principles(case: SegmentsCase) -> Section:
    def metric(name: str) -> float:
        return float(case.judged.draws["candidate"][name][0])

    weakest = case.apart.sort_values("columns", kind="stable")
    least = int(weakest["columns"].iloc[0]) if len(weakest) else 0
    facts = {
        "relevant": f"{metric('eta_squared'):.1%} of the next period's spend lies between "
        f"segments, AUC of buying {metric('buying_auc'):.3f}",
        "measurable": f"{case.known:.1%} of customers have a value in every column",
        "actionable": f"any two segments have means outside each other's intervals in at least "
        f"{least} columns beyond R, F, M; {_reach(case)}",
        "distinct": f"{metric('segments'):.0f} segments, the smallest "
        f"{metric('smallest_share'):.2%} of customers",
        "stable": f"adjusted Rand index {metric('bootstrap_ari'):.3f} over refits, "
        f"{metric('relearned_ari'):.3f} to what is learned a cutoff earlier; "
        f"{metric('stayed'):.1%} of customers stay from month to month",
    }
    text = "The five principles of segmentation, each with its measure."
    return Section("Principles", [text], pairs(facts))


def _reach(case: SegmentsCase) -> str:
    if case.reach is None or case.reach[ANY].isna().all():
        return "the source does not say who may be spoken to"
    lowest = case.reach.loc[case.reach[ANY].idxmin()]
    return (
        f"of the least reachable segment, {lowest['segment']}, {lowest[ANY]:.1%} may be spoken to "
        "(reach.csv, by channel)"
    )


def _stability(case: SegmentsCase) -> Section:
    text = (
        f"Jaccard similarity of each segment to its counterpart over {case.plan.config.refits} "
        "refits on resampled customers; under 0.5 a segment dissolves, over 0.85 it is highly "
        "stable (Hennig 2007). Confidence in replies is learned from the same refits. stayed: "
        "share of its customers who are still in it a cutoff later."
    )
    table = case.stability.astype(object).where(case.stability.notna(), "not shown")
    return Section("Stability", [text], table, ("stability",))


def _profile(case: SegmentsCase) -> Section:
    ranked = case.profile.assign(size=case.profile["shift"].abs())
    top = ranked.sort_values("size", ascending=False, kind="stable").groupby("segment").head(6)
    top = top.sort_values(["segment", "size"], ascending=[True, False], kind="stable")
    text = (
        "Means with 95 % intervals in the columns' own units; shift in standard deviations of the "
        "scaled column. profile.csv has all columns."
    )
    return Section(
        "Profiles", [text], top.drop(columns="size").fillna("not known"), ("profile", "axes")
    )


def _examples(case: SegmentsCase) -> Section:
    text = (
        "Values of the customers nearest to the middle of each segment, to two significant digits, "
        f"with nothing that names them; segments of fewer than {LEAST_SHOWN} show none."
    )
    table = case.examples
    if table.empty:
        return Section("Example customers", [text])
    names = [*table["segment"] + " " + table["example"].astype(str)]
    wide = table.assign(customer=names).pivot_table(
        index="customer", columns="column", values="value", sort=False, dropna=False
    )
    known = wide.astype(object).where(wide.notna(), "unknown").reset_index()
    return Section("Example customers", [text], known)


def _apart(case: SegmentsCase) -> Section:
    text = "Columns beyond R, F and M in which the 95 % intervals of two segments' means are apart."
    if case.apart.empty:
        return Section("What tells segments apart", [text, "There is one segment only."])
    return Section("What tells segments apart", [text], case.apart)


def _moved(case: SegmentsCase) -> Section:
    moved = case.moved["period"]
    text = (
        "Customers by segment at the last teaching cutoff and at the test cutoff, by the same "
        "segmentation, with their value before and after; migration_month.csv has two adjacent "
        "cutoffs."
    )
    return Section("Who moved", [text], moved[moved["customers"] != 0], ("migration",))


def _alarm(case: SegmentsCase) -> Section:
    return Section("Early warnings", ["About the segment of the highest value."], case.alarm)


def _followed(case: SegmentsCase) -> Section:
    title = "The champion's segments in this version"
    if case.followed is None:
        return Section(title, [f"Not compared: {case.champion_note}."])
    text = "Matched by shared customers of the test cutoff; drift is 1 - overlap (Jaccard)."
    return Section(title, [text], case.followed)


def _learning(case: SegmentsCase) -> Section:
    text = [
        "Ways are compared on the validation cutoffs, the chosen one learns at the last teaching "
        "cutoff. Spend after a cutoff chooses between segmentations and judges; none learns it.",
    ]
    splits = pd.read_csv(case.learned.folder / "splits.csv").astype(object).fillna("not known")
    return Section("How it was learned", text, splits)


def _left_out(case: SegmentsCase) -> str:
    left = "; ".join(f"{name}: {why}" for name, why in case.facts["left_out"].items())
    used = ", ".join(column.name for column in case.answer.columns)
    return (
        f"Segments are learned from {used}; a missing value counts as the median. "
        f"Left out: {left or 'none'}."
    )

"""The card of recommendations."""

from dataclasses import dataclass

import pandas as pd

from training import card
from training.card import Case
from training.gates import CANDIDATE, Compared
from training.recommend.bundle import ListsAnswer
from training.recommend.explain import FAMILIES
from training.report import Section, pairs

PUBLISHED = {"recall": "Recall", "ndcg": "NDCG", "hit_rate": "PHR"}
"""Measures of next baskets by their published names."""
SHOWN = ("ndcg_at_10", "recall_at_10", "hit_rate_at_10")
LISTS = {
    "all": "everything the customer {} in the window",
    "repeat": "what of it the customer had {} before",
    "discovery": "what of it the customer had never {}",
    "cold": "everything, for customers who had come once",
}
SAID = {
    "coverage_at_10": "share of offered items that are on anybody's list",
    "novelty_at_10": "mean self-information of listed items, bits; higher = known to fewer",
    "diversity_at_10": "1 - mean likeness of two items of a list",
    "popularity_at_10": "mean popularity rank of listed items, 0 = the most popular",
}


@dataclass(frozen=True)
class ListsCase(Case):
    """A run of recommendations and what judging it found."""

    judged: Compared
    answer: ListsAnswer
    trials: pd.DataFrame
    splits: pd.DataFrame
    categories: pd.DataFrame
    """Shares of categories bought before, listed, and bought after."""
    importance: pd.DataFrame


def sections(case: ListsCase) -> list[Section]:
    """Everything that the card says."""
    makers = ", ".join(part.use for part in case.answer.makers)
    return [
        card.identity(case, f"lists out of {case.answer.items:,} items; candidates by {makers}"),
        card.gates(case),
        *[_metrics(case, name) for name in LISTS],
        *([_next_basket(case)] if case.plan.task.config.next_basket else []),
        _differences(case),
        _beyond(case),
        _categories(case),
        _families(case),
        _learning(case),
        _ladder(case),
        _bundle(case),
        card.leakage(case),
        card.data(case),
        card.data_changes(case),
        card.limits(case),
        card.again(case),
    ]


def _metrics(case: ListsCase, name: str) -> Section:
    table = case.judged.table()
    wanted = [f"{name}_{metric}" for metric in SHOWN]
    own = table[table["metric"].isin(wanted)]
    cells = own.assign(cell=card.with_intervals(own, "value"))
    wide = cells.pivot_table(
        index="answer", columns="metric", values="cell", aggfunc="first", sort=False
    ).reset_index()
    said = case.answer.interactions.said[1]
    text = (
        f"Truth: {LISTS[name].format(said)}, in [{case.test:%Y-%m-%d}, {case.matured:%Y-%m-%d}). "
        "Full ranking of the catalogue, no sampled negatives; recall divides by all true items, "
        f"later launches included ({case.facts['beyond_share']:.1%} of all). "
        f"Intervals: {case.plan.config.bootstrap} bootstrap draws over customers. metrics.csv has "
        "lists of 5 and of 20, too."
    )
    return Section(f"List: {name}", [text], wide, ("ndcg", "recall_by_k") if name == "all" else ())


def next_basket(judged: Compared) -> pd.DataFrame:
    """Recall, NDCG and PHR at 10 and 20 of each answer, of all, repeats and explored items."""
    table = judged.table()
    shown = {f"{m}_at_{k}": f"{word}@{k}" for k in (10, 20) for m, word in PUBLISHED.items()}
    parts = table["metric"].str.extract(r"^(all|repeat|discovery)_(.+)$")
    own = table.assign(list=parts[0], measure=parts[1].map(shown)).dropna(subset="measure")
    wide = own.pivot_table(
        index=["list", "answer"], columns="measure", values="value", sort=False
    ).round(4)
    return wide[list(shown.values())].reset_index().replace({"list": {"discovery": "explore"}})


def _next_basket(case: ListsCase) -> Section:
    text = (
        "Measures and parts as in Li et al. (2023), A Next Basket Recommendation Reality Check; "
        "PHR is the share of customers with a hit. Repeats and explored items are lists of their "
        "own. Unlike theirs, one moment splits past and future for all customers."
    )
    return Section("Next basket beside published methods", [text], next_basket(case.judged))


def _differences(case: ListsCase) -> Section:
    paired = case.judged.differences()
    own = paired[paired["metric"].str.endswith("ndcg_at_10")]
    text = (
        "Paired differences in NDCG@10 on the same customers and draws; above 0 = the candidate is "
        f"better. Champion: {case.champion_note or 'compared'}."
    )
    table = card.beside(own, "against", card.with_intervals(own, "better_by", sign="+"))
    return Section("Candidate against each other answer", [text, card.shown_worse(own)], table)


def _beyond(case: ListsCase) -> Section:
    table = case.judged.table()
    own = table[table["metric"].isin(SAID)]
    wide = own.pivot_table(index="metric", columns="answer", values="value", sort=False).round(4)
    wide = wide.reset_index()
    wide.insert(1, "what", [SAID[m] for m in wide["metric"]])
    return Section("Beyond accuracy", ["Lists of 10 of everything."], wide, ("coverage",))


def _categories(case: ListsCase) -> Section:
    text = "Shares of categories: in histories, in lists, and in what came after."
    if case.categories.empty:
        return Section("Calibration of categories", [text, "The source names no categories."])
    return Section("Calibration of categories", [text], case.categories.round(4), ("categories",))


def _families(case: ListsCase) -> Section:
    text = (
        "Scores are taken apart exactly (TreeSHAP); columns are added up by family. Mean size of "
        "each family's contribution over lists of invented customers."
    )
    table = case.importance.copy()
    table["what"] = table["family"].map(FAMILIES)
    return Section("What moves the order", [text], table.round(4), ("importance",))


def _learning(case: ListsCase) -> Section:
    value = float(case.judged.draws[CANDIDATE]["all_ndcg_at_10"][0])
    text = [
        "At every cutoff makers are fitted to what was known then; rankers learn on earlier "
        "cutoffs, whose windows end by the test cutoff. Settings are chosen on the last teaching "
        "cutoff, learned before it, and learn again from all; the test cutoff is looked at once "
        f"(NDCG@10 {value:.4f}).",
        "One setting was given, so none was chosen."
        if case.trials.empty
        else "search.csv has every trial: "
        + "; ".join(
            f"{row['list']}: {row['objectives']}, {row['trees']} trees, depth {row['max_depth']}, "
            f"{row['ndcg_at_10']:.4f}{' (chosen)' if row['chosen'] else ''}"
            for _, row in case.trials.iterrows()
        )
        + ".",
    ]
    return Section("How it was learned", text, case.splits)


def _ladder(case: ListsCase) -> Section:
    """Who falls back on what is known of others."""
    facts, segments = case.facts, case.facts["segments"]
    short = facts["fallback"]
    said = {
        "who came in the window and of whom nothing was known": f"{facts['newcomers']:.2%}",
        "test customers whose ten of everything the ranker did not fill": f"{short['all']:.2%}",
        "the same of what was never bought": f"{short['discovery']:.2%}",
        "segments": ", ".join(segments) or "none: the source says none, or the pipeline names none",
    }
    steps = (
        "ranked; described like what the customer had; what sells in the customer's segment; last "
        "year's season; what sells lately. Each step answers where the one before has nothing left "
        "to say, and each item of a reply names its step."
    )
    return Section("Ladder for those of whom little is known", [steps], pairs(said))


def _bundle(case: ListsCase) -> Section:
    made_of = case.answer.interactions
    where = ", ".join(w.model_dump_json(exclude_none=True) for w in made_of.where)
    facts = {
        "histories are made of": f"{made_of.table} {where}".strip(),
        "items": f"{case.answer.items:,}, as they were known at {case.answer.cutoff}",
        "customers in the bundle": "none: histories are posted with each request",
        "of whom only a basket is known": "the basket is taken for the history",
    }
    return Section(
        "What is shipped", ["Item arrays go stale: run the pipeline often."], pairs(facts)
    )

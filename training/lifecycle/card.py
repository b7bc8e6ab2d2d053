"""The card of a lifecycle: which stages there are, how sure, how customers go through them."""

from dataclasses import dataclass

import pandas as pd

from training import card
from training.card import Case
from training.gates import Compared
from training.lifecycle.bundle import LifecycleAnswer
from training.lifecycle.config import LifecyclePlan
from training.lifecycle.figures import ALL
from training.lifecycle.judge import MEANING
from training.report import Section
from training.segments.profile import LEAST_SHOWN

DECIDING = 4
"""Columns named for each step."""


@dataclass(frozen=True, kw_only=True)
class LifecycleCase(Case):
    """What the pack of a lifecycle is written from."""

    plan: LifecyclePlan
    judged: Compared
    answer: LifecycleAnswer
    trials: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    """What the pack tells beside the metrics, by file name."""


def sections(case: LifecycleCase) -> list[Section]:
    """All sections, in the order in which a reviewer needs them."""
    return [
        card.identity(case, "a stage by rules, a learned state with its probability, what follows"),
        card.gates(case),
        _stages(case),
        _states(case),
        _metrics(case),
        _differences(case),
        _chosen(case),
        _alike(case),
        _moves(case),
        _funnel(case),
        _ways(case),
        _channels(case),
        _conversion(case),
        _kpis(case),
        _rfm(case),
        _actions(case),
        _learning(case),
        card.features(case, _features(case)),
        card.leakage(case),
        card.data(case),
        card.data_changes(case),
        card.limits(case),
        card.again(case),
    ]


def _known(table: pd.DataFrame, instead: str = "not shown") -> pd.DataFrame:
    return table.astype(object).where(table.notna(), instead)


def _stages(case: LifecycleCase) -> Section:
    hidden = "; ".join(f"{name}: {why}" for name, why in case.answer.hidden.items())
    meaning = {stage.name: stage.meaning for stage in case.answer.stages}
    table = case.tables["stays"].copy()
    table.insert(1, "meaning", [meaning[name] for name in table["stage"]])
    text = [
        f"By rules at {case.test:%Y-%m-%d}, replayed period by period of "
        f"{case.answer.horizon_days} days; who was in a stage leaves it by weaker demands than "
        f"those to enter. Nothing is told of fewer than {LEAST_SHOWN} customers.",
        f"Stages that cannot be shown here: {hidden or 'none'}.",
    ]
    return Section("Stages", text, table)


def _states(case: LifecycleCase) -> Section:
    text = [
        *(f"{state.id}: {state.words}." for state in case.answer.states),
        f"Learned without any outcome by a {case.facts['tags']['model_family']} model of what "
        "customers do period by period; the table has the states of the next period, dwell.csv how "
        "long stays last.",
    ]
    table = pd.DataFrame([{"state": s.id, "name": s.name, **s.next} for s in case.answer.states])
    return Section("Learned states", text, table, ("states", "dwell"))


def _metrics(case: LifecycleCase) -> Section:
    table = case.judged.table()
    wide = _known(
        card.beside(table, "answer", card.with_intervals(table, "value")), "not comparable"
    )
    wide.insert(1, "what", [MEANING[m] for m in wide["metric"]])
    text = (
        f"{case.facts['test_rows']:,} customers at {case.test:%Y-%m-%d}; orders until "
        f"{case.matured:%Y-%m-%d}, looked at once; the log-likelihood is of the last "
        f"{case.facts['held_periods']} period(s) before the test cutoff, after everything that "
        "was learned from. rule_stages tells the next period by the stage by rules, last_period by "
        "the orders of the last period alone, no_memory by nothing; all learned from the same "
        f"customers. Intervals: {case.plan.config.bootstrap} bootstrap draws over customers."
    )
    return Section("Metrics on the test cutoff", [text], wide)


def _differences(case: LifecycleCase) -> Section:
    paired = case.judged.differences()
    text = (
        "Paired differences on the same customers and draws; above 0 = the candidate is better. "
        f"Champion: {case.champion_note or 'compared'}."
    )
    table = card.beside(paired, "against", card.with_intervals(paired, "better_by", sign="+"))
    return Section(
        "Candidate against each other answer",
        [text, card.shown_worse(paired)],
        _known(table, "not comparable"),
    )


def _chosen(case: LifecycleCase) -> Section:
    text = (
        "Each number of states, with stays of one step (geometric length) or more (negative "
        "binomial), is learned at an earlier cutoff and judged by the periods between it and a "
        "validation cutoff. The fewest states and steps win whose log-likelihood per period is "
        f"within {case.plan.config.chain.enough:g}, or one standard error over customers, of the "
        "best."
    )
    return Section("Why so many states", [text], case.trials, ("choice",))


def _alike(case: LifecycleCase) -> Section:
    text = "Customers at the test cutoff by stage (rows) and learned state (columns)."
    return Section("Stages and states", [text], case.tables["stage_by_state"])


def _moves(case: LifecycleCase) -> Section:
    text = f"All moves of the {case.test:%Y-%m-%d} customers' sequences; moves.csv has the counts."
    moves = case.tables["moves"]
    top = moves[moves["share"].notna() & (moves["share"] > 0) & (moves["from"] != moves["to"])]
    top = top.sort_values("share", ascending=False, kind="stable").head(20)
    if top.empty:
        return Section("Moves between stages", [text, "None is common enough to tell."])
    return Section("Moves between stages", [text], top, ("moves",))


def _funnel(case: LifecycleCase) -> Section:
    table = case.tables["funnel"]
    text = (
        "Customers who were first heard of in sight, by the furthest stage they reached; time is "
        "the median of periods from the step before."
    )
    if table.empty:
        return Section("Funnel", [text, f"Fewer than {LEAST_SHOWN} of them: not shown."])
    return Section("Funnel", [text], _known(table), ("funnel",))


def _ways(case: LifecycleCase) -> Section:
    text = "The commonest stages before the first arrival; ways.csv has the same."
    if case.tables["ways"].empty:
        return Section("Ways", [text, "None is common enough to tell."])
    return Section("Ways", [text], case.tables["ways"])


def _channels(case: LifecycleCase) -> Section:
    table = case.tables["channel_funnel"]
    text = f"Sessions of the last {case.plan.config.kpi_days} days by the furthest step."
    if table.empty:
        return Section("Funnel by channel", [text, "The source brings no events."])
    return Section("Funnel by channel", [text], table)


def _conversion(case: LifecycleCase) -> Section:
    title = "What decides each step"
    if "conversion" not in case.tables:
        return Section(title, [f"Not learned: {case.facts['conversion']['note']}."])
    top = case.tables["conversion_reasons"].groupby("step", sort=False).head(DECIDING)
    said = top["column"] + " (" + top["share"].map("{:.0%}".format) + ", " + top["likelier"] + ")"
    reasons = said.groupby(top["step"], sort=False).agg("; ".join)
    table = case.tables["conversion"].copy()
    table["decided by"] = table["step"].map(reasons)
    text = (
        "Boosted trees over what is known of a session when it first shows a step, learned from "
        f"earlier sessions, judged on those of the last {case.plan.config.actions.test_days} days "
        "beside the rate of the channel. Shares are of the mean absolute Shapley values, in "
        "log-odds, with what makes the next step likelier: more or less of it, something in "
        f"between, or a value. conversion_reasons.csv has all. Steps with fewer than {LEAST_SHOWN} "
        f"customers on a side: {case.facts['conversion']['left_out']}."
    )
    return Section(title, [text], table, ("conversion",))


def _kpis(case: LifecycleCase) -> Section:
    table = case.tables["kpis"]
    plain = table[(table["channel"] == ALL) & table["by"].isin(["everyone", "stage"])]
    wide = plain.pivot_table(index="kpi", columns="group", values="value", sort=False)
    told = {kpi: wide.loc[kpi] if kpi in wide.index else pd.Series(dtype=float)
            for kpi in dict.fromkeys(table["kpi"])}  # fmt: skip
    why = table[table["value"].isna()].drop_duplicates("kpi").set_index("kpi")["note"]
    meaning = table.drop_duplicates("kpi").set_index("kpi")["meaning"]
    groups = list(wide.columns)
    lines = [
        {"kpi": kpi, "meaning": meaning[kpi],
         **{g: f"{row[g]:.4g}" if g in row and row[g] == row[g] else "not told" for g in groups},
         "note": "told" if len(row.dropna()) else why[kpi]}
        for kpi, row in told.items()
    ]  # fmt: skip
    text = (
        f"The {case.plan.config.kpi_days} days before the test cutoff, by the stage in which "
        "customers were when they began; kpis.csv has states, RFM segments and channels too, with "
        "the base of each figure."
    )
    return Section("KPIs by stage", [text], pd.DataFrame(lines))


def _rfm(case: LifecycleCase) -> Section:
    if "rfm_by_stage" not in case.tables:
        text = "Not shown: the features have no recency, frequency and spend."
        return Section("RFM segments and stages", [text])
    text = "Customers at the test cutoff by named RFM rules (rows) and stage (columns)."
    return Section("RFM segments and stages", [text], case.tables["rfm_by_stage"])


def _actions(case: LifecycleCase) -> Section:
    facts = case.facts["actions"]
    if "actions" not in case.tables:
        return Section("Next likely action", [f"Not learned: {facts['note']}."])
    table = case.tables["actions"]
    wide = card.beside(table, "model", card.with_intervals(table, "value"))
    text = (
        f"{facts['actions']:,} actions from {facts['since']} on, each told from those before it. "
        f"Order {facts['order']} tells most of the days before (actions_order.csv); "
        "next_actions.csv has what follows what."
    )
    return Section("Next likely action", [text], wide)


def _learning(case: LifecycleCase) -> Section:
    text = [
        f"The chain learns from {case.facts['taught_rows']:,} customers' sequences at "
        f"{case.facts['taught_at']}; spend after a cutoff judges, and nothing learns it.",
    ]
    return Section(
        "How it was learned", text, _known(pd.read_csv(case.learned.folder / "splits.csv"),
                                           "not known"),
    )  # fmt: skip


def _features(case: LifecycleCase) -> str:
    unseen = "; ".join(f"{name}: {why}" for name, why in case.facts["unseen"].items())
    return (
        f"The chain sees {', '.join(case.answer.observe)}; rules count "
        f"{', '.join(case.answer.observables)}. Not shown by the source: {unseen or 'none'}."
    )

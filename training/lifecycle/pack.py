"""The review pack of a lifecycle: judged beside the rules, told in tables, and drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.leakage.report import read_checks
from features.settings import Part, Workspace, resolve
from features.snapshot import read_schema
from features.store import Published
from training import bundle as common
from training import categories, pack
from training import plots as drawing
from training.bundle import Loaded
from training.contract import Floats
from training.gates import CANDIDATE, CHAMPION, gate_results
from training.keys import verifying_key
from training.lifecycle import card, journeys, plots
from training.lifecycle.bundle import LifecycleBundle
from training.lifecycle.card import LifecycleCase
from training.lifecycle.config import LifecyclePlan
from training.lifecycle.judge import (
    LAST_PERIOD,
    NO_MEMORY,
    RULES,
    Answered,
    Memory,
    compare,
    contexts,
    told,
)
from training.lifecycle.kpis import channel_funnel, kpi_table
from training.lifecycle.sequences import Ints, begun_of, sizes_of
from training.pipeline import Prepared
from training.segments.baselines import RFM
from training.segments.choose import WAYS
from training.segments.segmentation import learn
from training.segments.ways.rules import Rules as Named

ADDITIVITY = 1e-6
LEARNED = ("actions", "actions_order", "next_actions", "conversion", "conversion_reasons")
"""Tables of the run's folder that the pack shows as they are."""
WORKED_ROWS = 12
NOT_ORDERED, NEW = "no order yet", "first heard of within the window"


def write_pack(
    place: Workspace,
    plan: LifecyclePlan,
    prepared: Prepared,
    learned: Published,
    champion: Loaded | None,
    folder: Path,
) -> dict[str, Any]:
    """Judge the candidate beside baselines and champion, and write the pack into ``folder``."""
    config, facts = plan.config, learned.manifest["facts"]
    made = common.load(learned.folder / "bundle", verifying_key(place.keys))
    assert isinstance(made, LifecycleBundle), "learned by this family"
    test, taught = (pd.read_parquet(learned.folder / f"{n}.parquet") for n in ("test", "taught"))
    answers = _answers(made, test, taught, facts["held_periods"], config.chain.prior)
    note = _champion(champion, made, test, answers)
    bought = (test["spend"].to_numpy() > 0).astype(np.float64)
    customers = test[c.CUSTOMER].to_numpy(np.int64)
    judged = compare(answers, bought, customers, config.bootstrap, config.seed)
    leakage = read_checks(prepared.checks.folder)
    gates = gate_results(
        config.gates, judged, RULES, note,
        {
            "log-odds are sums over observations (largest gap)": (facts["additivity"], ADDITIVITY),
            "golden rows replayed in Python (largest gap)": (made.replay(), common.TOLERANCE),
            "golden rows through the MLflow loader (largest gap)": (
                _pyfunc_difference(made), common.TOLERANCE,
            ),
            "leakage checks: broken promises": (float(len(leakage.failed)), 0.0),
            "leakage checks: planted leaks that were missed": (float(len(leakage.missed)), 0.0),
        },
    )  # fmt: skip
    tables = _tables(plan, prepared, made, test, taught)
    names = [state.id for state in made.answer.states]
    alike = pd.DataFrame({
        "stage": _named(made, answers[RULES].label),
        "state": np.array(names)[answers[CANDIDATE].label],
    })  # fmt: skip
    tables["stage_by_state"] = journeys.crossed(alike["stage"], alike["state"])
    for name in LEARNED:
        if (learned.folder / f"{name}.csv").is_file():
            tables[name] = pd.read_csv(learned.folder / f"{name}.csv")
    case = LifecycleCase(
        plan=plan, prepared=prepared, learned=learned, gates=gates, champion_note=note,
        code=pack.code_state(), judged=judged, answer=made.answer,
        trials=pd.read_csv(learned.folder / "search.csv"), tables=tables,
    )  # fmt: skip
    _draw(folder / "plots", case)
    for name, table in {**tables, "search": case.trials}.items():
        table.to_csv(folder / f"{name}.csv", index=False)
    golden = made.recorded_answers["X"]
    example = categories.rows(made.answer.columns, golden[:3])
    (folder / "input_example.json").write_text(json.dumps({"rows": example}, indent=1))
    pd.json_normalize(made.told(golden[:WORKED_ROWS])).to_csv(
        folder / "worked_rows.csv", index=False
    )
    return pack.finish(folder, case, card.sections(case), judged, champion)


def _rows(made: LifecycleBundle, frame: pd.DataFrame) -> Floats:
    found: Floats = frame[list(made.columns)].to_numpy(np.float64)
    return found


def _named(made: LifecycleBundle, stage: Ints) -> np.ndarray:
    return np.array([s.name for s in made.answer.stages], dtype=object)[stage]


def _answers(
    made: LifecycleBundle, test: pd.DataFrame, taught: pd.DataFrame, held: int, prior: float
) -> dict[str, Answered]:
    """The chain and its baselines on the test customers; all learned at the teaching cutoff."""
    blocks = {}
    for name, frame in (("test", test), ("taught", taught)):
        X = _rows(made, frame)
        blocks[name] = (made.rules.paths(made.counts(X)), made.codes(X))
    paths, codes = blocks["test"]
    sizes = sizes_of(list(made.answer.observe.values()))
    found = made.chain.filtered(codes)
    last = found.state[:, -1]
    answers = {
        CANDIDATE: Answered(
            last.argmax(axis=1),
            made.chain.buying(found.step[:, -1]),
            told(found.loglik[:, 1:], codes, held),
        )
    }
    before, now = contexts(*blocks["taught"]), contexts(paths, codes)
    for name in (RULES, LAST_PERIOD, NO_MEMORY):
        memory = Memory.learned(before[name], blocks["taught"][1], sizes, prior)
        label = paths[:, -1] if name == RULES else np.maximum(now[name][:, -1], 0)
        answers[name] = Answered(
            label, memory.buying(now[name]), told(memory.loglik(now[name], codes), codes, held)
        )
    return answers


def _champion(
    champion: Loaded | None,
    made: LifecycleBundle,
    test: pd.DataFrame,
    answers: dict[str, Answered],
) -> str:
    """Put the champion beside the others, or say why that cannot be."""
    if champion is None:
        return "no champion yet"
    if not isinstance(champion, LifecycleBundle):
        return f"the champion answers a question of kind {champion.answer.kind}"
    asked, now = champion.answer, made.answer
    if (asked.source, asked.horizon_days) != (now.source, now.horizon_days):
        return f"the champion answers for {asked.source}, periods of {asked.horizon_days} days"
    lacking = [name for name in champion.columns if name not in test]
    if lacking:
        return f"the champion needs columns that this run lacks: {', '.join(lacking)}"
    seen = champion.seen(_rows(champion, test))
    answers[CHAMPION] = Answered(seen.state, seen.buying)
    return ""


def _pyfunc_difference(made: LifecycleBundle) -> float:
    """Largest difference between the golden answers and those of the class that MLflow loads."""
    golden = made.recorded_answers
    found = common.PyfuncAnswer(made).predict(categories.frame(made.answer.columns, golden["X"]))
    return max(
        float(np.abs(found[name].to_numpy() - golden[name]).max(initial=0.0))
        for name in ("probability", "margin", "buying")
    )


def _tables(
    plan: LifecyclePlan,
    prepared: Prepared,
    made: LifecycleBundle,
    test: pd.DataFrame,
    taught: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Moves, stays, funnel, ways, KPIs and RFM against stages, for the test cutoff."""
    config, names = plan.config, [stage.name for stage in made.answer.stages]
    counts = made.counts(_rows(made, test))
    paths = made.rules.paths(counts)
    new = ~begun_of(~np.isnan(counts))[:, 0]
    steps = [step for step in config.funnel if step in names]
    goals = {
        goal: kept for goal, own in config.goals.items()
        if (kept := [stage for stage in own if stage in names])
    }  # fmt: skip
    found = {
        "moves": journeys.moves(paths, names), "stays": journeys.stays(paths, names),
        "funnel": journeys.funnel(paths, new, names, steps),
        "ways": journeys.ways(paths, names, goals),
        "dwell": _dwell(made),
    }  # fmt: skip
    groups = _groups(plan, prepared, made, test, taught, paths)
    if "segment" in groups:
        stage = pd.Series(_named(made, paths[:, -1]), index=test[c.CUSTOMER])
        found["rfm_by_stage"] = journeys.crossed(groups["segment"], stage)
    tables = prepared.stored.open(config.sample)
    try:
        view = tables.asof([prepared.moments.test])
        found["kpis"] = kpi_table(view, config.kpi_days, groups)
        found["channel_funnel"] = channel_funnel(view, config.kpi_days)
    finally:
        tables.backend.disconnect()
    return found


def _dwell(made: LifecycleBundle) -> pd.DataFrame:
    """How long stays in each learned state last, in periods."""
    most = made.codes(made.recorded_answers["X"][:1]).shape[1]
    stays = made.chain.stays(most)
    return pd.DataFrame({
        "state": np.repeat([state.id for state in made.answer.states], most),
        "periods": np.tile(np.arange(1, most + 1), len(stays)), "probability": stays.ravel(),
    })  # fmt: skip


def _groups(
    plan: LifecyclePlan,
    prepared: Prepared,
    made: LifecycleBundle,
    test: pd.DataFrame,
    taught: pd.DataFrame,
    paths: Ints,
) -> dict[str, pd.Series]:
    """Ways to group the test customers: all, stage and state when the window began, RFM segment.

    What follows is told by where customers were before it; by where they are now it would tell of
    itself.
    """
    customers = pd.Index(test[c.CUSTOMER])
    back = -(-plan.config.kpi_days // plan.task.horizon_days)
    at = max(paths.shape[1] - 1 - back, 0)
    found = made.chain.filtered(made.codes(_rows(made, test)))
    state = np.array([s.id for s in made.answer.states], dtype=object)[
        found.state[:, at].argmax(axis=1)
    ]
    known = paths[:, at] >= 0
    groups = {
        "everyone": pd.Series("everyone", index=customers),
        "stage": pd.Series(np.where(known, _named(made, paths[:, at]), NEW), index=customers),
        "state": pd.Series(np.where(known, state, NEW), index=customers),
    }
    if set(RFM) <= set(test):
        groups["segment"] = _segments(plan, prepared, test, taught)
    return groups


def _segments(
    plan: LifecyclePlan, prepared: Prepared, test: pd.DataFrame, taught: pd.DataFrame
) -> pd.Series:
    """The segment by named RFM rules of each test customer; quantiles from the teaching cutoff."""
    way = resolve(WAYS, Part(use="rules.Rules"))
    assert isinstance(way, Named), "the way of that name"
    ordered, before = (frame[frame[RFM[0]].notna()] for frame in (test, taught))
    schema = read_schema(prepared.features.folder)
    found = learn(way, before, schema, RFM[2], seed=plan.config.seed)
    at = {int(place): way.names[s] for s, place in enumerate(found.places)}
    named = pd.Series(NOT_ORDERED, index=pd.Index(test[c.CUSTOMER]), dtype=object)
    named[ordered[c.CUSTOMER]] = [at[int(s)] for s in found.segmentation.labels(ordered)]
    return named


def _draw(folder: Path, case: LifecycleCase) -> None:
    moves, tables = case.tables["moves"], case.tables
    title = "Stage a period later, by stage"
    drawing.save(folder, "moves", moves, plots.heat(moves, "from", "to", "share", title))
    states = [
        {"state": state.id, "level": f"{name} {level}", "probability": p}
        for state in case.answer.states
        for name, levels in state.levels.items() for level, p in levels.items()
    ]  # fmt: skip
    shown = pd.DataFrame(states)
    title = "What the states show in a period"
    drawing.save(folder, "states", shown,
                 plots.heat(shown, "level", "state", "probability", title))  # fmt: skip
    drawing.save(folder, "dwell", tables["dwell"], plots.dwell(tables["dwell"]))
    drawing.save(folder, "choice", case.trials, plots.choice(case.trials))
    if "conversion_reasons" in tables:
        reasons = tables["conversion_reasons"]
        title = "What decides each step (share of mean absolute Shapley values)"
        drawing.save(folder, "conversion", reasons,
                     plots.heat(reasons, "column", "step", "share", title))  # fmt: skip
    if len(tables["funnel"]):
        drawing.save(folder, "funnel", tables["funnel"], plots.funnel(tables["funnel"]))

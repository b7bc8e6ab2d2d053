"""The review pack of a supervised answer: judged beside baselines and champion, and drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.cutoffs import Snapshots
from features.leakage.report import read_checks
from features.settings import Workspace
from features.store import Published
from training import bundle as bundles
from training import categories, event_plots, explanation_plots, pack, plots, value_plots
from training.bundle import Loaded
from training.categories import encoded
from training.contract import Explanation, Kind, reasons
from training.details.timing import EventTiming
from training.details.value import CustomerValue
from training.evaluate import (
    ALARM,
    CENTRE,
    SLICE_METRICS,
    judge,
    single_feature_alarm,
    slices,
    worst_slice,
)
from training.gates import CANDIDATE, CHAMPION, gate_results
from training.keys import verifying_key
from training.metrics import LOWER_IS_BETTER
from training.pipeline import Prepared
from training.rows import Rows
from training.slices import audit_slices
from training.supervised import (
    card,
    changes,
    coverage,
    decide,
    fairness,
    lever_report,
    points,
    stale,
    stated,
    themes,
    tier_report,
    tuned,
)
from training.supervised.bundle import Bundle
from training.supervised.card import SupervisedCase
from training.supervised.config import SupervisedPlan
from training.supervised.learn import Reported, baseline_names, read_explained
from training.supervised.opponent import compare_with_champion
from training.supervised.timing_report import timing_report, write_timing
from training.supervised.value_report import value_report, write_report
from training.tune import search_slices

ADDITIVITY = 1e-4
WORKED_ROWS = 20
PLANTED = "canary__label"


def write_pack(
    place: Workspace,
    plan: SupervisedPlan,
    prepared: Prepared,
    learned: Published,
    champion: Loaded | None,
    folder: Path,
) -> dict[str, Any]:
    """Judge the candidate beside baselines and champion, and write the pack into ``folder``."""
    config, facts = plan.config, learned.manifest["facts"]
    made = _bundle(place, learned)
    reported = Reported.read(learned.folder, (CANDIDATE, *baseline_names(config.baselines)))
    words, given, thresholds = reported.rows.X, reported.given, reported.thresholds
    X = encoded(words, made.answer.columns)
    rows = replace(reported.rows, X=X)
    note = compare_with_champion(place, plan, champion, made, reported)
    kind = plan.task.kind
    judged = judge(rows, given, thresholds, config.bootstrap, config.seed, kind)
    groups = {**plan.task.slices(X), **(audit_slices(rows.audit) if rows.audit is not None else {})}
    by_slice = slices(judged, groups, config.bootstrap, config.seed)
    alarms, caught = _alarms(rows, kind)
    leakage = read_checks(prepared.checks.folder)
    replay, pyfunc = made.replay(), _pyfunc_difference(made)
    value = timing = None
    if isinstance(made.details, EventTiming):
        days, by_day = points.read(learned.folder)
        dated = replace(rows, X=words, days=days)
        timing = timing_report(made, dated, plan.task.slices(X), config.bootstrap, config.seed)
        write_timing(folder, timing)
        chances = {CANDIDATE: timing.chances, **by_day}
        if champion is not None and CHAMPION in given:
            chances |= points.of_champion(champion, words, plan.task.points_days)
        judged = points.judge_points(
            judged, dated, chances, plan.task.horizon_days, made.details.config.absent,
            config.bootstrap, config.seed,
        )  # fmt: skip
    if isinstance(made.details, CustomerValue):
        value = value_report(place, made, reported.rows, prepared, prepared.moments.test)
        write_report(folder, value)
    costs = changes.cost(made, learned.folder / "bundle")
    aged = stale.read(learned.folder)
    staleness = (
        stale.curve(rows, aged, config.search.metric, kind, config.bootstrap, config.seed)
        if aged else None
    )  # fmt: skip
    gates = gate_results(
        config.gates, judged, baseline_names(config.baselines)[0], note,
        {
            "contributions add up to the score (largest gap)": (facts["additivity"], ADDITIVITY),
            "golden rows replayed in Python (largest gap)": (replay, bundles.TOLERANCE),
            "golden rows through the MLflow loader (largest gap)": (pyfunc, bundles.TOLERANCE),
            ALARM[kind]: (float(len(alarms)), 0.0),
            "planted labels that this alarm missed": (float(not caught), 0.0),
            "leakage checks: broken promises": (float(len(leakage.failed)), 0.0),
            "leakage checks: planted leaks that were missed": (float(len(leakage.missed)), 0.0),
            **(value.checks if value else {}),
        },
        costs | {"worst_slice": worst_slice(by_slice, kind)},
    )  # fmt: skip
    explained = read_explained(learned.folder, made.answer.columns, made.answer.space)
    worded = [k.name for k in made.answer.columns if k.dtype == "string"]
    importance = explanation_plots.importance_table(explained, worded)
    told = (made.answer.columns, explained)
    answers, threshold = made.calibrator.apply(explained.scores), made.answer.threshold
    fair = said = None
    if kind == "event":
        named = reported.given[CANDIDATE] >= thresholds[CANDIDATE]
        fair = fairness.table(rows, reported.given[CANDIDATE], named, config.bootstrap, config.seed)
        if not isinstance(config.cutoffs, Snapshots):
            said = stated.stated(prepared.stored, prepared.moments.test, rows, named)
    covered = None
    if made.answer.sets is not None:
        covered = coverage.table(
            rows, made.answer.sets, reported.given[CANDIDATE], config.bootstrap, config.seed
        )
    graded = None
    if made.answer.tiers is not None:
        graded = tier_report.table(
            rows, made.answer.tiers, reported.given[CANDIDATE], config.bootstrap, config.seed
        )
    case = SupervisedCase(
        plan=plan,
        prepared=prepared,
        learned=learned,
        space=made.answer.space,
        judged=judged,
        by_slice=by_slice,
        gates=gates,
        importance=importance,
        explained=explained,
        alarms=alarms,
        value=value,
        timing=timing,
        themes=themes.table(*told),
        groups=None if threshold is None else themes.groups(*told, answers, threshold),
        decisions=decide.table(config.decide, rows.y, given) if config.decide else None,
        fair=fair,
        said=said,
        sets=made.answer.sets,
        covered=covered,
        tiers=graded,
        moved=made.answer.levers and lever_report.table(made, made.answer.levers, explained.values),
        wanted=made.answer.levers.wanted if made.answer.levers else "",
        staleness=staleness,
        search_helped=tuned.sentence(
            learned.folder,
            rows,
            aged[stale.NOW],
            config.search.metric,
            kind,
            config.bootstrap,
            config.seed,
        )
        if aged
        else "",
        drift=changes.drift(made, learned.folder, champion, words),
        signature=changes.signature(made, champion),
        costs=costs,
        champion_note=note,
        code=pack.code_state(),
    )
    _plots(folder / "plots", case, explained)
    _tables(folder, case)
    _worked(folder, made, explained)
    return pack.finish(folder, case, card.sections(case), judged, champion)


def _bundle(place: Workspace, learned: Published) -> Bundle:
    made = bundles.load(learned.folder / "bundle", verifying_key(place.keys))
    assert isinstance(made, Bundle), "learned by this family"
    return made


def _pyfunc_difference(made: Bundle) -> float:
    """Largest difference between the golden answers and those of the class that MLflow loads."""
    assert made.golden is not None, "a written bundle has golden rows"
    frame = categories.frame(made.answer.columns, made.golden.X)
    found = bundles.PyfuncAnswer(made).predict(frame)
    return float(
        max(
            np.abs(found[made.answer.output].to_numpy() - made.golden.prediction).max(),
            np.abs(found["score"].to_numpy() - made.golden.score).max(),
        )
    )


def _alarms(rows: Rows, kind: Kind) -> tuple[list[tuple[str, float]], bool]:
    """Features that tell the answer alone, and whether the label itself, put among them, did."""
    planted = replace(rows, X=rows.X.assign(**{PLANTED: rows.y}))
    found = dict(single_feature_alarm(planted, kind=kind))
    caught = found.pop(PLANTED, None) is not None
    return list(found.items()), caught


def _plots(folder: Path, case: SupervisedCase, explained: Explanation) -> None:
    drawn = event_plots.of_events if case.judged.kind == "event" else value_plots.of_amounts
    for name, (table, figure) in drawn(case.judged.ranked).items():
        plots.save(folder, name, table, figure)
    splits = pd.read_csv(case.learned.folder / "splits.csv")
    first = SLICE_METRICS[case.judged.kind][0]
    by_slice = plots.slices(case.by_slice, first, CENTRE[case.judged.kind])
    plots.save(folder, "slices", case.by_slice, by_slice)
    if not isinstance(case.plan.config.cutoffs, Snapshots):
        plots.save(folder, "timeline", splits, plots.timeline(splits, CENTRE[case.judged.kind]))
    labels = [name.replace("__", ": ").replace("_", " ") for name in explained.columns]
    plots.save(folder, "beeswarm", case.importance, explanation_plots.beeswarm(explained, labels))
    words = set(case.importance.loc[case.importance["direction"] == "by word", "feature"])
    depends = explanation_plots.dependence_table(explained, case.importance, words)
    if len(depends):
        plots.save(
            folder, "dependence", depends, explanation_plots.dependence(depends, explained.space)
        )
    plots.save(
        folder, "themes", case.themes, explanation_plots.themes(case.themes, explained.space)
    )
    if case.fair is not None:
        plots.save(folder, "fairness", case.fair, fairness.figure(case.fair))
    if case.plan.config.decide:
        costs, judged = case.plan.config.decide, case.judged
        curves = {n: decide.curve(costs, judged.rows.y, p) for n, p in judged.answers.items()}
        told = pd.concat([found.assign(answer=n) for n, found in curves.items()])
        plots.save(folder, "profit", told, decide.figure(curves, case.plan.source.currency))
    if len(trials := pd.read_csv(case.learned.folder / "search.csv")):
        metric = case.plan.config.search.metric
        drawn_trials = plots.search(trials, metric, metric in LOWER_IS_BETTER)
        plots.save(folder, "search", trials, drawn_trials)
        by_field = search_slices(trials, case.plan.config.model, case.plan.config.search)
        plots.save(folder, "search_slices", by_field, plots.search_slices(by_field, metric))


def _tables(folder: Path, case: SupervisedCase) -> None:
    case.by_slice.to_csv(folder / "slices.csv", index=False)
    case.importance.to_csv(folder / "importance.csv", index=False)
    case.themes.to_csv(folder / "themes.csv", index=False)
    if case.groups is not None:
        case.groups.to_csv(folder / "groups.csv", index=False)
    if case.fair is not None:
        case.fair.to_csv(folder / "fairness.csv", index=False)
    if case.said is not None:
        case.said.to_csv(folder / "stated.csv", index=False)
    if case.covered is not None:
        case.covered.to_csv(folder / "answer_sets.csv", index=False)
    if case.tiers is not None:
        case.tiers.to_csv(folder / "tiers.csv", index=False)
    if case.moved is not None:
        case.moved.to_csv(folder / "levers.csv", index=False)
    if case.staleness is not None:
        stale.write(folder, case.staleness, case.plan.config.search.metric)
    case.drift.to_csv(folder / "drift.csv", index=False)
    case.signature.to_csv(folder / "signature.csv", index=False)
    (folder / "cost.json").write_text(json.dumps(case.costs, indent=1))
    if case.decisions is not None:
        case.decisions.to_csv(folder / "decisions.csv", index=False)
    learned = case.learned.folder
    for path in (
        learned / "splits.csv",
        learned / "search.csv",
        *learned.glob("calibration.*.csv"),
        *learned.glob("folds.*.csv"),
    ):
        shutil.copy(path, folder / path.name)


def _worked(folder: Path, made: Bundle, explained: Explanation) -> None:
    """Worked rows from lowest to highest score, with their reasons; no customer is named."""
    order = np.argsort(explained.scores, kind="stable")
    picked = order[np.linspace(0, len(order) - 1, min(WORKED_ROWS, len(order))).astype(int)]
    part = replace(
        explained,
        base=explained.base[picked],
        contributions=explained.contributions[picked],
        values=np.take(explained.values, picked, axis=0),
    )
    table = pd.DataFrame(
        {
            made.answer.output: made.calibrator.apply(part.scores),
            "score": part.scores,
            "base": part.base,
            "reasons": [
                "; ".join(said) for said in reasons(made.answer.columns, made.answer.currency, part)
            ],
        }
    )
    table.to_csv(folder / "worked_rows.csv", index=False)
    assert made.golden is not None, "a written bundle has golden rows"
    example = categories.rows(made.answer.columns, made.golden.X[:3])
    (folder / "input_example.json").write_text(json.dumps({"rows": example}, indent=1))

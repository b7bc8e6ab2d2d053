"""The review pack of a supervised answer: judged beside baselines and champion, and drawn."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.leakage.report import read_checks
from features.settings import Workspace
from features.store import Published
from training import bundle as bundles
from training import categories, pack
from training.bundle import Loaded
from training.categories import encoded
from training.contract import Explanation, Kind, reasons
from training.details.timing import EventTiming
from training.details.value import CustomerValue
from training.evaluate import ALARM, Judged, judge, single_feature_alarm, slices, worst_slice
from training.gates import CANDIDATE, CHAMPION, gate_results
from training.keys import verifying_key
from training.pipeline import Prepared
from training.rows import Rows
from training.slices import audit_slices
from training.supervised import card, changes, points
from training.supervised.bundle import Bundle
from training.supervised.case import SupervisedCase
from training.supervised.config import SupervisedPlan
from training.supervised.learn import Reported, baseline_names, read_explained
from training.supervised.opponent import compare_with_champion
from training.supervised.timing_report import TimingReport, timing_report
from training.supervised.value_report import value_report

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
    config, kind = plan.config, plan.task.kind
    draws = config.bootstrap, config.seed
    made = _bundle(place, learned)
    reported = Reported.read(learned.folder, (CANDIDATE, *baseline_names(config.baselines)))
    note = compare_with_champion(place, plan, champion, made, reported)
    X = encoded(reported.rows.X, made.answer.columns)
    rows = replace(reported.rows, X=X)
    judged = judge(rows, reported.given, reported.thresholds, *draws, kind)
    groups = {**plan.task.slices(X), **(audit_slices(rows.audit) if rows.audit is not None else {})}
    by_slice = slices(judged, groups, *draws)
    value = timing = None
    if isinstance(made.details, EventTiming):
        judged, timing = _by_day(plan, learned, made, reported, judged, champion)
    if isinstance(made.details, CustomerValue):
        value = value_report(place, made, reported.rows, prepared, prepared.moments.test)
    alarms, caught = _alarms(rows, kind)
    costs = changes.cost(made, learned.folder / "bundle")
    checks = {
        **_checks(made, prepared, learned),
        ALARM[kind]: (float(len(alarms)), 0.0),
        "planted labels that this alarm missed": (float(not caught), 0.0),
        **(value.checks if value else {}),
    }
    first = baseline_names(config.baselines)[0]
    measured = costs | {"worst_slice": worst_slice(by_slice, kind)}
    case = SupervisedCase(
        plan=plan,
        prepared=prepared,
        learned=learned,
        gates=gate_results(config.gates, judged, first, note, checks, measured),
        champion_note=note,
        code=pack.code_state(),
        made=made,
        champion=champion,
        reported=reported,
        rows=rows,
        judged=judged,
        by_slice=by_slice,
        explained=read_explained(learned.folder, made.answer.columns, made.answer.space),
        alarms=alarms,
        costs=costs,
        value=value,
        timing=timing,
    )
    (folder / "cost.json").write_text(json.dumps(costs, indent=1))
    for pattern in ("splits.csv", "search.csv", "calibration.*.csv", "folds.*.csv"):
        for path in learned.folder.glob(pattern):
            shutil.copy(path, folder / path.name)
    _worked(folder, made, case.explained)
    return pack.finish(folder, case, card.sections(case), judged, champion)


def _bundle(place: Workspace, learned: Published) -> Bundle:
    made = bundles.load(learned.folder / "bundle", verifying_key(place.keys))
    assert isinstance(made, Bundle), "learned by this family"
    return made


def _by_day(
    plan: SupervisedPlan,
    learned: Published,
    made: Bundle,
    reported: Reported,
    judged: Judged,
    champion: Loaded | None,
) -> tuple[Judged, TimingReport]:
    """A question of when, judged by each day too."""
    config, words = plan.config, reported.rows.X
    assert isinstance(made.details, EventTiming), "asked of answers that tell when"
    days, by_day = points.read(learned.folder)
    dated = replace(reported.rows, days=days)
    groups = plan.task.slices(judged.rows.X)
    timing = timing_report(made, dated, groups, config.bootstrap, config.seed)
    chances = {CANDIDATE: timing.chances, **by_day}
    if champion is not None and CHAMPION in reported.given:
        chances |= points.of_champion(champion, words, plan.task.points_days)
    judged = points.judge_points(
        judged, dated, chances, plan.task.horizon_days, made.details.config.absent,
        config.bootstrap, config.seed,
    )  # fmt: skip
    return judged, timing


def _checks(made: Bundle, prepared: Prepared, learned: Published) -> dict[str, tuple[float, float]]:
    """What is demanded of every answer, whatever its YAML says: name -> (found, at most)."""
    leakage, additivity = (
        read_checks(prepared.checks.folder),
        learned.manifest["facts"]["additivity"],
    )
    return {
        "contributions add up to the score (largest gap)": (additivity, ADDITIVITY),
        "golden rows replayed in Python (largest gap)": (made.replay(), bundles.TOLERANCE),
        "golden rows through the MLflow loader (largest gap)": (
            _pyfunc_difference(made), bundles.TOLERANCE,
        ),
        "leakage checks: broken promises": (float(len(leakage.failed)), 0.0),
        "leakage checks: planted leaks that were missed": (float(len(leakage.missed)), 0.0),
    }  # fmt: skip


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

"""The review pack: everything a reviewer needs to judge a version without running anything."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.leakage.report import read_checks
from features.settings import Workspace, fingerprint
from features.store import Published, publish
from training import bundle as bundles
from training import card, categories, plots, report, value_plots
from training.card import Case
from training.categories import encoded
from training.contract import Explanation, Kind, reasons
from training.evaluate import (
    ALARM,
    CANDIDATE,
    CENTRE,
    CHAMPION,
    SLICE_METRICS,
    gate_results,
    judge,
    single_feature_alarm,
    slices,
)
from training.learn import baseline_names, read_explained
from training.metrics import LOWER_IS_BETTER
from training.pipeline import Plan, Prepared, resolved_yaml
from training.slices import Groups, audit_slices
from training.splits import Rows

ADDITIVITY = 1e-4
WORKED_ROWS = 20
PLANTED = "canary__label"
ROOT = Path(__file__).resolve().parent.parent
CODE = ("features", "training", "serving", "configs", "requirements.lock")


def build_pack(
    place: Workspace,
    plan: Plan,
    prepared: Prepared,
    learned: Published,
    champion: bundles.Bundle | None,
) -> Published:
    """Judge the candidate beside baselines and champion, once per champion, and write the pack."""
    against = champion.digest if champion else ""
    # The tree is in the key: the same code, committed after the run, gives a pack fit for release.
    key = fingerprint(learned.manifest["key"], plan.config, against, code_state()["tree"])

    def write(folder: Path) -> dict[str, Any]:
        return _write(place, plan, prepared, learned, champion, folder)

    return publish(place.store / "packs" / plan.config.name, key, write)


def code_state() -> dict[str, str]:
    """Commit of the running code and whether the tree differs from it."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=all", "--", *CODE],
            )
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown: no git history here", "tree": "unknown"}
    return {"commit": commit, "tree": "changed" if changed else "clean"}


def _write(
    place: Workspace,
    plan: Plan,
    prepared: Prepared,
    learned: Published,
    champion: bundles.Bundle | None,
    folder: Path,
) -> dict[str, Any]:
    config, facts = plan.config, learned.manifest["facts"]
    made = bundles.load(learned.folder / "bundle", bundles.verifying_key(place.keys))
    answers = pd.read_parquet(learned.folder / "test.parquet")
    words = pd.read_parquet(learned.folder / "test_rows.parquet")
    X = encoded(words, made.answer.columns)
    given = {
        n: answers[n].to_numpy(np.float64) for n in (CANDIDATE, *baseline_names(config.baselines))
    }
    thresholds = dict(facts["thresholds"])
    note = _compare_with_champion(champion, made, words, given, thresholds)
    cutoffs = np.full(len(X), np.datetime64(prepared.moments.test))
    rows = Rows(
        X, answers["label"].to_numpy(np.float64), answers["customer_id"].to_numpy(np.int64), cutoffs
    )
    kind = plan.task.kind
    judged = judge(rows, given, thresholds, config.bootstrap, config.seed, kind)
    groups = {**plan.task.slices(X), **_audit(learned.folder)}
    by_slice = slices(judged, groups, config.bootstrap, config.seed)
    alarms, caught = _alarms(rows, kind)
    leakage = read_checks(prepared.checks.folder)
    replay, pyfunc = made.replay(), _pyfunc_difference(made)
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
        },
    )  # fmt: skip
    explained = read_explained(learned.folder, made.answer.columns, made.answer.space)
    worded = [k.name for k in made.answer.columns if k.dtype == "string"]
    importance = plots.importance_table(explained, worded)
    case = Case(
        plan=plan,
        prepared=prepared,
        learned=learned,
        space=made.answer.space,
        judged=judged,
        by_slice=by_slice,
        gates=gates,
        importance=importance,
        alarms=alarms,
        champion_note=note,
        code=code_state(),
    )
    _plots(folder / "plots", case, explained)
    _tables(folder, case)
    _worked(folder, made, explained)
    title, sections = f"{config.name}: {plan.task.question}", card.sections(case)
    (folder / "CARD.md").write_text(report.markdown(title, sections))
    (folder / "report.html").write_text(report.page(title, sections, folder / "plots"))
    shutil.copytree(learned.folder / "bundle", folder / "bundle")
    return {
        "digest": facts["digest"],
        "against_champion": champion.digest if champion else "",
        "gates": gates,
        "gates_passed": all(g["passed"] for g in gates),
        "code": case.code,
        "metrics": {
            f"test.{metric}": {"value": float(v[0])}
            for metric, v in judged.draws[CANDIDATE].items()
        },
    }


def _compare_with_champion(
    champion: bundles.Bundle | None,
    made: bundles.Bundle,
    words: pd.DataFrame,
    given: dict[str, Any],
    thresholds: dict[str, float | None],
) -> str:
    """Add the champion's answers on the same rows; or say why that cannot be."""
    if champion is None:
        return "no champion yet"
    if champion.answer.source != made.answer.source:
        return f"the champion answers for source {champion.answer.source}: not comparable"
    asked, now = (
        (a.kind, a.output, a.unit, a.horizon_days) for a in (champion.answer, made.answer)
    )
    if asked != now:
        return f"the champion answers another question ({champion.answer.question}): not comparable"
    lacking = [name for name in champion.columns if name not in words.columns]
    if lacking:
        return (
            f"the champion needs columns that this run lacks ({', '.join(lacking)}): not comparable"
        )
    found = champion.predict_frame(words[list(champion.columns)])
    given[CHAMPION] = found[champion.answer.output].to_numpy(np.float64)
    thresholds[CHAMPION] = champion.answer.threshold
    return ""


def _pyfunc_difference(made: bundles.Bundle) -> float:
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


def _audit(folder: Path) -> Groups:
    """Groups by attributes that no model saw, where the features have such."""
    path = folder / "test_audit.parquet"
    return audit_slices(pd.read_parquet(path)) if path.is_file() else {}


def _plots(folder: Path, case: Case, explained: Explanation) -> None:
    drawn = plots.of_events if case.judged.kind == "event" else value_plots.of_amounts
    for name, (table, figure) in drawn(case.judged.ranked).items():
        plots.save(folder, name, table, figure)
    splits = pd.read_csv(case.learned.folder / "splits.csv")
    first = SLICE_METRICS[case.judged.kind][0]
    by_slice = plots.slices(case.by_slice, first, CENTRE[case.judged.kind])
    plots.save(folder, "slices", case.by_slice, by_slice)
    plots.save(folder, "timeline", splits, plots.timeline(splits, CENTRE[case.judged.kind]))
    labels = [name.replace("__", ": ").replace("_", " ") for name in explained.columns]
    plots.save(folder, "beeswarm", case.importance, plots.beeswarm(explained, labels))
    trials, metric = pd.read_csv(case.learned.folder / "search.csv"), case.plan.config.search.metric
    if len(trials):
        found = plots.search(trials, metric, metric in LOWER_IS_BETTER)
        plots.save(folder, "search", trials, found)


def _tables(folder: Path, case: Case) -> None:
    case.judged.table().to_csv(folder / "metrics.csv", index=False)
    case.judged.differences().to_csv(folder / "differences.csv", index=False)
    case.by_slice.to_csv(folder / "slices.csv", index=False)
    case.importance.to_csv(folder / "importance.csv", index=False)
    (folder / "gates.json").write_text(json.dumps(case.gates, indent=1))
    (folder / "config.resolved.yaml").write_text(resolved_yaml(case.plan))
    (folder / "facts.json").write_text(json.dumps(case.facts, indent=1))
    (folder / "data.json").write_text(json.dumps(_data(case.plan, case.prepared), indent=1))
    for name in ("schema.json", "profile.json"):
        shutil.copy(case.prepared.features.folder / name, folder / f"features.{name}")
    for name in ("findings.csv", "report.html"):
        shutil.copy(case.prepared.checks.folder / name, folder / f"leakage.{name}")
    learned = case.learned.folder
    for path in (
        learned / "splits.csv",
        learned / "search.csv",
        *learned.glob("calibration.*.csv"),
        *learned.glob("folds.*.csv"),
    ):
        shutil.copy(path, folder / path.name)
    if (ROOT / "requirements.lock").is_file():
        shutil.copy(ROOT / "requirements.lock", folder / "requirements.lock")


def _data(plan: Plan, prepared: Prepared) -> dict[str, Any]:
    tables, features = prepared.stored.published, prepared.features
    return {
        "source": plan.source.name, "description": plan.source.description,
        "currency": plan.source.currency, "time_zone": plan.source.time_zone,
        "lawful_basis": plan.source.lawful_basis,
        "tables": {"content": tables.content, **tables.manifest["facts"]},
        "features": {"content": features.content, **features.manifest["facts"]},
    }  # fmt: skip


def _worked(folder: Path, made: bundles.Bundle, explained: Explanation) -> None:
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

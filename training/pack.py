"""The review pack: everything a reviewer needs to judge a version without running anything."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.settings import Workspace, fingerprint
from features.store import Published, publish
from training import bundle as bundles
from training import card, plots, report
from training.card import Case
from training.contract import Explanation, reasons, request_rows
from training.evaluate import (
    CANDIDATE,
    CHAMPION,
    gate_results,
    judge,
    single_feature_alarm,
    slices,
)
from training.learn import baseline_names, read_explained
from training.metrics import LOWER_IS_BETTER
from training.pipeline import Plan, Prepared, resolved_yaml
from training.splits import Rows

ADDITIVITY = 1e-4
WORKED_ROWS = 20
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
    X = pd.read_parquet(learned.folder / "test_rows.parquet")
    probabilities = {
        n: answers[n].to_numpy(np.float64) for n in (CANDIDATE, *baseline_names(config.baselines))
    }
    thresholds = dict(facts["thresholds"])
    note = _compare_with_champion(champion, made, X, probabilities, thresholds)
    cutoffs = np.full(len(X), np.datetime64(prepared.moments.test))
    rows = Rows(
        X, answers["label"].to_numpy(np.float64), answers["customer_id"].to_numpy(np.int64), cutoffs
    )
    judged = judge(rows, probabilities, thresholds, config.bootstrap, config.seed)
    by_slice = slices(judged, plan.task.slices(X), config.bootstrap, config.seed)
    alarms = single_feature_alarm(rows)
    replay, pyfunc = made.replay(), _pyfunc_difference(made)
    gates = gate_results(
        config.gates, judged, baseline_names(config.baselines)[0], note,
        {
            "contributions add up to the score (largest gap)": (facts["additivity"], ADDITIVITY),
            "golden rows replayed in Python (largest gap)": (replay, bundles.TOLERANCE),
            "golden rows through the MLflow loader (largest gap)": (pyfunc, bundles.TOLERANCE),
            "features that separate the classes alone (AUC over 0.9)": (float(len(alarms)), 0.0),
        },
    )  # fmt: skip
    explained = read_explained(learned.folder, made.answer.columns, made.answer.space)
    importance = plots.importance_table(explained)
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
    X: pd.DataFrame,
    probabilities: dict[str, Any],
    thresholds: dict[str, float],
) -> str:
    """Add the champion's answers on the same rows; or say why that cannot be."""
    if champion is None:
        return "no champion yet"
    if champion.answer.source != made.answer.source:
        return f"the champion answers for source {champion.answer.source}: not comparable"
    if (champion.answer.output, champion.answer.horizon_days) != (
        made.answer.output,
        made.answer.horizon_days,
    ):
        return f"the champion answers another question ({champion.answer.question}): not comparable"
    lacking = [name for name in champion.columns if name not in X.columns]
    if lacking:
        return (
            f"the champion needs columns that this run lacks ({', '.join(lacking)}): not comparable"
        )
    probabilities[CHAMPION] = champion.predict(X[list(champion.columns)].to_numpy(np.float64))[0]
    thresholds[CHAMPION] = champion.answer.threshold
    return ""


def _pyfunc_difference(made: bundles.Bundle) -> float:
    """Largest difference between the golden answers and those of the class that MLflow loads."""
    assert made.golden is not None, "a written bundle has golden rows"
    frame = pd.DataFrame(made.golden.X, columns=list(made.columns))
    found = bundles.PyfuncAnswer(made).predict(frame)
    return float(
        max(
            np.abs(found[made.answer.output].to_numpy() - made.golden.probability).max(),
            np.abs(found["score"].to_numpy() - made.golden.score).max(),
        )
    )


def _plots(folder: Path, case: Case, explained: Explanation) -> None:
    ranked, rate = case.judged.ranked, float(case.judged.rows.y.mean())
    curves, reliability = plots.curves(ranked), plots.reliability_table(ranked)
    candidate = ranked[CANDIDATE]
    counts = plots.confusion_table(candidate)
    splits = pd.read_csv(case.learned.folder / "splits.csv")
    plots.save(folder, "reliability", reliability, plots.reliability(reliability))
    plots.save(folder, "gain", curves, plots.gain(curves))
    plots.save(folder, "lift", curves, plots.lift(curves))
    plots.save(folder, "precision_recall", curves, plots.precision_recall(curves, rate))
    plots.save(folder, "roc", curves, plots.roc(curves))
    plots.save(folder, "confusion", counts, plots.confusion(counts, candidate.threshold))
    plots.save(folder, "slices", case.by_slice, plots.slices(case.by_slice))
    plots.save(folder, "timeline", splits, plots.timeline(splits))
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
            "probability": made.calibrator.apply(part.scores),
            "score": part.scores,
            "base": part.base,
            "reasons": [
                "; ".join(said) for said in reasons(made.answer.columns, made.answer.currency, part)
            ],
        }
    )
    table.to_csv(folder / "worked_rows.csv", index=False)
    assert made.golden is not None, "a written bundle has golden rows"
    example = request_rows(made.columns, made.golden.X[:3])
    (folder / "input_example.json").write_text(json.dumps({"rows": example}, indent=1))

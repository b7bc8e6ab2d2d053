"""The review pack: everything a reviewer needs to judge a version without running anything."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from features.settings import Workspace, fingerprint
from features.store import Published, publish
from training import record, report
from training.bundle import Loaded
from training.card import Case, data_changes
from training.gates import CANDIDATE, Compared, failed
from training.pipeline import AnyPlan, Prepared, resolved_yaml
from training.report import Section

ROOT = Path(__file__).resolve().parent.parent
CODE = ("features", "training", "serving", "configs", "requirements.lock")


def build_pack(
    place: Workspace,
    plan: AnyPlan,
    prepared: Prepared,
    learned: Published,
    champion: Loaded | None,
) -> Published:
    """The review pack that the plan's family writes, once for what it is judged against."""
    held = plan.held_against
    beside = record.champion(record.Record(place).entries(held)) if held else None
    against = [known.digest if known else "" for known in (champion, beside)]
    # The tree is in the key: the same code, committed after the run, gives a pack fit for release.
    key = fingerprint(learned.manifest["key"], plan.config, against, code_state()["tree"])

    def write(folder: Path) -> dict[str, Any]:
        return plan.family.judge(place, plan, prepared, learned, champion, folder)

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


def finish(
    folder: Path,
    case: Case,
    sections: Sequence[Section],
    compared: Compared,
    champion: Loaded | None,
) -> dict[str, Any]:
    """Write what every pack has, beside the plots and tables already there; return its facts.

    Raises
    ------
    DataError
        If a section of the card has an empty cell.
    """
    config = case.plan.config
    compared.table().to_csv(folder / "metrics.csv", index=False)
    compared.differences().to_csv(folder / "differences.csv", index=False)
    (folder / "gates.json").write_text(json.dumps(case.gates, indent=1))
    (folder / "config.resolved.yaml").write_text(resolved_yaml(case.plan))
    (folder / "facts.json").write_text(json.dumps(case.facts, indent=1))
    (folder / "data.json").write_text(json.dumps(_data(case.plan, case.prepared), indent=1))
    changes = data_changes(case).table
    if changes is not None:
        changes.to_csv(folder / "data_changes.csv", index=False)
    for name in ("schema.json", "profile.json"):
        shutil.copy(case.prepared.features.folder / name, folder / f"features.{name}")
    for name in ("findings.csv", "report.html"):
        shutil.copy(case.prepared.checks.folder / name, folder / f"leakage.{name}")
    if (ROOT / "requirements.lock").is_file():
        shutil.copy(ROOT / "requirements.lock", folder / "requirements.lock")
    for section in sections:
        section.write(folder)
    title = f"{config.name}: {case.plan.task.question}"
    (folder / "CARD.md").write_text(report.markdown(title, sections))
    (folder / "report.html").write_text(report.page(title, sections, folder / "plots"))
    shutil.copytree(case.learned.folder / "bundle", folder / "bundle")
    return {
        "digest": case.facts["digest"],
        "against_champion": champion.digest if champion else "",
        "gates": case.gates,
        "gates_passed": not failed(case.gates),
        "code": case.code,
        "metrics": {
            f"test.{metric}": {"value": float(v[0])}
            for metric, v in compared.draws[CANDIDATE].items()
        },
    }


def _data(plan: AnyPlan, prepared: Prepared) -> dict[str, Any]:
    tables, features = prepared.stored.published, prepared.features
    return {
        "source": plan.source.name, "description": plan.source.description,
        "currency": plan.source.currency, "time_zone": plan.source.time_zone,
        "lawful_basis": plan.source.lawful_basis,
        "tables": {"content": tables.content, **tables.manifest["facts"]},
        "features": {"content": features.content, **features.manifest["facts"]},
    }  # fmt: skip

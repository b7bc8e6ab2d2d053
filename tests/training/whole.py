"""A pipeline from raw files to a bundle and its review pack, in a workspace of its own."""

from pathlib import Path
from typing import Any

import yaml

from features.settings import Workspace
from tests.worlds import CONFIGS
from training import pipeline, runs


def workspace(root: Path) -> Workspace:
    """One for all runs of a file: tables and features are made once."""
    return Workspace(
        store=root / "store", registry=root / "registry", keys=root / "keys", data=None,
        configs=CONFIGS,
    )  # fmt: skip


def planned(place: Workspace, settings: dict[str, Any], *assignments: str) -> pipeline.AnyPlan:
    """The pipeline YAML with these settings, and ``--set`` assignments."""
    path = place.store.parent / f"{settings['name']}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return pipeline.load_plan(place, path, assignments)


def learned(place: Workspace, settings: dict[str, Any], *assignments: str) -> runs.Learned:
    """What it learns."""
    plan = planned(place, settings, *assignments)
    return runs.learn(place, plan, runs.stages(plan))

"""Where a search may start from: the parameters of versions that were registered before."""

import json
from typing import Any

from features.settings import Workspace
from training.experiments import Version, versions
from training.gates import CANDIDATE, CHAMPION
from training.pipeline import AnyPlan

MOST = 4


def warm_start(place: Workspace, plan: AnyPlan) -> list[str]:
    """The assignment that has the search of ``plan`` start from what earlier searches found.

    The champion's parameters come first, then those of the newest versions, of the same kind of
    model and searched fields; four at most. As they become part of the settings, the version can
    be made again from its record alone. Empty where nothing fits or nothing is searched.
    """
    search = getattr(plan.config, "search", None)
    if search is None or not search.space or not search.trials:
        return []
    use = plan.config.model.use  # type: ignore[attr-defined]  # what is searched has a model
    found: list[dict[str, Any]] = []
    for version in sorted(versions(place, plan.config.name), key=_champion_then_newest):
        part = json.loads((version.pack / "facts.json").read_text())["parts"][CANDIDATE]
        if part["use"] != use or not {*search.space} <= {*part["config"]}:
            continue
        start = {name: part["config"][name] for name in search.space}
        if start not in found:
            found.append(start)
    return [f"search.start={json.dumps(found[:MOST])}"] if found else []


def _champion_then_newest(version: Version) -> tuple[bool, int]:
    return version.status != CHAMPION, -version.number

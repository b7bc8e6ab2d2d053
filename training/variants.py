"""A pipeline in variants: what a setting or a feature set is worth, and why two versions differ."""

import itertools
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from features.errors import ConfigError, PerennialError
from features.settings import Workspace, load_yaml
from features.store import scratch
from training.experiments import version
from training.gates import CANDIDATE, CHAMPION
from training.pipeline import AnyPlan, load_plan
from training.runs import Learned, learn, stages

log = logging.getLogger("perennial")

AS_WRITTEN = "as written"
MOST_VARIANTS = 100
INTERVAL = ["ci_low", "ci_high"]
NEVER_SWAPPED = ("name", "card", "gates", "trials_as", "suggest", "serve")
GROUPS: dict[str, tuple[str, ...]] = {
    "data": ("data", "source", "sample", "cutoffs"),
    "question": ("task",),
    "features": ("features",),
}
"""What :func:`why` swaps together, in this order; every other setting is a parameter."""


@dataclass(frozen=True)
class Variant:
    """The pipeline with some settings changed."""

    label: str
    settings: tuple[str, ...]
    """Assignments as after ``--set``."""


def grid(over: Sequence[str]) -> list[Variant]:
    """Every combination of ``name=[a, b, ...]`` assignments.

    Raises
    ------
    ConfigError
        If an assignment has no list, or the combinations are more than 100.
    """
    axes = []
    for assignment in over:
        name, _, text = assignment.partition("=")
        try:
            values = yaml.safe_load(text)
        except yaml.YAMLError:
            values = None
        if not isinstance(values, list) or not values:
            raise ConfigError(f"--over {assignment!r}: expected a list, such as {name}=[1, 2, 3]")
        axes.append([f"{name}={json.dumps(value)}" for value in values])
    chosen = [] if not axes else list(itertools.product(*axes))
    if len(chosen) > MOST_VARIANTS:
        raise ConfigError(f"--over: {len(chosen)} combinations; at most {MOST_VARIANTS} are run")
    return [Variant(", ".join(settings), settings) for settings in chosen]


def without_each(plan: AnyPlan) -> list[Variant]:
    """The pipeline without each of its feature sets in turn.

    Raises
    ------
    ConfigError
        If it has one set only.
    """
    parts = [part.model_dump(mode="json") for part in plan.config.features]
    if len(parts) < 2:
        raise ConfigError(f"{plan.path}: one feature set; nothing can be left out")
    return [
        Variant(
            f"without {left['use']}",
            (f"features={json.dumps([part for part in parts if part is not left])}",),
        )
        for left in parts
    ]


def sweep(
    place: Workspace, path: Path, settings: Sequence[str], variants: Sequence[Variant]
) -> pd.DataFrame:
    """Learn the pipeline as written and in each variant, and compare each with it.

    All variants are checked before the first is learned; one that cannot be learned from these data
    is told and left out. What is learned is recognised later, and nothing is registered. Every
    variant looks at the test cutoff: whoever picks the best of them by this table has to judge it
    on another cutoff.

    Returns
    -------
    DataFrame
        Tidy: ``variant``, ``metric``, ``value``, ``ci_low``, ``ci_high``, and where both answered
        the same question on the same rows ``better_by`` with its paired interval ``better_by_low``,
        ``better_by_high``; above 0 = the variant is better than the pipeline as written.
    """
    plans = {v.label: load_plan(place, path, [*settings, *v.settings]) for v in variants}
    written = learn_quietly(place, load_plan(place, path, settings))
    own = _metrics(written.judged(place, None).folder, CANDIDATE)
    tables = [own.assign(variant=AS_WRITTEN)]
    for number, (label, plan) in enumerate(plans.items(), 1):
        log.info("variant %d of %d: %s", number, len(plans), label)
        try:
            variant = learn_quietly(place, plan)
        except PerennialError as error:  # such as a baseline whose columns were left out
            log.warning("%s cannot be learned and is not in the table: %s", label, error)
            continue
        tables.append(_beside(place, written, variant).assign(variant=label))
    table = pd.concat(tables, ignore_index=True)
    numbers = ["value", *INTERVAL, "better_by", "better_by_low", "better_by_high"]
    return table.reindex(columns=["variant", "metric", *numbers])


def _beside(place: Workspace, written: Learned, variant: Learned) -> pd.DataFrame:
    """The variant's metrics, and the paired difference where one pack can hold both answers."""
    for judged, other, answer, sign in (
        (written, variant, CHAMPION, -1.0),  # the way round that works with fewer columns, too
        (variant, written, CANDIDATE, 1.0),
    ):
        folder = judged.judged(place, other.bundle(place)).folder
        differences = pd.read_csv(folder / "differences.csv")
        paired = differences[differences["against"] == CHAMPION].set_index("metric")
        if paired.empty:
            continue
        own = _metrics(folder, answer)
        paired = paired.reindex(own["metric"])
        bounds = paired[INTERVAL].to_numpy() * sign
        return own.assign(
            better_by=paired["better_by"].to_numpy() * sign,
            better_by_low=bounds.min(axis=1),
            better_by_high=bounds.max(axis=1),
        )
    return _metrics(folder, CANDIDATE)


def why(place: Workspace, one: str, other: str) -> pd.DataFrame:
    """Go from one version to another by swapping data, question, features and parameters in turn.

    Each step is made anew with the present code, in the order of :data:`GROUPS`; what the present
    code changes shows against the recorded metrics at both ends. Nothing is registered.

    Returns
    -------
    DataFrame
        Tidy: ``step``, ``swapped`` (the settings, or ``code``), ``metric``, ``value``, ``ci_low``,
        ``ci_high`` and ``change`` against the step before.

    Raises
    ------
    ConfigError
        If a version does not exist, or the two belong to different models.
    """
    first, last = version(place, one), version(place, other)
    if first.model != last.model:
        raise ConfigError(f"{one} and {other} are different models; compare versions of one")
    said, wanted = (load_yaml(v.pack / "config.resolved.yaml") for v in (first, last))
    steps = [("as recorded", f"{first.name}", _metrics(first.pack, CANDIDATE))]
    with scratch(place.store / "why") as work:

        def made(step: str, swapped: str) -> None:
            path = work / f"{first.model}.yaml"
            path.write_text(yaml.safe_dump(said, sort_keys=False, allow_unicode=True))
            learned = learn_quietly(place, load_plan(place, path))
            steps.append((step, swapped, _metrics(learned.judged(place, None).folder, CANDIDATE)))

        made(f"{first.name} made now", "code")
        for group, names in _groups(said, wanted).items():
            changed = [name for name in names if said.get(name) != wanted.get(name)]
            if changed:
                said |= {name: wanted[name] for name in changed}
                made(group, ", ".join(changed))
    steps.append(("as recorded", f"{last.name}", _metrics(last.pack, CANDIDATE)))
    tables = [m.assign(step=step, swapped=swapped) for step, swapped, m in steps]
    for before, table in itertools.pairwise(tables):
        then = before.set_index("metric")["value"].reindex(table["metric"])
        table["change"] = table["value"].to_numpy() - then.to_numpy()
    table = pd.concat(tables, ignore_index=True)
    return table[["step", "swapped", "metric", "value", *INTERVAL, "change"]]


def _groups(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    grouped = {name for names in GROUPS.values() for name in names}
    rest = sorted({*one, *other} - grouped - {*NEVER_SWAPPED})
    return {**GROUPS, "parameters": tuple(rest)}


def learn_quietly(place: Workspace, plan: AnyPlan) -> Learned:
    """Learn a plan, made or recognised, without registering it."""
    return learn(place, plan, stages(plan))


def _metrics(folder: Path, answer: str) -> pd.DataFrame:
    table = pd.read_csv(folder / "metrics.csv")
    own = table[table["answer"] == answer]
    return own[["metric", "value", *INTERVAL]].reset_index(drop=True)


def write(table: pd.DataFrame, folder: Path, name: str) -> None:
    """``<name>.csv`` and ``<name>.png`` in ``folder``: each metric with its interval."""
    from training.plots import intervals, save

    label = "variant" if "variant" in table else "step"
    drawn = table.rename(columns={label: "version"})
    if label == "step":
        drawn["version"] = drawn["version"] + ": " + drawn["swapped"]
    save(folder, name, table, intervals(drawn))

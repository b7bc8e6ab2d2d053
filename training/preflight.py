"""Before a long run: whether there is enough of what the question needs, and what it costs."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import pandas as pd

from features import columns as c
from features.errors import ConfigError, DataError
from features.progress import Progress, clock
from features.settings import Workspace
from features.snapshot import check_fit, feature_sets
from features.tables import Tables, build_tables
from training.checks import check_blocks, check_horizon, check_labels
from training.contract import Task
from training.pipeline import JUDGING, PREPARING, AnyPlan, dry_run
from training.rows import asked_at, labels_of

LABELLED = ("event", "amount")
"""Kinds whose answers are learned from labels."""
MIB = 2**20


@dataclass(frozen=True)
class Preflight:
    """What was found before a run."""

    cutoffs: pd.DataFrame
    """``cutoff``, ``role``, ``asked``, ``labelled``, ``mean_label``; the last two of labelled kinds
    only, and missing where the label window is not complete."""
    problems: tuple[str, ...]
    """What would stop the run or leave it without an answer worth judging."""
    cost: tuple[str, ...]
    """Sizes and usual times, in words."""
    steps: tuple[str, ...]
    """What the run would do, and what of it is done."""


def preflight(place: Workspace, plan: AnyPlan) -> Preflight:
    """Count customers and labels at every cutoff, and estimate what a run costs.

    The tables are built, since nothing can be counted without them; no features are.

    Raises
    ------
    ConfigError
        If the cutoffs lie outside the data, or feature sets do not fit them.
    DataError
        If the raw files cannot be read.
    """
    progress = Progress(f"preflight of {plan.config.name}", (("tables", 15.0), ("count", 5.0)))
    with progress.stage("tables"):
        stored = build_tables(place, plan.source).consenting(plan.config.consent)
    check_horizon(plan.task, stored.first, plan.config.cutoffs.known_until(stored.end))
    moments = plan.config.cutoffs.resolved(stored.first, stored.end)
    check_fit(stored, plan.config, moments.all)
    roles = dict.fromkeys(moments.year_ago.values(), "season of last year")
    roles |= dict.fromkeys(moments.teaching, "teaches")
    roles |= dict.fromkeys(moments.folds, "validates") | {moments.test: "test"}
    with progress.stage("count"), stored.open(plan.config.sample) as tables:
        asked = asked_at(tables, plan.task, moments.all)
        table = pd.DataFrame({
            "cutoff": list(moments.all),
            "role": [roles[t] for t in moments.all],
            "asked": [asked[t] for t in moments.all],
        })  # fmt: skip
        problems = [
            f"{t:%Y-%m-%d} ({roles[t]}): nobody is asked; change who is asked, or the cutoffs"
            for t, n in asked.items()
            if not n
        ]
        if plan.task.kind in LABELLED:
            found, more = _labels(tables, plan, list(moments.all), roles, stored.end)
            table, problems = table.merge(found, on="cutoff", how="left"), problems + more
    return Preflight(
        table, tuple(problems), tuple(_cost(plan, sum(asked.values()))), tuple(dry_run(place, plan))
    )


def _labels(
    tables: Tables,
    plan: AnyPlan,
    cutoffs: list[datetime],
    roles: dict[datetime, str],
    end: datetime,
) -> tuple[pd.DataFrame, list[str]]:
    """Labels of each cutoff whose window is complete, and what is wrong with them."""
    task = cast(Task, plan.task)
    gap = pd.Timedelta(days=task.horizon_days + task.maturity_days)
    complete = [t for t in cutoffs if t + gap <= end]
    problems = [
        f"{t:%Y-%m-%d} ({roles[t]}): its label window ends {t + gap:%Y-%m-%d}, the data end "
        f"{end:%Y-%m-%d}; set the cutoff earlier or the horizon lower"
        for t in cutoffs
        if t + gap > end and roles[t] == "test"
    ]
    labels, _ = labels_of(tables, task, complete)
    try:
        check_labels(labels["label"].to_numpy(float), task.kind)
        blocks = {t: labels.loc[labels[c.CUTOFF] == t, "label"].to_numpy(float) for t in complete}
        named = [(f"{t:%Y-%m-%d} ({roles[t]})", y) for t, y in blocks.items()]
        check_blocks(named, task.kind)
    except DataError as error:
        problems += str(error).splitlines()
    counts = labels.groupby(c.CUTOFF)["label"].agg(labelled="size", mean_label="mean")
    return counts.rename_axis("cutoff").reset_index(), problems


def _cost(plan: AnyPlan, rows: int) -> list[str]:
    config = plan.config
    columns = sum(len(chosen.columns()) for chosen in feature_sets(config))
    size = max(1, math.ceil(rows * columns * 8 / MIB))
    stages = (*PREPARING, *plan.family.stages, *JUDGING)
    usual = sum(seconds for _, seconds in stages)
    return [
        f"{rows} rows of {columns} columns, {size} MiB as float64",
        f"usual time if nothing is done yet: {clock(usual)} "
        f"({', '.join(f'{name} {clock(seconds)}' for name, seconds in stages)}); "
        "that of a retailer of some thousand customers",
    ]


def refuse(found: Preflight) -> None:
    """Raise what would stop the run.

    Raises
    ------
    ConfigError
        Listing every problem.
    """
    if found.problems:
        raise ConfigError.listing("this run would not come to an end", found.problems)

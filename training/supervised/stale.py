"""How answers age: models taught ever earlier, judged on the customers of the test cutoff."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.settings import Part
from training import plots
from training.calibrate import uncalibrated
from training.contract import Floats, Model, matrix
from training.evaluate import SLICE_METRICS, judge
from training.gates import CANDIDATE
from training.report import Section
from training.rows import Rows
from training.splits import Block, Splits
from training.tune import fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.supervised.case import SupervisedCase

FILE = "aged.parquet"
MONTH = timedelta(days=365.25 / 12)
NOW = "0"


def aged(
    splits: Splits,
    part: Part,
    now: Model,
    months: Sequence[int],
    seed: int,
    report: Callable[[], None],
) -> pd.DataFrame:
    """Uncalibrated answers to the test rows by models that stopped learning months before.

    Each is ``part`` taught by the rows whose labels were known so long before the test cutoff; an
    age before which one label only was known, or none, has no column.

    Returns
    -------
    DataFrame
        Shape (n_rows, n_ages); columns are ages in months as text, ``0`` the shipped model's.
    """
    last = splits.shipped.last
    models = {NOW: now}
    for age in months:
        teaching = (
            np.isin(
                splits.rows.cutoffs,
                np.unique(splits.taught_by(splits.moments.test - age * MONTH).cutoffs),
            )
            & last.teaching
        )
        if len(np.unique(splits.rows.y[teaching])) > 1:
            block = Block(f"{age} months before", splits.rows, last.held, teaching)
            models[str(age)] = fitted(part, block, seed)
        report()
    X = last.answered.X
    return pd.DataFrame({
        age: uncalibrated(model.score(matrix(X, model.columns)), splits.kind)
        for age, model in models.items()
    })  # fmt: skip


def curve(
    rows: Rows, answers: Mapping[str, Floats], metric: str, kind: str, repeats: int, seed: int
) -> pd.DataFrame:
    """Tidy: ``months``, ``metric``, value with interval, and what is ``lost`` against age 0.

    Losses are paired on the same rows and draws, above 0 = the older model is worse.
    """
    given = {CANDIDATE if age == NOW else age: p for age, p in answers.items()}
    judged = judge(rows, given, dict.fromkeys(given, 0.5), repeats, seed, kind)  # type: ignore[arg-type]
    shown = dict.fromkeys((metric, *SLICE_METRICS[judged.kind][:2]))
    table = judged.table()
    table = table[table["metric"].isin(shown)].rename(columns={"answer": "months"})
    losses = [
        (0.0, 0.0, 0.0) if line.months == CANDIDATE
        else judged.difference(line.metric, CANDIDATE, line.months)
        for line in table.itertuples()
    ]  # fmt: skip
    table[["lost", "lost_low", "lost_high"]] = losses
    table["months"] = table["months"].replace(CANDIDATE, NOW).astype(int)
    columns = ["months", "metric", "value", "ci_low", "ci_high", "lost", "lost_low", "lost_high"]
    return table[columns].reset_index(drop=True)


def retrain_after(table: pd.DataFrame, metric: str) -> int | None:
    """The youngest age, in months, whose paired interval shows a loss; None if none does."""
    worse = table[(table["metric"] == metric) & (table["lost_low"] > 0)]
    return None if worse.empty else int(worse["months"].min())


def read(folder: Path) -> dict[str, Floats] | None:
    """Answers by age as a run stored them; None where it stored none."""
    if not (folder / FILE).is_file():
        return None
    stored = pd.read_parquet(folder / FILE)
    return {age: stored[age].to_numpy(np.float64) for age in stored.columns}


def _drawn(table: pd.DataFrame, metric: str) -> "Figure":
    shown = table[table["metric"] == metric]
    figure, axes = plots.axes_of("How answers age", "months since the model was taught", metric)
    spread = plots.whiskers(shown["value"], shown["ci_low"], shown["ci_high"])
    axes.errorbar(
        shown["months"], shown["value"], yerr=spread, fmt="o-", color=plots.COLOURS[0], capsize=3
    )
    axes.set_xticks(shown["months"])
    return figure


def sections(case: "SupervisedCase") -> list[Section]:
    """Where a run stored answers of models of other ages."""
    answers, metric = read(case.learned.folder), case.plan.config.search.metric
    if answers is None:
        return []
    found = curve(case.rows, answers, metric, case.judged.kind, *case.draws)
    return [section(found, metric, case.judge_anew)]


def section(table: pd.DataFrame, metric: str, judge_anew: str) -> Section:
    """What the card says of it, and when to train anew."""
    after = retrain_after(table, metric)
    oldest = int(table["months"].max())
    trigger = (
        f"no model up to {oldest} months old is shown to be worse by {metric}; train anew when "
        f"features drift, or by {judge_anew}"
        if after is None
        else f"a model {after} month(s) old is shown to be worse by {metric}: train anew before, "
        f"or when features drift, at the latest by {judge_anew}"
    )
    text = [
        "The same parameters taught with what was known months before the test cutoff, asked about "
        "its customers, before calibration. lost: against the model as it is, paired, above 0 = "
        "the older one is worse.",
        f"Retrain trigger: {trigger}.",
    ]
    return Section(
        "How answers age", text, table.round(4),
        figures={"staleness": (table, _drawn(table, metric))}, files={"staleness": table},
    )  # fmt: skip

"""Whether a question can be learned from the data at hand; each refusal says what to change."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.canonical import MERGES
from features.cutoffs import Moments
from features.errors import ConfigError, DataError
from features.snapshot import FeaturePlan, lacking
from features.sources import Source
from training.contract import AnyTask, Floats, Kind

LEAST_OF_A_CLASS = 3
"""Rows with the rarer label that every block needs: fewer can neither teach nor judge."""
LEAST_TO_TELL = 10
"""Rows of each class that a feature must separate before that is taken for more than luck."""
EXACT = 0.9999


def check_question(task: AnyTask, source: Source) -> None:
    """Refuse a question about tables or columns that the source does not bring.

    Raises
    ------
    ConfigError
        Naming each, and what there is instead.
    """
    problems = task.problems(source)
    if problems:
        raise ConfigError.listing(
            f"task {task.name!r} does not fit source {source.name!r}", problems
        )


def check_sets(plan: FeaturePlan, source: Source) -> None:
    """Refuse feature sets that read tables the source does not declare.

    Raises
    ------
    ConfigError
        Naming each set, and what to do.
    """
    made = {MERGES.name} if source.identity is not None else set()
    problems = lacking(plan, source.name, source.tables.keys() | made)
    if problems:
        raise ConfigError.listing(
            f"{len(problems)} feature set(s) do not fit source {source.name!r}", problems
        )


def check_horizon(task: AnyTask, first: datetime, end: datetime) -> None:
    """Refuse a label window that is longer than the data.

    Raises
    ------
    ConfigError
        Naming both lengths.
    """
    gap, length = task.horizon_days + task.maturity_days, (end - first).days
    if gap >= length:
        raise ConfigError(
            f"task {task.name!r} needs {gap} days after a cutoff (horizon and maturity), the data "
            f"span {length} days: set task.config.horizon_days lower, or bring longer data"
        )


def check_windows(end: datetime, moments: Moments, mature: Moments, gap: timedelta) -> None:
    """Refuse an incomplete label window of the test cutoff, and teaching cutoffs all too late.

    Raises
    ------
    ConfigError
        Saying which cutoffs would do.
    """
    problems, latest = [], moments.teaching[-1]
    if moments.test + gap > end:
        problems.append(
            f"the label window of cutoffs.test {moments.test:%Y-%m-%d} ends "
            f"{moments.test + gap:%Y-%m-%d}, the data {end:%Y-%m-%d}; "
            f"set cutoffs.test to end-{gap.days}d or earlier"
        )
    if not mature.folds:
        problems.append(
            f"the label window of cutoffs.latest {latest:%Y-%m-%d} ends {latest + gap:%Y-%m-%d}, "
            f"after cutoffs.test {moments.test:%Y-%m-%d}, and those of all folds before it too; "
            f"set cutoffs.latest at least {gap.days} days before cutoffs.test"
        )
    if problems:
        raise ConfigError.listing(f"the cutoffs do not fit a horizon of {gap.days} days", problems)


def check_labels(y: Floats, kind: Kind) -> None:
    """Refuse labels that are not of their kind.

    Raises
    ------
    DataError
        If an event's are other than 0 and 1, an amount's below 0, or one is no number.
    """
    odd = ~np.isin(y, (0.0, 1.0)) if kind == "event" else ~(np.isfinite(y) & (y >= 0))
    if odd.any():
        wanted = "0 or 1 for an event" if kind == "event" else "0 or more for an amount"
        raise DataError(
            f"{int(odd.sum())} labels are not {wanted}, such as {y[odd][0]:g}: change the kind, "
            "the column or the conditions of the task"
        )


def check_blocks(blocks: Sequence[tuple[str, Floats]], kind: Kind) -> None:
    """Refuse blocks that can neither teach nor judge.

    Raises
    ------
    DataError
        Naming each block that is empty, has one label only, or nearly so.
    """
    problems = []
    for name, y in blocks:
        if len(y) == 0:
            problems.append(f"{name}: no rows; use fewer folds or more cutoffs")
        elif len(np.unique(y)) < 2:
            problems.append(
                f"{name}: {len(y)} rows, all with label {y[0]:g}; "
                "change the horizon or who is asked"
            )
        elif (rare := min((y > 0).sum(), (y == 0).sum())) < LEAST_OF_A_CLASS and kind == "event":
            label = int((y > 0).sum() == rare)
            problems.append(
                f"{name}: {rare} of {len(y)} rows with label {label}, at least {LEAST_OF_A_CLASS} "
                "are needed; change the horizon, the conditions or who is asked"
            )
    if problems:
        raise DataError.listing("the question cannot be learned from these data", problems)


def check_leaks(X: pd.DataFrame, y: Floats, kind: Kind) -> None:
    """Refuse features that hold the answer itself.

    Raises
    ------
    DataError
        Naming each.
    """
    told = [str(name) for name in X.columns if _tells(X[name], y, kind)]
    if told:
        raise DataError(
            f"feature(s) {told} give the label away exactly, so they hold the outcome itself: "
            "leave the column or its set out of features"
        )


def _tells(column: pd.Series, y: Floats, kind: Kind) -> bool:
    """Whether the column alone gives the label without a single mistake."""
    known = column.notna().to_numpy()
    if kind == "amount":
        if column.dtype == "category" or len(np.unique(y[known])) < LEAST_TO_TELL:
            return False
        ranks = [pd.Series(v).rank().to_numpy() for v in (column[known], y[known])]
        varied = min(np.ptp(r) for r in ranks) > 0
        return bool(varied and abs(np.corrcoef(*ranks)[0, 1]) > EXACT)
    if min((y[known] == 0).sum(), (y[known] == 1).sum()) < LEAST_TO_TELL:
        gone = min((~known).sum(), known.sum()) >= LEAST_TO_TELL
        return bool(gone and len(np.unique(y[known])) == len(np.unique(y[~known])) == 1)
    if column.dtype == "category":
        words = column.cat.codes.to_numpy()[known]
        rates = np.bincount(words, weights=y[known]) / np.maximum(np.bincount(words), 1)
        return bool(np.isin(rates, (0.0, 1.0)).all() and len(rates) * LEAST_TO_TELL <= len(words))
    x = column.to_numpy(np.float64)[known]
    no, yes = x[y[known] == 0], x[y[known] == 1]
    return bool(no.max() < yes.min() or yes.max() < no.min())

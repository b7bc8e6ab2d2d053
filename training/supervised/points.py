"""Questions of when: every baseline asked anew by each day, and all answers judged there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from features.settings import Part, resolve
from training.bundle import MODELS, Loaded
from training.calibrate import CalibrateConfig
from training.checks import check_blocks
from training.contract import Floats
from training.evaluate import Judged, judge
from training.gates import CHAMPION
from training.metrics import LOWER_IS_BETTER, UNDIRECTED, customer_weights
from training.rows import Rows
from training.splits import Splits
from training.supervised.learn import learn

FILE = "points.parquet"
DAY = "day"
AT_A_POINT = ("roc_auc", "average_precision", "log_loss", "brier", "ece", "mean_probability")
"""Metrics by each day; those by the horizon are the question's own."""
CLASSES = 256
"""Customers are put into so many equally filled classes of risk before they are compared."""


def by_then(rows: Rows, days: int, absent: bool) -> Floats:
    """1 where the event comes by the end of day ``days`` (``absent``: does not come), else 0."""
    assert rows.days is not None, "the question is when"
    comes = (rows.days > 0) & (rows.days <= days)
    return (~comes if absent else comes).astype(np.float64)


def learn_points(
    splits: Splits,
    baselines: Mapping[str, Part],
    points: Sequence[int],
    absent: bool,
    config: CalibrateConfig,
    seed: int,
    report: Callable[[], None],
) -> pd.DataFrame:
    """Each baseline learned and calibrated for each day alone; its answers to the test rows.

    So they need not agree from day to day, and are the stronger opponents for it. Beside them is
    the day on which the event came.

    Raises
    ------
    DataError
        If a block has one label only by one of the days.
    """
    test = splits.shipped.last.answered
    assert test.days is not None, "the question is when"
    found = {DAY: test.days}
    for days in points:
        within = splits.asking(partial(by_then, days=days, absent=absent)).shipped
        blocks = [*within.folds, within.last]
        check_blocks(
            [(f"by day {days}, {block.name}", block.answered.y) for block in blocks], "event"
        )
        for name, part in baselines.items():
            answer = learn(within, "event", _for(part, days), config, seed, report)
            found[column(name, days)] = answer.predict(test.X)
    return pd.DataFrame(found)


def _for(part: Part, days: int) -> Part:
    """The part with its own horizon set to ``days``, if it has one."""
    if not hasattr(resolve(MODELS, part).config, "horizon_days"):
        return part
    return part.model_copy(update={"config": {**part.config, "horizon_days": days}})


def read(folder: Path) -> tuple[Floats, dict[str, dict[int, Floats]]]:
    """The days on which the event came, and baseline -> days -> probabilities, as stored."""
    told = pd.read_parquet(folder / FILE)
    found: dict[str, dict[int, Floats]] = {}
    for name in told.columns.drop(DAY):
        answer, _, days = name.rpartition("_")
        found.setdefault(answer, {})[int(days.removesuffix("d"))] = told[name].to_numpy()
    return told[DAY].to_numpy(np.float64), found


def of_champion(
    champion: Loaded, words: pd.DataFrame, points: Sequence[int]
) -> dict[str, dict[int, Floats]]:
    """The champion's answers by each day to the same rows; nothing if it does not tell them all."""
    names = {days: column(champion.answer.output, days) for days in points}
    if not set(names.values()) <= {name for name, _ in champion.outputs}:
        return {}
    theirs = champion.predict_frame(words[[name for name, _ in champion.inputs]])
    return {CHAMPION: {days: theirs[name].to_numpy() for days, name in names.items()}}


def column(name: str, days: int) -> str:
    """What an answer by a day is called in the stored table."""
    return f"{name}_{days}d"


def metric_names(points: Sequence[int]) -> tuple[str, ...]:
    """Metrics of a question of when, beside those by its horizon."""
    by_point = [column(metric, days) for days in points for metric in AT_A_POINT]
    return (*by_point, "concordance", "integrated_brier") if points else ()


def undirected(points: Sequence[int]) -> frozenset[str]:
    """Those of all metrics that have no better or worse."""
    return UNDIRECTED | {column(m, d) for m in AT_A_POINT if m in UNDIRECTED for d in points}


def judge_points(
    judged: Judged,
    rows: Rows,
    chances: Mapping[str, Mapping[int, Floats]],
    horizon: int,
    absent: bool,
    repeats: int,
    seed: int,
) -> Judged:
    """``judged`` by the horizon, with the same draws by each day and over the whole time.

    Parameters
    ----------
    chances
        Answer -> days -> probabilities, of those answers that tell them.
    """
    points = sorted(next(iter(chances.values())))
    draws = {name: dict(found) for name, found in judged.draws.items()}
    for days in points:
        asked = replace(rows, y=by_then(rows, days, absent))
        given = {name: told[days] for name, told in chances.items()}
        then = judge(asked, given, dict.fromkeys(given, 0.5), repeats, seed)
        for name in given:
            draws[name] |= {column(m, days): then.draws[name][m] for m in AT_A_POINT}
    weights = customer_weights(rows.customers, repeats, seed)
    drawn = np.vstack([np.ones(len(rows)), weights])
    for name, told in chances.items():
        curve = np.stack([*(told[days] for days in points), judged.answers[name]], axis=1)
        curve = 1.0 - curve if absent else curve
        loss = _integrated(rows, curve, [*points, horizon])
        draws[name]["integrated_brier"] = (drawn @ loss) / drawn.sum(axis=1)
        risk = curve @ _widths([*points, horizon])
        draws[name]["concordance"] = concordance(rows.days, risk, drawn)
    worse = {column(m, d) for m in AT_A_POINT if m in LOWER_IS_BETTER for d in points}
    return replace(
        judged,
        draws=draws,
        lower_is_better=LOWER_IS_BETTER | worse | {"integrated_brier"},
        undirected=undirected(points),
    )


def _widths(ends: Sequence[int]) -> Floats:
    """What each end weighs in the mean over [0, last end] of what is straight between two ends."""
    gaps = np.diff([0, *ends])
    found: Floats = (gaps + np.append(gaps[1:], 0)) / 2.0 / ends[-1]
    return found


def _integrated(rows: Rows, curve: Floats, ends: Sequence[int]) -> Floats:
    """Each row's squared error of the chance that it has come, over time; shape (n_rows,).

    Graf, Schmoor, Sauerbrei and Schumacher (1999), "Assessment and comparison of prognostic
    classification schemes for survival data": nobody is censored before the horizon.
    """
    came = np.stack([by_then(rows, days, absent=False) for days in ends], axis=1)
    found: Floats = (curve - came) ** 2 @ _widths(ends)
    return found


def concordance(days: Floats | None, risk: Floats, weights: Floats) -> Floats:
    """Chance that of two customers the one with the earlier event has the higher risk.

    Harrell (1982); who is without the event by the horizon comes after all others. Ties of risk
    count half; pairs with the event on one day, or none, say nothing.

    Parameters
    ----------
    weights
        Of each draw, shape (n_draws, n_rows).

    Returns
    -------
    Floats
        Shape (n_draws,).
    """
    assert days is not None, "the question is when"
    last = int(days.max()) + 1
    when = np.where(days > 0, days, last).astype(int)
    place = pd.Series(risk).rank(method="average").to_numpy()
    classes = min(CLASSES, len(risk))
    cell = when * classes + np.minimum(place / (len(risk) + 1) * classes, classes - 1).astype(int)
    found = []
    for w in weights:
        seen = np.bincount(cell, w, (last + 1) * classes).reshape(last + 1, classes)
        later = np.cumsum(seen[::-1], axis=0)[::-1] - seen
        below = np.cumsum(later, axis=1) - later / 2.0
        pairs = seen.sum(axis=1) @ later.sum(axis=1)
        found.append((seen * below).sum() / pairs if pairs > 0 else np.nan)
    return np.array(found)

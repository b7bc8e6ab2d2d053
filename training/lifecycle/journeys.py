"""How customers go through the stages: moves, funnel, commonest paths, and where they stop."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from training.lifecycle.sequences import Ints
from training.segments.profile import LEAST_SHOWN
from training.segments.stability import table_of

LONGEST = 5
"""Stages of a path that are told, the last ones."""
MOST_PATHS = 12
RARER, UNDER, NOBODY = "rarer paths", f"under {LEAST_SHOWN}", -1
ARROW = " > "


def moves(paths: Ints, names: Sequence[str]) -> pd.DataFrame:
    """From stage to stage in a period.

    Parameters
    ----------
    paths
        Places of stages, shape (n_rows, n_periods); -1 = not yet known.

    Returns
    -------
    DataFrame
        Tidy: from, to, moves, share (of ``from``). Those of fewer than 20 customers are told as
        that.
    """
    before, after = paths[:, :-1], paths[:, 1:]
    known = before >= 0
    counts = table_of(before[known], after[known], len(names), len(names))
    row = np.nonzero(known)[0]
    cells = np.unique(np.column_stack([row, before[known], after[known]]), axis=0)
    movers = table_of(cells[:, 1], cells[:, 2], len(names), len(names))
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    lines = []
    for i, j in np.ndindex(*counts.shape):
        few = 0 < movers[i, j] < LEAST_SHOWN
        lines.append({
            "from": names[i], "to": names[j],
            "moves": UNDER if few else str(int(counts[i, j])),
            "share": np.nan if few else float(counts[i, j] / total[i, 0]),
        })  # fmt: skip
    return pd.DataFrame(lines)


def stays(paths: Ints, names: Sequence[str]) -> pd.DataFrame:
    """Who is in each stage at the end, and how long stays of the past lasted.

    Returns
    -------
    DataFrame
        Tidy: stage, customers, share, stays (that began and ended in sight), median_periods.
    """
    last, finished = paths[:, -1], _finished(paths)
    lines = []
    for s, name in enumerate(names):
        own, past = int((last == s).sum()), finished[finished["stage"] == s]
        few, short = own < LEAST_SHOWN, past["row"].nunique() < LEAST_SHOWN
        lines.append({
            "stage": name, "customers": UNDER if few else str(own),
            "share": "not shown" if few else f"{own / len(last):.1%}",
            "stays": UNDER if short else str(len(past)),
            "median_periods": "not shown" if short else f"{past['length'].median():g}",
        })  # fmt: skip
    return pd.DataFrame(lines)


def _finished(paths: Ints) -> pd.DataFrame:
    """Stays of which begin and end lie within the sequence: row, stage, length in periods."""
    row, at = np.nonzero(np.diff(paths, axis=1) != 0)
    same = row[1:] == row[:-1]
    return pd.DataFrame({
        "row": row[1:][same], "stage": paths[row[1:], at[1:]][same], "length": np.diff(at)[same],
    })  # fmt: skip


def funnel(
    paths: Ints, new: np.ndarray, names: Sequence[str], steps: Sequence[str]
) -> pd.DataFrame:
    """Of the customers who were first heard of in sight: who gets how far, and in what time.

    Parameters
    ----------
    new
        Who was first heard of in sight, shape (n_rows,).

    Returns
    -------
    DataFrame
        Tidy: stage, reached (customers who were in it or further on), of_all, conversion (from the
        step before), dropped, median_periods (since the step before). Empty with fewer than 20.
    """
    rank = np.full(len(names) + 1, -1)
    for k, step in enumerate(steps):
        rank[list(names).index(step)] = k
    own = rank[paths[new]]  # -1, the last entry, where nothing was known
    columns = ["stage", "reached", "of_all", "conversion", "dropped", "median_periods"]
    if new.sum() < LEAST_SHOWN:
        return pd.DataFrame(columns=columns)
    first = [_first(own >= k) for k in range(len(steps))]
    lines = []
    for k, step in enumerate(steps):
        there = first[k] >= 0
        before = first[k - 1] >= 0 if k else np.ones(len(own), bool)
        onward = first[k + 1] >= 0 if k + 1 < len(steps) else there
        took = (first[k] - first[k - 1])[there] if k else np.zeros(0)
        few = there.sum() < LEAST_SHOWN
        lines.append({
            "stage": step, "reached": UNDER if few else int(there.sum()),
            "of_all": np.nan if few else float(there.mean()),
            "conversion": np.nan if few else float(there.sum() / max(before.sum(), 1)),
            "dropped": np.nan if few else float(1 - onward.sum() / max(there.sum(), 1)),
            "median_periods": np.nan if few or not k else float(np.median(took)),
        })  # fmt: skip
    return pd.DataFrame(lines, columns=columns)


def _first(holds: np.ndarray) -> Ints:
    """The first period in which it holds, -1 = never."""
    found: Ints = np.where(holds.any(axis=1), holds.argmax(axis=1), NOBODY)
    return found


def ways(paths: Ints, names: Sequence[str], goals: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """The commonest ways to each goal: the stages before the first arrival in sight.

    Customers who were there when they were first seen did not arrive in sight. A path is told from
    20 customers on, the others together.

    Returns
    -------
    DataFrame
        Tidy: goal, path, customers, share (of those who arrived), median_periods (since first
        seen).
    """
    columns = ["goal", "path", "customers", "share", "median_periods"]
    lines: list[dict[str, object]] = []
    for goal, stages in goals.items():
        there = np.isin(paths, [list(names).index(stage) for stage in stages])
        begin, arrive = _first(paths >= 0), _first(there)
        came = np.flatnonzero((arrive > begin) & (begin >= 0))
        found = pd.DataFrame({
            "path": [_said(paths[i, begin[i] : arrive[i] + 1], names) for i in came],
            "took": (arrive - begin)[came],
        })  # fmt: skip
        counted = found.groupby("path")["took"].agg(["size", "median"]).reset_index()
        counted = counted.sort_values(["size", "path"], ascending=[False, True])
        shown = counted[counted["size"] >= LEAST_SHOWN].head(MOST_PATHS)
        lines += [
            {"goal": goal, "path": row["path"], "customers": int(row["size"]),
             "share": row["size"] / len(came), "median_periods": float(row["median"])}
            for row in shown.to_dict("records")
        ]  # fmt: skip
        rest = len(came) - int(shown["size"].sum())
        if rest >= LEAST_SHOWN:
            others = found.loc[~found["path"].isin(shown["path"]), "took"]
            lines.append({
                "goal": goal, "path": RARER, "customers": rest, "share": rest / len(came),
                "median_periods": float(others.median()),
            })  # fmt: skip
    return pd.DataFrame(lines, columns=columns)


def _said(path: Ints, names: Sequence[str]) -> str:
    kept = path[np.append(True, path[1:] != path[:-1])]
    said = ARROW.join(names[s] for s in kept[-LONGEST:])
    return f"... {said}" if len(kept) > LONGEST else said


def crossed(groups: pd.Series, stages: pd.Series) -> pd.DataFrame:
    """Customers by group and stage; cells of fewer than 20 are told as that.

    Returns
    -------
    DataFrame
        One row per group, one column per stage, counts as text.
    """
    table = pd.crosstab(groups.rename("group"), stages.rename("stage"))
    shown = table.astype(str).where((table >= LEAST_SHOWN) | (table == 0), UNDER)
    return shown.reset_index().rename_axis(columns=None)

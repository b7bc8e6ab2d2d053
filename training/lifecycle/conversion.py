"""What decides conversion at each step of a session's way to a purchase: boosted trees, explained.

A session is asked when it first shows a step, and by nothing but what was known by then: where it
takes place, what was done in it so far, what the customer did before. It converts if it shows a
later step afterwards. Trees learn from earlier sessions and are judged, and explained by their
Shapley values (Lundberg, S. et al. 2020, From local explanations to global understanding with
explainable AI for trees, Nature Machine Intelligence 2), on later ones.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd

from features import columns as c
from features.tables import Tables
from features.views import AGE
from training.contract import Floats
from training.lifecycle.config import ActionsConfig, LifecyclePlan
from training.lifecycle.figures import STEPS
from training.metrics import LEAST, Ranked, customer_weights, evaluate, interval
from training.pipeline import Prepared
from training.rows import in_order
from training.segments.profile import LEAST_SHOWN

TREES: dict[str, Any] = {
    "objective": "binary:logistic", "max_depth": 3, "eta": 0.1, "min_child_weight": 10,
    "subsample": 0.8, "tree_method": "hist", "max_bin": 64, "nthread": 1,
}  # fmt: skip
ROUNDS = 80
CLEAR = 0.3
"""Correlation of ranks with Shapley values from which on a column speaks one way."""
WORDS = (c.CHANNEL, "device")
"""What is a word: trees see its values, reasons tell of it as one."""
SESSION = "session"
HOUR, DAY, MINUTES = "hour of the day", "day of the week", "minutes in the session"
SESSIONS, PURCHASES, APART = "sessions before", "purchases before", "days since the session before"
SO_FAR = " so far"
JUDGED = (
    "step", "next", "sessions", "customers", "conversion", "roc_auc", "ci_low", "ci_high",
    "roc_auc_by_channel",
)  # fmt: skip
REASONS = ("step", "column", "strength", "share", "likelier")


def read_events(tables: Tables, prepared: Prepared, window_days: int) -> pd.DataFrame | None:
    """Events of sessions before the test cutoff, oldest first by customer; None: no events."""
    view = tables.asof([prepared.moments.test])
    if not view.has("events"):
        return None
    rows = view.rows("events")
    rows = rows.filter((rows[AGE] <= window_days) & rows["session_id"].notnull())  # noqa: PD004  (Ibis)
    at = rows[c.EVENT_TIME]
    chosen = rows.select(
        c.CUSTOMER, c.KIND, "session_id", *WORDS, AGE, c.ROW,
        **{HOUR: at.hour().cast("float64"), DAY: at.day_of_week.index() + 1.0},
    ).order_by([c.CUSTOMER, ibis.desc(AGE), c.ROW])  # fmt: skip
    return in_order(tables, chosen.to_pyarrow().to_pandas())


def described(events: pd.DataFrame) -> pd.DataFrame:
    """Events with what is known of session and customer just before each."""
    found = events.assign(**{SESSION: events.groupby([c.CUSTOMER, "session_id"]).ngroup()})
    session = found.groupby(SESSION)
    first = session.cumcount() == 0
    found[MINUTES] = (session[AGE].transform("first") - found[AGE]) * 24.0 * 60.0
    found[SESSIONS] = first.groupby(found[c.CUSTOMER]).cumsum() - 1.0
    bought = (found[c.KIND] == STEPS[-1]) * 1.0
    found[PURCHASES] = bought.groupby(found[c.CUSTOMER]).cumsum() - bought
    begun = found[AGE].where(first)
    before = begun.groupby(found[c.CUSTOMER]).ffill().groupby(found[c.CUSTOMER]).shift()
    found[APART] = (before - found[AGE]).where(first).groupby(found[SESSION]).transform("first")
    for kind in sorted(set(found[c.KIND])):
        one = (found[c.KIND] == kind) * 1.0
        found[kind + SO_FAR] = one.groupby(found[SESSION]).cumsum() - one
    return found


def asked_at(found: pd.DataFrame, step: str) -> pd.DataFrame:
    """Sessions where they first show ``step``, with ``converted`` = a later step follows.

    Those that have shown a later step by then are beyond it, and not asked.
    """
    at = found.reset_index(names="place")
    later = at["place"].where(at[c.KIND].isin(STEPS[STEPS.index(step) + 1 :]))
    first = later.groupby(at[SESSION]).transform("min")
    asked = at.assign(converted=first.notna() * 1.0)[at[c.KIND] == step].drop_duplicates(SESSION)
    beyond = first[asked.index] < asked["place"]
    return asked[~beyond]


def columns_of(asked: pd.DataFrame) -> pd.DataFrame:
    """What trees see: numbers, and of each word its values."""
    numbers = [HOUR, DAY, MINUTES, SESSIONS, PURCHASES, APART,
               *(name for name in asked if name.endswith(SO_FAR))]  # fmt: skip
    words = {
        f"{word}: {value}": (asked[word] == value) * 1.0
        for word in WORDS for value in sorted(asked[word].dropna().unique())
    }  # fmt: skip
    X = asked[numbers].assign(**words)
    return X.loc[:, X.max() > X.min()]


def write_conversion(folder: Path, plan: LifecyclePlan, prepared: Prepared) -> dict[str, Any]:
    """Learn and judge every step; write ``conversion.csv`` and ``conversion_reasons.csv``."""
    tables, config = prepared.stored.open(plan.config.sample), plan.config.actions
    try:
        events = read_events(tables, prepared, config.window_days)
    finally:
        tables.backend.disconnect()
    if events is None:
        return {"note": "the source brings no events, so there are no sessions"}
    found, judged, reasons, few = described(events), [], [], []
    for step, following in pairwise(STEPS):
        asked = asked_at(found, step)
        told = explained(asked, config, plan.config.bootstrap, plan.config.seed)
        if told is None:
            few.append(f"{step} to {following}")
            continue
        judged.append({"step": step, "next": f"{following} or later", **told[0]})
        reasons.append(told[1].assign(step=step))
    if not judged:
        return {"note": f"too few customers took, or did not take, each step: {', '.join(few)}"}
    pd.DataFrame(judged, columns=JUDGED).to_csv(folder / "conversion.csv", index=False)
    every = pd.concat(reasons)[list(REASONS)]
    every.to_csv(folder / "conversion_reasons.csv", index=False)
    return {"left_out": ", ".join(few) or "none"}


def explained(
    asked: pd.DataFrame, config: ActionsConfig, repeats: int, seed: int
) -> tuple[dict[str, Any], pd.DataFrame] | None:
    """How well later sessions are told, and by what.

    Returns
    -------
    tuple
        A line of ``conversion.csv``, and for each column its strength (mean absolute Shapley value
        in later sessions, log-odds), its share of all, and what makes conversion likelier. None
        where fewer than 20 customers convert or do not, in earlier or in later sessions.
    """
    import xgboost as xgb

    late = (asked[AGE] <= config.test_days).to_numpy()
    y, customers = asked["converted"].to_numpy(), asked[c.CUSTOMER].to_numpy(np.int64)
    least = min(
        asked.loc[block & (y == value), c.CUSTOMER].nunique()
        for block in (late, ~late) for value in (0.0, 1.0)
    )  # fmt: skip
    if least < LEAST_SHOWN:
        return None
    X = columns_of(asked)
    taught = np.flatnonzero(~late)
    taught = taught[np.argsort(asked[AGE].to_numpy()[taught], kind="stable")]
    taught = taught[: config.most_actions]
    data = xgb.DMatrix(X.iloc[taught].to_numpy(np.float32), y[taught])
    trees = xgb.train(TREES | {"seed": seed}, data, ROUNDS)
    later = xgb.DMatrix(X[late].to_numpy(np.float32))
    weights = customer_weights(customers[late], repeats, seed)
    by_channel = asked.iloc[taught].groupby(c.CHANNEL)["converted"].mean()
    plain = asked.loc[late, c.CHANNEL].map(by_channel).fillna(y[taught].mean()).to_numpy(np.float64)
    p = trees.predict(later).astype(np.float64)
    own, channel = (
        evaluate(Ranked.of(y[late], said, 0.5), weights, ("roc_auc",))["roc_auc"]
        for said in (p, plain)
    )
    low, high = interval(own[1:])
    line = {
        "sessions": len(asked), "customers": len(np.unique(customers)), "conversion": y.mean(),
        "roc_auc": own[0], "ci_low": low, "ci_high": high, "roc_auc_by_channel": channel[0],
    }  # fmt: skip
    moved = trees.predict(later, pred_contribs=True)[:, :-1].astype(np.float64)
    return line, _reasons(X[late], moved)


def _reasons(X: pd.DataFrame, moved: Floats) -> pd.DataFrame:
    """Columns by falling strength; the values of a word are taken together."""
    names: dict[str, list[int]] = {}
    for j, name in enumerate(X):
        names.setdefault(name.partition(": ")[0], []).append(j)
    lines = []
    for name, places in names.items():
        values = {X.columns[j].partition(": ")[2]: X.iloc[:, j].to_numpy(np.float64)
                  for j in places}  # fmt: skip
        sums = moved[:, places].sum(axis=1)
        lines.append({"column": name, "strength": float(np.abs(sums).mean()),
                      "likelier": _likelier(values, sums)})  # fmt: skip
    table = pd.DataFrame(lines).sort_values(["strength", "column"], ascending=[False, True])
    return table.assign(share=table["strength"] / max(table["strength"].sum(), LEAST))


def _likelier(values: Mapping[str, Floats], sums: Floats) -> str:
    """Where conversion is likelier: a value of a word, the higher or the lower numbers."""
    if "" not in values:
        mean = {name: float(sums[own > 0].mean()) for name, own in values.items() if own.any()}
        return max(mean, key=lambda name: mean[name]) if mean else "neither"
    known = ~np.isnan(values[""])
    own = values[""][known]
    if len(own) < LEAST_SHOWN or not own.std() or not sums[known].std():
        return "neither"
    ranks = pd.Series(own).rank().to_numpy()
    together = float(np.corrcoef(ranks, sums[known])[0, 1])
    if abs(together) < CLEAR:
        return "in between"
    return "more" if together > 0 else "less"

"""The next likely action: Markov models of rising order, their baseline and a challenger.

Where a source has events, those of a customer are one sequence. The order is chosen on later days
than those counted, and everything is judged on days after those.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.tables import Tables
from training.contract import Floats
from training.lifecycle.config import ActionsConfig, LifecyclePlan
from training.lifecycle.sequences import Ints
from training.metrics import LEAST, customer_weights, interval
from training.pipeline import Prepared
from training.rows import in_order
from training.segments.profile import LEAST_SHOWN

WEIGHT = 5.0
"""Of the shorter memory, in actions: a context seen as often counts half (interpolation; Jelinek,
F., Mercer, R. 1980, Interpolated estimation of Markov source parameters)."""
RECENT = 4
"""Latest actions that the challenger sees one by one."""
BASELINE, MARKOV, CHALLENGER = "shares of actions", "Markov", "boosted trees"
SHOWN_CONTEXTS = 60
TREES: dict[str, Any] = {
    "objective": "multi:softprob", "max_depth": 5, "eta": 0.15, "min_child_weight": 20,
    "subsample": 0.8, "tree_method": "hist", "max_bin": 64, "nthread": 1,
}  # fmt: skip
ROUNDS = 60


@dataclass(frozen=True)
class Actions:
    """Actions by customer and time; arrays of shape (n_actions,)."""

    names: tuple[str, ...]
    customer: Ints
    action: Ints
    """1, 2, ...; 0 stands for none before."""
    day: Floats
    """Days before the test cutoff, falling within a customer."""

    def before(self, steps: int) -> Ints:
        """The action so many steps before each; 0 = there was none."""
        found = np.zeros_like(self.action)
        found[steps:] = self.action[:-steps]
        found[steps:][self.customer[steps:] != self.customer[:-steps]] = 0
        return found

    def context(self, order: int) -> Ints:
        """One number for the last ``order`` actions before each."""
        found = np.zeros_like(self.action)
        for step in range(1, order + 1):
            found = found * (len(self.names) + 1) + self.before(step)
        return found


def read_actions(tables: Tables, prepared: Prepared, window_days: int) -> Actions | None:
    """Events of the days before the test cutoff; None where the source brings none."""
    view = tables.asof([prepared.moments.test])
    if not view.has("events"):
        return None
    rows = view.rows("events")
    rows = rows.filter(rows.age_days <= window_days)
    chosen = rows.select(c.CUSTOMER, c.KIND, "age_days", c.ROW).order_by(
        [c.CUSTOMER, rows.age_days.desc(), c.ROW]
    )
    table = in_order(tables, chosen.to_pyarrow().to_pandas())
    names, action = np.unique(table[c.KIND].to_numpy().astype(str), return_inverse=True)
    return Actions(
        tuple(map(str, names)), table[c.CUSTOMER].to_numpy(), action.astype(np.int64) + 1,
        table["age_days"].to_numpy(),
    )  # fmt: skip


@dataclass(frozen=True)
class Markov:
    """Counts of actions after contexts of 0, 1, ... actions."""

    contexts: tuple[Ints, ...]
    """Known contexts of each order, rising."""
    counts: tuple[Floats, ...]
    """Actions after them, shape (n_contexts, n_actions)."""

    @classmethod
    def counted(cls, actions: Actions, taught: np.ndarray, order: int) -> "Markov":
        """Count the actions that ``taught`` marks."""
        size = len(actions.names)
        contexts: list[Ints] = []
        counts: list[Floats] = []
        for k in range(order + 1):
            known, place = np.unique(actions.context(k)[taught], return_inverse=True)
            pairs = place * size + actions.action[taught] - 1
            counted = np.bincount(pairs, minlength=len(known) * size).astype(np.float64)
            counts.append(counted.reshape(-1, size))
            contexts.append(known)
        return cls(tuple(contexts), tuple(counts))

    def probabilities(self, actions: Actions, asked: np.ndarray) -> Floats:
        """Of each action at the places that ``asked`` marks, by the longest memory."""
        total = self.counts[0].sum(axis=0) + 1.0
        p: Floats = np.tile(total / total.sum(), (int(asked.sum()), 1))
        for k in range(1, len(self.contexts)):
            context, known = actions.context(k)[asked], self.contexts[k]
            place = np.minimum(np.searchsorted(known, context), max(len(known) - 1, 0))
            seen = (known[place] == context)[:, None]
            counts = np.where(seen, self.counts[k][place], 0.0)
            p = (counts + WEIGHT * p) / (counts.sum(axis=1, keepdims=True) + WEIGHT)
        return p


def write_actions(folder: Path, plan: LifecyclePlan, prepared: Prepared) -> dict[str, Any]:
    """Judge models of the next action; write ``actions.csv`` and ``next_actions.csv``."""
    tables, config = prepared.stored.open(plan.config.sample), plan.config.actions
    try:
        actions = read_actions(tables, prepared, config.window_days)
    finally:
        tables.backend.disconnect()
    if actions is None:
        return {"note": "the source brings no events, so there are no sequences of actions"}
    late, mid = actions.day <= config.test_days, actions.day <= 2 * config.test_days
    blocks = {"taught": ~mid, "chosen on": mid & ~late, "test": late}
    few = {name: int(m.sum()) for name, m in blocks.items() if m.sum() < LEAST_SHOWN}
    if few or len(actions.names) < 2:
        return {"note": f"too few events to learn the next action from: {few or actions.names}"}
    order, tried = _order(actions, blocks, config)
    taught = blocks["taught"] | blocks["chosen on"]
    chosen = Markov.counted(actions, taught, order)
    said = {
        BASELINE: Markov.counted(actions, taught, 0).probabilities(actions, late),
        f"{MARKOV}, order {order}": chosen.probabilities(actions, late),
        CHALLENGER: _challenged(actions, taught, late, config.most_actions, plan.config.seed),
    }
    judged = _judged(actions, late, said, plan.config.bootstrap, plan.config.seed)
    judged.to_csv(folder / "actions.csv", index=False)
    tried.to_csv(folder / "actions_order.csv", index=False)
    _following(actions, taught, min(max(order, 1), 2)).to_csv(
        folder / "next_actions.csv", index=False
    )
    return {
        "order": order, "actions": int(late.sum()), "customers": len(np.unique(actions.customer)),
        "since": f"{prepared.moments.test - timedelta(days=config.test_days):%Y-%m-%d}",
    }  # fmt: skip


def _order(
    actions: Actions, blocks: Mapping[str, np.ndarray], config: ActionsConfig
) -> tuple[int, pd.DataFrame]:
    """The order that tells most of later days; of equal ones the shorter."""
    later = blocks["chosen on"]
    lines = []
    for k in range(config.orders[0], config.orders[1] + 1):
        p = Markov.counted(actions, blocks["taught"], k).probabilities(actions, later)
        lines.append({"order": k, "loglik": float(np.log(_of(p, actions, later)).mean())})
    table = pd.DataFrame(lines)
    return int(table.loc[table["loglik"].idxmax(), "order"]), table


def _of(p: Floats, actions: Actions, asked: np.ndarray) -> Floats:
    """Probability of what was really done."""
    found: Floats = p[np.arange(len(p)), actions.action[asked] - 1]
    return np.maximum(found, LEAST)


def _challenged(
    actions: Actions, taught: np.ndarray, asked: np.ndarray, most: int, seed: int
) -> Floats:
    """Boosted trees over the last actions, how long ago they were, and what was done so far."""
    import xgboost as xgb

    size = len(actions.names)
    last = [actions.before(step) for step in range(1, RECENT + 1)]
    own = actions.customer[1:] == actions.customer[:-1]
    apart = np.append(np.nan, np.where(own, actions.day[:-1] - actions.day[1:], np.nan))
    pause = np.append(np.nan, np.where(own, apart[:-1], np.nan))
    columns = [(step == a).astype(np.float32) for step in last for a in range(size + 1)]
    starts = np.flatnonzero(np.append(True, ~own))
    for a in range(1, size + 1):
        done = np.cumsum(actions.action == a) - (actions.action == a)
        columns.append((done - np.repeat(done[starts], np.diff([*starts, len(done)]))) * 1.0)
    X = np.column_stack([*columns, pause]).astype(np.float32)
    rows = np.flatnonzero(taught)
    rows = rows[np.argsort(actions.day[rows], kind="stable")[:most]]
    data = xgb.DMatrix(X[rows], actions.action[rows] - 1)
    trees = xgb.train(TREES | {"num_class": size, "seed": seed}, data, ROUNDS)
    found: Floats = trees.predict(xgb.DMatrix(X[asked])).astype(np.float64)
    return found


def _judged(
    actions: Actions, late: np.ndarray, said: Mapping[str, Floats], repeats: int, seed: int
) -> pd.DataFrame:
    """Log-likelihood and share of actions that were the likeliest; intervals over customers."""
    place, customers = pd.factorize(actions.customer[late])
    weights = np.vstack([np.ones(len(customers)), customer_weights(customers, repeats, seed)])
    total = weights @ np.bincount(place)
    lines = []
    for name, p in said.items():
        hit = p.argmax(axis=1) == actions.action[late] - 1
        for metric, values in (("loglik", np.log(_of(p, actions, late))), ("accuracy", hit * 1.0)):
            draws = weights @ np.bincount(place, values) / total
            low, high = interval(draws[1:])
            lines.append({"model": name, "metric": metric, "value": float(draws[0]),
                          "ci_low": low, "ci_high": high})  # fmt: skip
    return pd.DataFrame(lines)


def _following(actions: Actions, taught: np.ndarray, order: int) -> pd.DataFrame:
    """What follows the commonest contexts; those of fewer than 20 customers are left out."""
    names = ("nothing", *actions.names)
    frame = pd.DataFrame({
        **{f"before_{k}": np.array(names)[actions.before(k)[taught]] for k in range(order, 0, -1)},
        "next": np.array(names)[actions.action[taught]], "customer": actions.customer[taught],
    })  # fmt: skip
    by = [f"before_{k}" for k in range(order, 0, -1)]
    found = frame.groupby([*by, "next"], as_index=False).agg(
        times=("customer", "size"), customers=("customer", "nunique")
    )
    found["probability"] = found["times"] / found.groupby(by)["times"].transform("sum")
    found = found[found["customers"] >= LEAST_SHOWN]
    order_by = ["times", *by, "next"]
    rising = [False, *(True for _ in order_by[1:])]
    return found.sort_values(order_by, ascending=rising).head(SHOWN_CONTEXTS)

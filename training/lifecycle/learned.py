"""Learning: the number of states by what they tell of later periods, then the chain, and names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features import columns as c
from features.errors import ConfigError
from features.schema import FeatureColumn
from training.contract import Floats
from training.keys import signing_key
from training.lifecycle import bundle as bundles
from training.lifecycle import words
from training.lifecycle.bundle import SPACE, LifecycleAnswer, LifecycleBundle, State
from training.lifecycle.chain import Chain
from training.lifecycle.config import LifecyclePlan
from training.lifecycle.fitting import fit
from training.lifecycle.judge import told
from training.lifecycle.sequences import (
    Ints,
    codes_of,
    columns_of,
    counts_of,
    sizes_of,
    words_of_levels,
)
from training.lifecycle.stages import Rules, shown
from training.rows import Rows
from training.splits import Splits

GOLDEN_ROWS = 500
CHOSEN = "chosen"
WHEN = (", without an order", ", with an order")
"""The halves of what a state shows of all but orders."""


@dataclass(frozen=True)
class Sight:
    """What the source shows, and how rows are read."""

    columns: tuple[FeatureColumn, ...]
    observables: tuple[str, ...]
    observe: dict[str, tuple[int, ...]]
    """What the chain sees -> where its levels begin."""
    rules: Rules
    hidden: dict[str, str]
    """Stages that cannot be shown, and why."""
    unseen: dict[str, str]
    """Observables that the source does not show, and why."""

    @property
    def sizes(self) -> list[int]:
        """Number of codes of each observable of the chain."""
        return sizes_of(list(self.observe.values()))

    def rows(self, X: pd.DataFrame) -> Floats:
        """The columns of a frame in order."""
        found: Floats = X[[column.name for column in self.columns]].to_numpy(np.float64)
        return found

    def counts(self, X: pd.DataFrame) -> Floats:
        """Counts, shape (n_rows, n_periods, n_observables)."""
        return counts_of(self.rows(X), len(self.observables))

    def codes(self, X: pd.DataFrame) -> Ints:
        """What the chain sees."""
        seen = [self.observables.index(name) for name in self.observe]
        return codes_of(self.counts(X)[..., seen], list(self.observe.values()))


def sight(plan: LifecyclePlan, schema: Sequence[FeatureColumn], taught: pd.DataFrame) -> Sight:
    """What can be observed in the rows that teach.

    Raises
    ------
    ConfigError
        If there are no periods among the features, or no orders in them.
    """
    by_observable = columns_of(schema)
    unknown = set(plan.config.chain.observe) - set(by_observable)
    for stage in plan.config.stages:
        unknown |= stage.observables - set(by_observable)
    if unknown:
        raise ConfigError(
            f"no columns of {sorted(unknown)} among the features: list `use: periods.Periods` "
            f"below `features:`; it counts {', '.join(by_observable) or 'nothing here'}"
        )
    seen = {n: bool(taught[[k.name for k in own]].notna().any(axis=None))
            for n, own in by_observable.items()}  # fmt: skip
    observables = tuple(name for name, any_ in seen.items() if any_)
    if "orders" not in observables:
        raise ConfigError(f"source {plan.source.name!r} shows no orders; a lifecycle needs them")
    stages, hidden = shown(plan.config.stages, observables)
    chain = plan.config.chain
    return Sight(
        bundles.columns_in_order(by_observable, observables), observables,
        {name: chain.edges(name) for name in chain.observe if name in observables},
        Rules(stages, observables), hidden,
        {name: "no row of its table before the teaching cutoffs" for name, any_ in seen.items()
         if not any_},
    )  # fmt: skip


def choose(
    plan: LifecyclePlan, splits: Splits, seen: Sight, report: Callable[[int, int], None]
) -> pd.DataFrame:
    """Trials: what each number of states, and steps, tells of periods later than those it learned.

    The fewest states, and of those the fewest steps, win whose log-likelihood is within one
    standard error, over customers, of the best (Breiman et al. 1984, section 3.4.3), or within what
    is not worth more of them.
    """
    config, moments = plan.config.chain, splits.moments
    pairs = [
        (before[-1], t)
        for t in moments.folds
        if (before := [e for e in moments.teaching if e + splits.gap <= t])
    ]
    if not pairs:
        raise ConfigError(
            "cutoffs: no teaching cutoff lies a period before a validation cutoff; set "
            "cutoffs.count higher or cutoffs.folds lower"
        )
    shapes = list(product(range(config.states[0], config.states[1] + 1), config.steps))
    values: dict[tuple[int, int], list[Floats]] = {shape: [] for shape in shapes}
    fits: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    chains: dict[tuple[int, int], Chain] = {}
    for i, (earlier, t) in enumerate(pairs):
        taught, later = (seen.codes(splits.rows.at(moment).X) for moment in (earlier, t))
        for j, shape in enumerate(shapes):
            # What an earlier cutoff taught is nearer than a guess.
            chain = chains[shape] = fit(taught, seen.sizes, *shape, config.prior, chains.get(shape))
            total, periods = told(
                chain.filtered(later).loglik[:, 1:], later, held_periods(plan, earlier, t)
            )
            counts = periods > 0
            values[shape].append(total[counts] / periods[counts])
            fits[shape].append(float(np.mean(chain.filtered(taught).loglik.sum(axis=1))))
            report(i * len(shapes) + j + 1, len(pairs) * len(shapes))
    later_of = {shape: np.concatenate(found) for shape, found in values.items()}
    best = max(shapes, key=lambda shape: float(later_of[shape].mean()))
    lines = []
    for shape in shapes:
        behind = later_of[best] - later_of[shape]
        error = float(behind.std() / np.sqrt(len(behind)))
        near = behind.mean() <= max(error, config.enough)
        lines.append({
            "states": shape[0], "steps": shape[1], "loglik": float(later_of[shape].mean()),
            "behind": float(behind.mean()), "standard_error": error,
            "loglik_taught": float(np.mean(fits[shape])),
            "state": "near the best" if near else "tells less",
        })  # fmt: skip
    table = pd.DataFrame(lines)
    first = int(np.flatnonzero(table["state"].eq("near the best"))[0])
    table.loc[first, "state"] = CHOSEN
    return table


def held_periods(plan: LifecyclePlan, earlier: datetime, later: datetime) -> int:
    """Whole periods between two cutoffs: what was learned at the first saw nothing of them."""
    return (later - earlier).days // plan.task.horizon_days


def _states(chain: Chain, seen: Sight, share: Floats, period_days: int) -> tuple[State, ...]:
    names = words.names(chain, list(seen.observe))
    ids, usual = [chr(65 + s) for s in range(chain.n_states)], chain.midway
    buying, onward = chain.buying(usual), chain.following(usual)
    states = []
    for s, name in enumerate(names):
        facts = {"share": float(share[s]), "dwell": float(chain.dwell[s]),
                 "buying": float(buying[s])}  # fmt: skip
        levels = {
            f"{observed}{when}": dict(zip(words_of_levels(edges), map(float, half), strict=True))
            for (observed, edges), own in zip(seen.observe.items(), chain.emit, strict=True)
            for when, half in zip(
                ("",) if observed == "orders" else WHEN, own[s].reshape(-1, len(edges) + 1),
                strict=True,
            )
        }  # fmt: skip
        states.append(
            State(
                id=ids[s],
                name=name,
                words=words.sentence(name, facts, period_days),
                next=dict(zip(ids, map(float, onward[s]), strict=True)),
                levels=levels,
                **facts,
            )  # fmt: skip
        )
    return tuple(states)


def write_learned(
    folder: Path, plan: LifecyclePlan, splits: Splits, seen: Sight, trials: pd.DataFrame,
    key: str, keys: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write the signed bundle and the rows that judging needs; return facts for the manifest."""
    config, task = plan.config, plan.task
    taught_at, test = splits.moments.teaching[-1], splits.test
    taught = splits.rows.at(taught_at)
    best = trials[trials["state"] == CHOSEN].iloc[0]
    states, steps = int(best["states"]), int(best["steps"])
    codes = seen.codes(taught.X)
    chain = fit(codes, seen.sizes, states, steps, config.chain.prior)
    share = chain.filtered(codes).state[:, -1].mean(axis=0)
    answer = LifecycleAnswer(
        task=task.name, question=task.question, kind=task.kind, output=task.output,
        cutoff=f"{splits.moments.test:%Y-%m-%d}", horizon_days=task.horizon_days,
        source=plan.source.name, currency=plan.source.currency, run_key=key, space=SPACE,
        columns=seen.columns, observables=seen.observables, observe=seen.observe,
        stages=seen.rules.stages, hidden=seen.hidden,
        states=_states(chain, seen, share, task.horizon_days),
    )  # fmt: skip
    made = LifecycleBundle(answer, chain)
    drawn = np.random.default_rng(config.seed).permutation(len(test))[:GOLDEN_ROWS]
    golden = seen.rows(test.X)[np.sort(drawn)]
    digest = bundles.write(made, golden, folder / "bundle", signing_key(keys))
    trials.to_csv(folder / "search.csv", index=False)
    splits.table().to_csv(folder / "splits.csv", index=False)
    for name, rows in (("test", test), ("taught", taught)):
        _written(rows).to_parquet(folder / f"{name}.parquet")
    history(made, test, splits.moments.test).to_csv(folder / "history.csv", index=False)
    explained, answered = made.explain(golden), made.seen(golden)
    return {
        "digest": digest,
        "test_rows": len(test),
        "taught_rows": len(taught),
        "taught_at": f"{taught_at:%Y-%m-%d}",
        "held_periods": held_periods(plan, taught_at, splits.moments.test),
        "additivity": float(np.abs(explained.scores - answered.margin).max(initial=0.0)),
        "unseen": seen.unseen,
        "dropped_immature": sum(splits.immature.values()),
        "tags": {
            "model_family": "hidden semi-Markov" if steps > 1 else "hidden Markov",
            "states": str(states),
        },
        "params": {"states": states, "steps": steps, "observe": ", ".join(seen.observe)},
    }


def _written(rows: Rows) -> pd.DataFrame:
    return rows.X.assign(**{c.CUSTOMER: rows.customers, "spend": rows.y})


def history(made: LifecycleBundle, rows: Rows, cutoff: datetime) -> pd.DataFrame:
    """Stage and state of each customer at the end of each period, under the internal number.

    Returns
    -------
    DataFrame
        Tidy: customer_id, period_end, stage, state (given all up to then), probability.
    """
    X = rows.X[list(made.columns)].to_numpy(np.float64)
    paths, found = made.rules.paths(made.counts(X)), made.chain.filtered(made.codes(X))
    n, periods = paths.shape
    back = np.arange(periods - 1, -1, -1) * made.answer.horizon_days
    ends = np.datetime64(cutoff, "D") - back.astype("timedelta64[D]")
    state = found.state.argmax(axis=2)
    table = pd.DataFrame({
        c.CUSTOMER: np.repeat(rows.customers, periods), "period_end": np.tile(ends, n),
        "stage": np.array([stage.name for stage in made.answer.stages])[paths].ravel(),
        "state": np.array([state.id for state in made.answer.states])[state].ravel(),
        "probability": found.state.max(axis=2).ravel().round(6),
    })  # fmt: skip
    return table[paths.ravel() >= 0]

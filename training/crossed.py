"""Labelled snapshots without a clock: customers are divided, and none is answered by its own label.

Stratified cross-validation, nested and repeated: each part of the customers is answered by a model
made from the others alone, whose parameters and calibration were chosen by dividing those others
once more (Varma and Simon 2006). What ships is made from everyone, in the same way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.cutoffs import Moments, Snapshots
from features.errors import ConfigError, DataError
from features.schema import FeatureColumn
from features.tables import Stored
from training import categories
from training.checks import check_blocks, check_labels, check_leaks
from training.contract import Floats, Kind, Task
from training.rows import Rows, joined, labels_of
from training.splits import Block, Division, Round


@dataclass(frozen=True)
class Crossed:
    """Rows of snapshots, and which customers may teach which."""

    rows: Rows
    config: Snapshots
    seed: int
    kind: Kind = "event"
    columns: tuple[FeatureColumn, ...] = ()
    unlabelled: Mapping[datetime, int] = field(default_factory=dict)
    immature: Mapping[datetime, int] = field(default_factory=dict)

    @cached_property
    def shipped(self) -> Round:
        """Everyone teaches; nobody is left to be answered."""
        everyone = np.ones(len(self.rows), bool)
        last = Block("everyone", self.rows, ~everyone, everyone)
        return Round(self._inner("everyone", everyone, self.seed), last)

    @cached_property
    def judged(self) -> tuple[Round, ...]:
        """Each part of the customers once per repeat, answered by what the others teach."""
        rounds = []
        for repeat in range(self.config.repeats):
            seed = self.seed + 1 + repeat
            part = parts(self.rows, self.config.folds, seed)
            for number in range(self.config.folds):
                held = part == number
                name = f"{repeat + 1}.{number + 1}"
                last = Block(name, self.rows, held, ~held)
                rounds.append(Round(self._inner(name, ~held, seed), last))
        return tuple(rounds)

    def _inner(self, name: str, among: NDArray[np.bool_], seed: int) -> tuple[Block, ...]:
        """The customers ``among`` whom choices are made, each part against the others."""
        part = np.full(len(self.rows), -1)
        part[among] = parts(self.rows.where(among), self.config.inner, seed)
        return tuple(
            Block(f"{name}, part {k + 1}", self.rows, part == k, among & (part != k))
            for k in range(self.config.inner)
        )

    @property
    def shown(self) -> Rows:
        """Everyone."""
        return self.rows

    def table(self) -> pd.DataFrame:
        """One line per block: who answers, rows answered and teaching, rate (or mean)."""
        blocks = [("choose, for what ships", block) for block in self.shipped.folds]
        blocks += [("judge", round_.last) for round_ in self.judged]
        return pd.DataFrame([
            {
                "block": block.name, "role": role, "rows": int(block.held.sum()),
                "taught_by": int(block.teaching.sum()),
                "rate" if self.kind == "event" else "mean": float(self.rows.y[block.held].mean()),
            }
            for role, block in blocks
        ])  # fmt: skip


def parts(rows: Rows, count: int, seed: int) -> NDArray[np.int64]:
    """The part in ``[0, count)`` of each row; all rows of a customer are in one.

    Stratified: customers who ever have a label above 0, and the others, are dealt out one by one,
    each in an order drawn by ``seed``. So the sizes of parts differ by two customers at most. Who
    is drawn is decided by the order of rows; the customers' numbers do not matter.
    """
    owner, people = pd.factorize(rows.customers)
    positive = np.bincount(owner, rows.y > 0) > 0
    order = np.random.default_rng(seed).permutation(len(people))
    order = order[np.argsort(~positive[order], kind="stable")]
    dealt = np.empty(len(people), np.int64)
    dealt[order] = np.arange(len(people)) % count
    found: NDArray[np.int64] = dealt[owner]
    return found


def cross(
    stored: Stored,
    features: pd.DataFrame,
    task: Task,
    config: Snapshots,
    moments: Moments,
    columns: Sequence[FeatureColumn] = (),
    sample: float = 1.0,
    seed: int = 0,
) -> Division:
    """Ask the task for spine and labels at each snapshot and join them to the feature table.

    Words get their codes from all rows, without a look at labels.

    Raises
    ------
    ConfigError
        If a snapshot's label window is not complete in the data.
    DataError
        If a customer is asked twice at a snapshot, labels are not of their kind, a feature gives
        the label away, or a block cannot teach.
    """
    gap = timedelta(days=task.horizon_days + task.maturity_days)
    end = config.known_until(stored.end)
    late = [t for t in moments.all if t + gap > end]
    if late:
        raise ConfigError(
            f"cutoffs.snapshots: the label window of {late[-1]:%Y-%m-%d} ends "
            f"{late[-1] + gap:%Y-%m-%d}, the data {end:%Y-%m-%d}; set task.config.horizon_days to "
            f"{(end - late[-1]).days} or less"
        )
    with stored.open(sample) as tables:
        labels, unlabelled = labels_of(tables, task, moments.all)
    if labels.empty:
        raise DataError(
            f"{sum(unlabelled.values())} customers are asked at the snapshots, and none has a "
            f"label within {task.horizon_days} days: set task.config.horizon_days or "
            "cutoffs.snapshots so that the outcomes lie in their windows"
        )
    rows = joined(labels, features, columns)
    learned = categories.learned(columns, rows.X)
    rows = replace(rows, X=categories.encoded(rows.X, learned))
    crossed = Crossed(rows, config, seed, task.kind, learned, unlabelled)
    check_labels(rows.y, task.kind)
    check_blocks(_blocks(crossed), task.kind)
    check_leaks(rows.X, rows.y, task.kind)
    return crossed


def _blocks(crossed: Crossed) -> list[tuple[str, Floats]]:
    """The labels of every block that must be able to teach or to judge."""
    rounds = (crossed.shipped, *crossed.judged)
    blocks = [b for round_ in rounds for b in round_.folds] + [r.last for r in crossed.judged]
    return [(f"part {b.name}", crossed.rows.y[b.held]) for b in blocks]

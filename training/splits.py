"""Rows with labels, and which may teach what: no label window reaches into a later block."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import columns as c
from features.errors import ConfigError, DataError
from features.snapshot import Moments
from features.tables import Stored
from training.contract import LABEL, Floats, Task


@dataclass(frozen=True)
class Rows:
    """Feature rows with labels; row i is one customer at one cutoff."""

    X: pd.DataFrame
    """Feature columns, shape (n_rows, n_features)."""
    y: Floats
    """Labels, shape (n_rows,)."""
    customers: NDArray[np.int64]
    cutoffs: NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.y)

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The rows that ``mask`` names."""
        return Rows(self.X[mask], self.y[mask], self.customers[mask], self.cutoffs[mask])

    def at(self, cutoff: datetime) -> "Rows":
        """The rows of one cutoff."""
        return self.where(self.cutoffs == np.datetime64(cutoff))


@dataclass(frozen=True)
class Splits:
    """Which cutoffs teach, validate and test; ``gap`` is horizon plus maturity."""

    rows: Rows
    moments: Moments
    gap: timedelta

    def taught_by(self, cutoff: datetime, apart_from: datetime | None = None) -> Rows:
        """Teaching rows whose label window ends by ``cutoff``.

        Parameters
        ----------
        apart_from
            Leave out cutoffs whose label window overlaps the one that begins here.
        """
        allowed = [
            t
            for t in self.moments.teaching
            if t + self.gap <= cutoff and (apart_from is None or abs(t - apart_from) >= self.gap)
        ]
        return self.rows.where(np.isin(self.rows.cutoffs, [np.datetime64(t) for t in allowed]))

    def year_before(self, cutoff: datetime) -> datetime | None:
        """The same season a year ago, if it was observed and its labels known by ``cutoff``."""
        before = self.moments.year_ago.get(cutoff)
        return before if before is not None and before + self.gap <= cutoff else None

    @property
    def test(self) -> Rows:
        """The rows that are reported on."""
        return self.rows.at(self.moments.test)

    def table(self) -> pd.DataFrame:
        """One line per cutoff: role, label window, rows, rate."""
        lines = []
        for t in self.moments.all:
            rows = self.rows.at(t)
            lines.append({
                "cutoff": f"{t:%Y-%m-%d}", "role": self._role(t),
                "label_end": f"{t + self.gap:%Y-%m-%d}",
                "rows": len(rows), "rate": float(rows.y.mean()) if len(rows) else float("nan"),
            })  # fmt: skip
        return pd.DataFrame(lines)

    def _role(self, cutoff: datetime) -> str:
        if cutoff == self.moments.test:
            return "test"
        if cutoff not in self.moments.teaching:
            return "season a year ago"
        return "validate and teach" if cutoff in self.moments.folds else "teach"


def split(stored: Stored, features: pd.DataFrame, task: Task, moments: Moments) -> Splits:
    """Ask the task for spine and labels and join them to the feature table.

    Raises
    ------
    ConfigError
        If a label window is not complete in the data, or reaches into the next block.
    DataError
        If a block is empty or has one class only.
    """
    gap = timedelta(days=task.horizon_days + task.maturity_days)
    _check_windows(stored, moments, gap)
    tables = stored.open()
    spine = tables.backend.create_table("asked", task.spine(tables.asof(moments.all)))
    following = tables.following(moments.all, task.horizon_days, task.maturity_days)
    labels = tables.backend.to_pyarrow(task.label(spine, following)).to_pandas()
    tables.backend.disconnect()
    joined = labels.merge(
        features, on=[c.CUSTOMER, c.CUTOFF], how="left", validate="one_to_one", indicator=True
    )
    strangers = int((joined["_merge"] != "both").sum())
    if strangers:
        raise DataError(
            f"{strangers} asked customers have no feature row; build the features again"
        )
    joined = joined.sort_values([c.CUTOFF, c.CUSTOMER], ignore_index=True)
    X = joined[[n for n in features.columns if n not in (c.CUSTOMER, c.CUTOFF)]]
    rows = Rows(
        X, joined[LABEL].to_numpy(np.float64), joined[c.CUSTOMER].to_numpy(np.int64),
        joined[c.CUTOFF].to_numpy("datetime64[us]"),
    )  # fmt: skip
    splits = Splits(rows, moments, gap)
    _check_blocks(splits)
    return splits


def _check_windows(stored: Stored, moments: Moments, gap: timedelta) -> None:
    problems = []
    if moments.test + gap > stored.end:
        problems.append(
            f"the label window of cutoffs.test {moments.test:%Y-%m-%d} ends "
            f"{moments.test + gap:%Y-%m-%d}, the data {stored.end:%Y-%m-%d}; "
            f"set cutoffs.test to end-{gap.days}d or earlier"
        )
    if moments.teaching[-1] + gap > moments.test:
        problems.append(
            f"the label window of cutoffs.latest {moments.teaching[-1]:%Y-%m-%d} ends "
            f"{moments.teaching[-1] + gap:%Y-%m-%d}, after cutoffs.test {moments.test:%Y-%m-%d}; "
            f"set cutoffs.latest at least {gap.days} days before cutoffs.test"
        )
    if problems:
        raise ConfigError.listing(f"the cutoffs do not fit a horizon of {gap.days} days", problems)


def _check_blocks(splits: Splits) -> None:
    problems = []
    blocks: Sequence[tuple[str, Rows]] = [
        ("test", splits.test),
        *((f"validation {t:%Y-%m-%d}", splits.rows.at(t)) for t in splits.moments.folds),
        *((f"rows that teach by {t:%Y-%m-%d}", splits.taught_by(t)) for t in splits.moments.folds),
    ]
    for name, rows in blocks:
        if len(rows) == 0:
            problems.append(f"{name}: no rows; use fewer folds or more cutoffs")
        elif len(np.unique(rows.y)) < 2:
            problems.append(
                f"{name}: {len(rows)} rows, all with label {rows.y[0]:g}; "
                "change the horizon or who is asked"
            )
    if problems:
        raise DataError.listing("the question cannot be learned from these data", problems)

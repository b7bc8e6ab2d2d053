"""Rows with labels, and which may teach what: no label window reaches into a later block."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from features import columns as c
from features.cutoffs import Moments
from features.errors import DataError
from features.schema import FeatureColumn
from features.tables import Stored, Tables
from training import categories
from training.checks import check_blocks, check_labels, check_leaks, check_windows
from training.contract import LABEL, Floats, Kind, Task

KEYS = [c.CUSTOMER, c.CUTOFF]
IMMATURE = "dropped: labels not known by the test cutoff"


@dataclass(frozen=True)
class Rows:
    """Feature rows with labels; row i is one customer at one cutoff."""

    X: pd.DataFrame
    """Feature columns, shape (n_rows, n_features); words are pandas categories."""
    y: Floats
    """Labels, shape (n_rows,)."""
    customers: NDArray[np.int64]
    cutoffs: NDArray[np.datetime64]
    audit: pd.DataFrame | None = None
    """Audit attributes beside the features: for slices, never for models."""

    def __len__(self) -> int:
        return len(self.y)

    def where(self, mask: NDArray[np.bool_]) -> "Rows":
        """The rows that ``mask`` names."""
        audit = None if self.audit is None else self.audit[mask]
        return Rows(self.X[mask], self.y[mask], self.customers[mask], self.cutoffs[mask], audit)

    def at(self, cutoff: datetime) -> "Rows":
        """The rows of one cutoff."""
        return self.where(self.cutoffs == np.datetime64(cutoff))


@dataclass(frozen=True)
class Splits:
    """Which cutoffs teach, validate and test; ``gap`` is horizon plus maturity."""

    rows: Rows
    moments: Moments
    gap: timedelta
    kind: Kind = "event"
    columns: tuple[FeatureColumn, ...] = ()
    """Declarations of the features, words with their levels."""
    immature: Mapping[datetime, int] = field(default_factory=dict)
    """Customers asked at teaching cutoffs whose labels the test cutoff could not know."""
    unlabelled: Mapping[datetime, int] = field(default_factory=dict)
    """Customers asked whose label is not known."""

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
        """One line per cutoff: role, label window, rows, those dropped, rate (or mean)."""
        lines = []
        for t in sorted({*self.moments.all, *self.immature}):
            rows = self.rows.at(t)
            lines.append({
                "cutoff": f"{t:%Y-%m-%d}", "role": self._role(t),
                "label_end": f"{t + self.gap:%Y-%m-%d}", "rows": len(rows),
                "dropped": self.immature.get(t, 0) + self.unlabelled.get(t, 0),
                "rate" if self.kind == "event" else "mean":
                    float(rows.y.mean()) if len(rows) else float("nan"),
            })  # fmt: skip
        return pd.DataFrame(lines)

    def _role(self, cutoff: datetime) -> str:
        if cutoff == self.moments.test:
            return "test"
        if cutoff in self.immature:
            return IMMATURE
        if cutoff not in self.moments.teaching:
            return "season a year ago"
        return "validate and teach" if cutoff in self.moments.folds else "teach"


def split(
    stored: Stored,
    features: pd.DataFrame,
    task: Task,
    moments: Moments,
    columns: Sequence[FeatureColumn] = (),
    sample: float = 1.0,
) -> Splits:
    """Ask the task for spine and labels and join them to the feature table.

    Teaching cutoffs whose labels the test cutoff could not know are dropped and counted, and so are
    customers whose label is not known.

    Parameters
    ----------
    columns
        Declarations of the features; audit columns among them are put aside.
    sample
        Share of the customers, as the features were made of.

    Raises
    ------
    ConfigError
        If the test cutoff's label window is not complete in the data, or too little is left.
    DataError
        If a customer is asked twice, labels are not of their kind, a feature gives the label away,
        or a block cannot teach.
    """
    gap = timedelta(days=task.horizon_days + task.maturity_days)
    mature = _mature(moments, gap)
    check_windows(stored.end, moments, mature, gap)
    tables = stored.open(sample)
    try:
        labels, unlabelled = _labels(tables, task, mature)
        immature = _asked(tables, task, [t for t in moments.teaching if t not in mature.teaching])
    finally:
        tables.backend.disconnect()
    joined = labels.merge(features, on=KEYS, how="left", validate="one_to_one", indicator=True)
    strangers = int((joined["_merge"] != "both").sum())
    if strangers:
        raise DataError(
            f"{strangers} asked customers have no feature row; build the features again"
        )
    joined = joined.sort_values([c.CUTOFF, c.CUSTOMER], ignore_index=True)
    aside = [k.name for k in columns if k.sensitivity == "audit" and k.name in joined]
    rows = Rows(
        joined[[n for n in features.columns if n not in (*KEYS, *aside)]],
        joined[LABEL].to_numpy(np.float64), joined[c.CUSTOMER].to_numpy(np.int64),
        joined[c.CUTOFF].to_numpy("datetime64[us]"), joined[aside] if aside else None,
    )  # fmt: skip
    splits = Splits(rows, mature, gap, task.kind, tuple(columns), immature, unlabelled)
    learned = categories.learned(columns, splits.taught_by(mature.test).X)
    rows = replace(rows, X=categories.encoded(rows.X, learned))
    splits = replace(splits, rows=rows, columns=learned)
    check_labels(rows.y, task.kind)
    check_blocks(_blocks(splits), task.kind)
    check_leaks(rows.X, rows.y, task.kind)
    return splits


def _mature(moments: Moments, gap: timedelta) -> Moments:
    """The cutoffs without those whose label window is not over by the test cutoff."""
    teaching = tuple(t for t in moments.teaching if t + gap <= moments.test)
    return replace(
        moments, teaching=teaching, folds=tuple(t for t in moments.folds if t in teaching)
    )


def _labels(
    tables: Tables, task: Task, moments: Moments
) -> tuple[pd.DataFrame, dict[datetime, int]]:
    """Labels of everyone asked, and how many at each cutoff have none."""
    found: list[pa.Table] = []
    asked: dict[datetime, int] = {}
    for cutoffs in tables.passes(moments.all):
        spine = tables.backend.create_table(
            "asked", task.spine(tables.asof(cutoffs)), overwrite=True
        )
        following = tables.following(cutoffs, task.horizon_days, task.maturity_days)
        found.append(tables.backend.to_pyarrow(task.label(spine, following)))
        counts = spine.group_by(c.CUTOFF).aggregate(n=spine.count()).to_pyarrow().to_pylist()
        asked |= {line[c.CUTOFF]: line["n"] for line in counts}
    labels = pa.concat_tables(found).to_pandas()
    doubled = int(labels.duplicated(KEYS).sum())
    if doubled:
        raise DataError(
            f"{doubled} customers are asked twice at one cutoff: the spine or the label of task "
            f"{task.name!r} has doubled keys"
        )
    known = labels[c.CUTOFF].value_counts()
    missing = {t: n - int(known.get(t, 0)) for t, n in asked.items()}
    return labels, {t: n for t, n in missing.items() if n}


def _asked(tables: Tables, task: Task, cutoffs: Sequence[datetime]) -> dict[datetime, int]:
    """How many are asked at each of ``cutoffs``."""
    found: dict[datetime, int] = {}
    for chosen in tables.passes(cutoffs) if cutoffs else []:
        spine = task.spine(tables.asof(chosen))
        counts = tables.backend.to_pyarrow(spine.group_by(c.CUTOFF).aggregate(n=spine.count()))
        found |= {line[c.CUTOFF]: line["n"] for line in counts.to_pylist()}
    return {t: found.get(t, 0) for t in cutoffs}


def _blocks(splits: Splits) -> list[tuple[str, Floats]]:
    """The labels of every block that must be able to teach or to judge."""
    folds = splits.moments.folds
    return [
        ("test", splits.test.y),
        *((f"validation {t:%Y-%m-%d}", splits.rows.at(t).y) for t in folds),
        *((f"rows that teach by {t:%Y-%m-%d}", splits.taught_by(t).y) for t in folds),
    ]

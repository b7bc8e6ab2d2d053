"""Rows with labels, and which may teach what: no label window reaches into a later block.

Whatever divides the rows says so by :class:`Round`: blocks that are answered, each with the rows
that may teach its answers. Here time divides them; where there is no clock, :mod:`training.crossed`
divides customers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.cutoffs import Moments
from features.schema import FeatureColumn
from features.tables import Stored
from training import categories
from training.checks import check_blocks, check_labels, check_leaks, check_windows
from training.contract import Floats, Kind, Task
from training.rows import Rows, asked_at, joined, labels_of

IMMATURE = "dropped: labels not known by the test cutoff"


@dataclass(frozen=True)
class Block:
    """Rows that are answered, and those that may teach the answers: never one and the same."""

    name: str
    rows: Rows
    """All there are."""
    held: NDArray[np.bool_]
    """Which of them are answered, shape (n_rows,)."""
    teaching: NDArray[np.bool_]
    """Which of them may teach, shape (n_rows,)."""
    season: "YearBefore | None" = None
    """The same season a year before."""
    half_life_days: float | None = None
    """Rows that teach count half as much for each so many days before the newest; None: alike."""

    @property
    def answered(self) -> Rows:
        """The rows that are answered."""
        return self.rows.where(self.held)

    @property
    def taught(self) -> Rows:
        """The rows that may teach."""
        return self.rows.where(self.teaching)

    @property
    def weights(self) -> Floats | None:
        """How much each of the rows that may teach counts, shape (n_taught,); None: alike."""
        if self.half_life_days is None:
            return None
        cutoffs = self.rows.cutoffs[self.teaching]
        age = (cutoffs.max() - cutoffs) / np.timedelta64(1, "D")
        weights: Floats = 0.5 ** (age / self.half_life_days)
        return weights


@dataclass(frozen=True)
class YearBefore:
    """The same season a year before, and who is answered now, seen in data of one length."""

    before: Block
    """Answered by rows that tell nothing of it."""
    now: Rows
    """Those of who is answered; labels are not for use."""
    asked: NDArray[np.bool_]
    """Which of the answered rows they are, shape (n_answered,): whose history is not too old."""


@dataclass(frozen=True)
class Round:
    """What one model is made from, and what it answers."""

    folds: tuple[Block, ...]
    """They choose parameters and calibration."""
    last: Block
    """All that may teach the model, and the rows it answers, whose labels choose nothing."""
    in_time: bool = False
    """Whether the folds follow each other in time, the earliest first."""


class Division(Protocol):
    """Rows, and which may teach what."""

    @property
    def rows(self) -> Rows:
        """All rows with labels."""
        ...

    @property
    def kind(self) -> Kind:
        """What the labels are."""
        ...

    @property
    def columns(self) -> tuple[FeatureColumn, ...]:
        """Declarations of the features, words with their levels."""
        ...

    @property
    def immature(self) -> Mapping[datetime, int]:
        """Customers left out because their labels were not known in time, by cutoff."""
        ...

    @property
    def unlabelled(self) -> Mapping[datetime, int]:
        """Customers asked whose label is not known, by cutoff."""
        ...

    @property
    def shipped(self) -> Round:
        """What the shipped answer is made from."""
        ...

    @property
    def judged(self) -> tuple[Round, ...]:
        """What is reported on: the answers to the last block of each; the shipped one may be it."""
        ...

    @property
    def shown(self) -> Rows:
        """Rows on which the shipped answer is explained and replayed."""
        ...

    def table(self) -> pd.DataFrame:
        """One line per block, for the card."""
        ...


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
    half_life_days: float | None = None
    """See :class:`Block`."""
    of_one_length: Rows | None = None
    """Rows of the cutoffs since :attr:`first_season` as data show them that are no longer than they
    were then; None: all rows are such."""

    def taught_by(self, cutoff: datetime, apart_from: datetime | None = None) -> Rows:
        """Teaching rows whose label window ends by ``cutoff``.

        Parameters
        ----------
        apart_from
            Leave out cutoffs whose label window overlaps the one that begins here.
        """
        return self.rows.where(self._teaching(self.rows, cutoff, apart_from))

    def _teaching(
        self, rows: Rows, cutoff: datetime, apart_from: datetime | None = None
    ) -> NDArray[np.bool_]:
        allowed = [
            t
            for t in self.moments.teaching
            if t + self.gap <= cutoff and (apart_from is None or abs(t - apart_from) >= self.gap)
        ]
        return np.isin(rows.cutoffs, [np.datetime64(t) for t in allowed])

    def block(self, cutoff: datetime) -> Block:
        """The rows of ``cutoff`` and what may teach by then, with its season a year before."""
        before, name = self.year_before(cutoff), f"{cutoff:%Y-%m-%d}"
        season = None if before is None else self._season(cutoff, before)
        held, taught = _at(self.rows, cutoff), self._teaching(self.rows, cutoff)
        return Block(name, self.rows, held, taught, season, self.half_life_days)

    def _season(self, cutoff: datetime, before: datetime) -> YearBefore:
        rows = self.rows if self.of_one_length is None else self.of_one_length
        taught = self._teaching(rows, cutoff, apart_from=before)
        answered, now = self.rows.at(cutoff), rows.at(cutoff)
        return YearBefore(
            Block(f"{before:%Y-%m-%d}", rows, _at(rows, before), taught, None, self.half_life_days),
            now.where(np.isin(now.customers, answered.customers)),
            np.isin(answered.customers, now.customers),
        )

    def asking(self, label: Callable[[Rows], Floats]) -> "Splits":
        """The same rows with other labels, and no days on which an event came."""
        rows, other = (
            None if some is None else replace(some, y=label(some), days=None)
            for some in (self.rows, self.of_one_length)
        )
        assert rows is not None
        return replace(self, rows=rows, of_one_length=other)

    @property
    def first_season(self) -> datetime | None:
        """The earliest cutoff that shows a season a year before; None where there is none."""
        cutoffs = (*self.moments.folds, self.moments.test)
        found = [t for t in map(self.year_before, cutoffs) if t is not None]
        return min(found, default=None)

    @cached_property
    def shipped(self) -> Round:
        """What the shipped answer is made from: it answers the test cutoff."""
        folds = tuple(self.block(t) for t in self.moments.folds)
        return Round(folds, self.block(self.moments.test), in_time=True)

    @property
    def judged(self) -> tuple[Round, ...]:
        """The shipped answer itself is judged."""
        return (self.shipped,)

    @property
    def shown(self) -> Rows:
        """The rows that are reported on."""
        return self.test

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
    with stored.open(sample) as tables:
        labels, unlabelled = labels_of(tables, task, mature.all)
        immature = asked_at(tables, task, [t for t in moments.teaching if t not in mature.teaching])
    rows = joined(labels, features, columns)
    splits = Splits(rows, mature, gap, task.kind, tuple(columns), immature, unlabelled)
    learned = categories.learned(columns, splits.taught_by(mature.test).X)
    rows = replace(rows, X=categories.encoded(rows.X, learned))
    splits = replace(splits, rows=rows, columns=learned)
    check_labels(rows.y, task.kind)
    check_blocks(_blocks(splits), task.kind)
    check_leaks(rows.X, rows.y, task.kind)
    return splits


def with_seasons(
    splits: Splits, stored: Stored, features: pd.DataFrame, task: Task, sample: float = 1.0
) -> Splits:
    """The same, with what shows the seasons of a year before.

    Parameters
    ----------
    stored
        Tables that are no longer at any cutoff than at :attr:`Splits.first_season`.
    features
        Made of them; has the columns of the other rows.
    """
    assert stored.as_at is not None, "tables of one length"
    cutoffs = splits.moments.since(stored.as_at).all
    with stored.open(sample) as tables:
        labels, _ = labels_of(tables, task, cutoffs)
    rows = joined(labels, features, splits.columns)
    rows = replace(rows, X=categories.encoded(rows.X, splits.columns))
    return replace(splits, of_one_length=rows)


def _at(rows: Rows, cutoff: datetime) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = rows.cutoffs == np.datetime64(cutoff)
    return found


def _mature(moments: Moments, gap: timedelta) -> Moments:
    """The cutoffs without those whose label window is not over by the test cutoff."""
    teaching = tuple(t for t in moments.teaching if t + gap <= moments.test)
    return replace(
        moments, teaching=teaching, folds=tuple(t for t in moments.folds if t in teaching)
    )


def _blocks(splits: Splits) -> list[tuple[str, Floats]]:
    """The labels of every block that must be able to teach or to judge."""
    folds = splits.moments.folds
    return [
        ("test", splits.test.y),
        *((f"validation {t:%Y-%m-%d}", splits.rows.at(t).y) for t in folds),
        *((f"rows that teach by {t:%Y-%m-%d}", splits.taught_by(t).y) for t in folds),
    ]

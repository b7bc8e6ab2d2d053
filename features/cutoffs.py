"""When customers are looked at: cutoffs of a YAML, resolved on the data of a source."""

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from features.errors import ConfigError
from features.settings import Strict


class Cutoffs(Strict):
    """When customers are looked at.

    A moment is a date or ``end-90d``: days before the source's end, which is the midnight after the
    last complete day, so the same YAML runs on any source.
    """

    test: date | str
    """The cutoff that is reported, looked at once per run."""
    latest: date | str
    """The last cutoff that may teach; its label window has to end by ``test``."""
    every_days: int = Field(default=30, ge=1)
    """Distance between teaching cutoffs."""
    count: int = Field(default=14, ge=2, le=500)
    """Number of teaching cutoffs, counted back from ``latest``."""
    history_days: int = Field(default=90, ge=1)
    """Data that have to lie before the first cutoff."""
    folds: int = Field(default=3, ge=1)
    """Validation cutoffs, counted back from ``latest``: they choose parameters and calibration."""
    fold_steps: int = Field(default=3, ge=1)
    """Teaching cutoffs from one validation cutoff to the one before."""
    season_lag_days: int = Field(default=365, ge=30)
    """Test and validation cutoffs are also looked at this long before, where the data reach."""

    def resolved(self, first: datetime, end: datetime) -> "Moments":
        """Dates for a source whose data span ``[first, end)``.

        Raises
        ------
        ConfigError
            If a moment cannot be read, lies outside the data, or has too little history before it.
        """
        test, latest = _moment(self.test, end), _moment(self.latest, end)
        teaching = [_before(latest, self.every_days * k) for k in reversed(range(self.count))]
        problems = []
        if (self.folds - 1) * self.fold_steps >= self.count - 1:
            problems.append(
                f"{self.folds} folds {self.fold_steps} cutoffs apart leave nothing to learn from "
                f"among {self.count}; set cutoffs.folds or cutoffs.fold_steps lower"
            )
        if latest >= test:
            problems.append(
                f"cutoffs.latest {latest:%Y-%m-%d} must lie before cutoffs.test {test:%Y-%m-%d}"
            )
        if test > end:
            problems.append(
                f"cutoffs.test {test:%Y-%m-%d} lies after the data's end {end:%Y-%m-%d}"
            )
        short = [t for t in teaching if _before(t, self.history_days) < first]
        if short:
            fits = len(teaching) - len(short)
            remedy = (
                f"set cutoffs.count to {fits} or less" if fits >= 2
                else "set cutoffs.history_days or cutoffs.every_days lower, or bring longer data"
            )  # fmt: skip
            problems.append(
                f"{len(short)} of {self.count} cutoffs have less than {self.history_days} days of "
                f"history: the first is {short[0]:%Y-%m-%d}, the data begin {first:%Y-%m-%d}; "
                f"{remedy}"
            )
        if problems:
            raise ConfigError.listing("the cutoffs do not fit the data", problems)
        folds = teaching[:: -self.fold_steps][: self.folds]
        lag, history = timedelta(days=self.season_lag_days), timedelta(days=self.history_days)
        year_ago = {t: t - lag for t in (*folds, test) if t - lag - history >= first}
        return Moments(tuple(teaching), test, tuple(reversed(folds)), year_ago)

    def known_until(self, end: datetime) -> datetime:
        """Until when label windows may reach: the end of the data."""
        return end

    @property
    def said(self) -> str:
        """The same in words."""
        return f"{self.count} teaching cutoffs and the test cutoff"


class Snapshots(Strict):
    """When labelled snapshots were taken that no clock tells apart: here customers do.

    Each customer is answered by what other customers teach; parameters and calibration are chosen
    among those others too.
    """

    snapshots: tuple[date | str, ...] = Field(min_length=1, max_length=500)
    """The cutoffs, as in :class:`Cutoffs`: what was known before teaches what came after."""
    folds: int = Field(default=5, ge=2, le=20)
    """Parts of the customers; each is answered by what the others teach."""
    repeats: int = Field(default=1, ge=1, le=20)
    """How often customers are divided anew; each is answered so many times."""
    inner: int = Field(default=3, ge=2, le=20)
    """Parts of those who teach: they choose parameters and calibration."""

    def resolved(self, first: datetime, end: datetime) -> "Moments":
        """Dates for a source whose data span ``[first, end)``; the last one counts as test.

        Raises
        ------
        ConfigError
            If a date cannot be read, or no data lie before or after it.
        """
        found = tuple(sorted({_moment(value, end) for value in self.snapshots}))
        outside = [f"{t:%Y-%m-%d}" for t in found if not first < t < end]
        if outside:
            raise ConfigError(
                f"cutoffs.snapshots: {', '.join(outside)}: the data span {first:%Y-%m-%d} to "
                f"{end:%Y-%m-%d}; a snapshot lies after its attributes and before its outcomes"
            )
        return Moments(found, found[-1])

    def known_until(self, end: datetime) -> datetime:
        """Until when label windows may reach: a day past the end of the data.

        The day of the last row counts as unfinished elsewhere; here it was declared as a whole.
        """
        return end + timedelta(days=1)

    @property
    def said(self) -> str:
        """The same in words."""
        return f"{len(self.snapshots)} snapshot(s)"


def _tag(value: Any) -> str:
    crossed = "snapshots" in value if isinstance(value, Mapping) else isinstance(value, Snapshots)
    return "snapshots" if crossed else "rolling"


AnyCutoffs = Annotated[
    Annotated[Cutoffs, Tag("rolling")] | Annotated[Snapshots, Tag("snapshots")],
    Discriminator(_tag),
]
"""Rolling cutoffs where the data have a clock, else snapshots."""


@dataclass(frozen=True)
class Moments:
    """Resolved cutoffs, ascending."""

    teaching: tuple[datetime, ...]
    test: datetime
    folds: tuple[datetime, ...] = ()
    """The teaching cutoffs that validate."""
    year_ago: dict[datetime, datetime] = field(default_factory=dict)
    """Test and validation cutoff -> the same season before, where the data reach."""

    @property
    def all(self) -> tuple[datetime, ...]:
        """Every cutoff that features are needed at, ascending."""
        return tuple(sorted({*self.teaching, self.test, *self.year_ago.values()}))

    def since(self, first: datetime) -> "Moments":
        """Those from ``first`` on."""
        teaching, folds = (
            tuple(t for t in some if t >= first) for some in (self.teaching, self.folds)
        )
        year_ago = {t: before for t, before in self.year_ago.items() if before >= first}
        return Moments(teaching, self.test, folds, year_ago)


def _moment(value: date | str, end: datetime) -> datetime:
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    match = re.fullmatch(r"end(?:-(\d{1,5})d)?", value)
    if match is None:
        with contextlib.suppress(ValueError):
            found = datetime.fromisoformat(value)
            if found.tzinfo is None:
                return found
        raise ConfigError(
            f"cutoff {value!r}: expected a date without a zone, or end-<days>d, such as end-90d"
        )
    return _before(end, int(match[1] or 0))


def _before(moment: datetime, days: int) -> datetime:
    try:
        return moment - timedelta(days=days)
    except OverflowError:
        raise ConfigError(f"cutoff {days} days before {moment:%Y-%m-%d}: no such day") from None

"""When an event comes: chances by several days, the expected day with an interval, what is due."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.errors import ConfigError
from features.settings import Strict
from training.calibrate import Calibrator, fit
from training.contract import Floats, Model
from training.details import Detail, Factors, Season, Unseen

FILE = "timing.json"
LEAST = 1e-9
"""What no chance is nearer to 0 or 1 than, before its logarithm is taken."""


class EventTimingConfig(Strict):
    """What of the time is told; all of it comes from the task."""

    output: str
    """Name of the answer; that by a point is called after it."""
    horizon_days: int = Field(ge=1)
    points_days: tuple[int, ...] = Field(min_length=1)
    absent: bool = False
    """The answer is the chance that the event does *not* come."""
    coverage: float = Field(default=0.8, gt=0, lt=1)
    since: str | None = None
    usual: str | None = None
    longest: str | None = None


class EventTiming:
    """What a model of hazards says of the time, made to agree with the calibrated answer.

    The model gives A(t) = -log S(t) at the ends of its periods. The chance by each point has a
    spread of its own, learned from the newest validation cutoff, and the season's shift by then;
    none may be lower than one by an earlier point or higher than the answer. Between two points A
    rises in the steps that the model gives it, within a period evenly: there the hazard is
    constant.
    """

    config: EventTimingConfig

    def __init__(self, config: EventTimingConfig) -> None:
        self.config = config
        self._curves = [Calibrator("platt", {"line": (1.0, 0.0)})] * len(config.points_days)

    @property
    def points(self) -> dict[int, str]:
        """Days -> column with the answer by then, without the horizon's own."""
        return {days: f"{self.config.output}_{days}d" for days in self.config.points_days}

    @property
    def declared(self) -> tuple[Detail, ...]:
        """Chances by each day, the days of the event, and what is due."""
        said, h = self.config, self.config.horizon_days
        comes = "does not come" if said.absent else "comes"
        tail = (1.0 - said.coverage) / 2.0
        unless = f"{h}: not within {h} days"
        found = [
            Detail(name=name, unit="probability", meaning=f"chance that it {comes} in {days} days")
            for days, name in self.points.items()
        ]
        found += [
            Detail(name=name, unit="days", meaning=f"days by which it comes with a chance of "
                   f"{share:.0%}; {unless}")
            for name, share in (
                ("expected_in_days", 0.5), ("earliest_in_days", tail), ("latest_in_days", 1 - tail),
            )
        ]  # fmt: skip
        found.append(
            Detail(name=f"mean_days_of_{h}", unit="days",
                   meaning=f"expected days until it comes, counted up to {h}")
        )  # fmt: skip
        if said.since is not None:
            found.append(Detail(
                name="state", unit="state", dtype="string",
                meaning="due: past the customer's own usual days between two; overdue: past the "
                "longest; early: before both; no rhythm: never two so far",
            ))  # fmt: skip
        return tuple(found)

    def problems(self, model: Model) -> list[str]:
        """Why ``model`` cannot tell them."""
        if "time" not in model.answers:
            return [f"{type(model).__name__} does not learn when; take hazards.Hazards"]
        ends, said = model.config.periods_days, self.config
        problems = []
        if ends[-1] != said.horizon_days:
            problems.append(
                f"its last period ends after {ends[-1]} days, the task's horizon after "
                f"{said.horizon_days}: set model.config.periods_days"
            )
        if lacking := [days for days in said.points_days if days not in ends]:
            problems.append(
                f"points_days {lacking} are no ends of its periods {list(ends)}: set "
                "model.config.periods_days"
            )
        asks = "whether not" if said.absent else "whether"
        if model.config.asks != asks:
            problems.append(f"it asks {model.config.asks!r}: set model.config.asks to {asks!r}")
        return problems

    def fit(self, blocks: Sequence[Unseen], season: Season | None) -> None:
        """A line for each point: its spread, and the season's shift by then.

        Raises
        ------
        ConfigError
            If a feature that tells what is due is not there.
        """
        named = (self.config.since, self.config.usual, self.config.longest)
        lacking = [n for n in named if n is not None and n not in blocks[0].model.columns]
        if lacking:
            raise ConfigError(f"task.config: no feature {lacking} tells what is due; add its set")
        newest = blocks[-1]
        self._curves = []
        for days in self.config.points_days:
            odds, came = partial(_odds, days=days), partial(_came, days=days)
            wide = fit("spread", odds(newest.model, newest.X), came(newest))
            shift = season.shift(odds, came, spread=wide.spread) if season else 0.0
            slope, intercept = wide.parameters["line"]
            self._curves.append(Calibrator("platt", {"line": (slope, intercept + shift)}))

    def cumulated(self, model: Model, X: Floats, answers: Floats) -> tuple[Floats, Floats]:
        """Ends of the periods, and A = -log S there, agreeing with the answers.

        Shapes (n_periods + 1,) and (n_rows, n_periods + 1), from day 0 on.
        """
        given: Any = model
        ends = np.array([0.0, *given.config.periods_days])
        raw = np.hstack([np.zeros((len(X), 1)), given.cumulated(X)])
        places = [int(np.searchsorted(ends, days)) for days in self.config.points_days]
        stays = answers if self.config.absent else 1.0 - answers
        whole = -np.log(np.clip(stays, LEAST, 1.0 - LEAST))
        known = [np.zeros(len(X))]
        for k, curve in zip(places, self._curves, strict=True):
            by_then = np.clip(curve.apply(log_odds(raw[:, k])), LEAST, 1.0 - LEAST)
            known.append(np.clip(-np.log1p(-by_then), known[-1], whole))
        total = np.zeros_like(raw)
        knots, known = [0, *places, len(ends) - 1], [*known, whole]
        for (low, high), (start, end) in zip(pairwise(knots), pairwise(known), strict=True):
            rise = raw[:, low + 1 : high + 1] - raw[:, [low]]
            share = rise / np.maximum(rise[:, [-1]], LEAST)
            share[:, -1] = 1.0
            total[:, low + 1 : high + 1] = start[:, None] + (end - start)[:, None] * share
        return ends, total

    def of(
        self, model: Model, X: Floats, answers: Floats, level: Floats
    ) -> Mapping[str, NDArray[Any]]:
        """The declared columns, each of shape (n_rows,)."""
        said = self.config
        ends, total = self.cumulated(model, X, answers)
        stays, at = np.exp(-total), {int(end): k for k, end in enumerate(ends)}
        told: dict[str, NDArray[Any]] = {}
        for days, name in self.points.items():
            by_then = stays[:, at[days]]
            # Never beyond the answer, not even by rounding.
            told[name] = (
                np.maximum(by_then, answers) if said.absent else np.minimum(1 - by_then, answers)
            )
        tail = (1.0 - said.coverage) / 2.0
        told["expected_in_days"] = day_of(ends, total, 0.5)
        told["earliest_in_days"] = day_of(ends, total, tail)
        told["latest_in_days"] = day_of(ends, total, 1.0 - tail)
        told[f"mean_days_of_{said.horizon_days}"] = mean_days(ends, total)
        if said.since is not None:
            told["state"] = self._state(model, X)
        return told

    def _state(self, model: Model, X: Floats) -> NDArray[Any]:
        names = (self.config.since, self.config.usual, self.config.longest)
        since, usual, longest = (X[:, model.columns.index(str(name))] for name in names)
        return np.select(
            [np.isnan(usual) | np.isnan(since), since > longest, since > usual],
            ["no rhythm", "overdue", "due"],
            "early",
        )

    def factors(self, model: Model, X: Floats, answers: Floats, level: Floats) -> Factors | None:
        """None: a time is no product."""
        return None

    def save(self) -> dict[str, bytes]:
        """One JSON file with the lines."""
        lines = [[*curve.parameters["line"], curve.shift] for curve in self._curves]
        return {FILE: json.dumps(lines).encode()}

    def load(self, files: Mapping[str, bytes]) -> None:
        """Restore from verified bytes."""
        self._curves = [
            Calibrator("platt", {"line": (slope, intercept)}, shift)
            for slope, intercept, shift in json.loads(files[FILE])
        ]


def log_odds(total: Floats) -> Floats:
    """Log-odds of the event where A = ``total``."""
    total = np.maximum(total, LEAST)
    found: Floats = total + np.log(-np.expm1(-total))
    return found


def _odds(model: Model, X: Floats, days: int) -> Floats:
    """The model's log-odds of the event by the end of ``days``."""
    given: Any = model
    at: int = given.config.periods_days.index(days)
    return log_odds(given.cumulated(X)[:, at])


def _came(unseen: Unseen, days: int) -> Floats:
    assert unseen.days is not None, "the question is when"
    return ((unseen.days > 0) & (unseen.days <= days)).astype(np.float64)


def day_of(ends: Floats, total: Floats, share: float) -> Floats:
    """Days by which the event comes with the chance ``share``; the last end if it does not.

    ``total`` is A = -log S, of shape (n_rows, len(ends)); it is a straight line between two ends.
    """
    wanted = -np.log1p(-share)
    k = np.clip((total < wanted).sum(axis=1), 1, len(ends) - 1)
    rows = np.arange(len(total))
    low, high = total[rows, k - 1], total[rows, k]
    part = (wanted - low) / np.maximum(high - low, LEAST)
    found: Floats = ends[k - 1] + np.clip(part, 0.0, 1.0) * (ends[k] - ends[k - 1])
    return found


def mean_days(ends: Floats, total: Floats) -> Floats:
    """The restricted mean: the integral of S = exp(-total) from day 0 to the last end.

    Irwin (1949); exactly, as ``total`` is a straight line between two ends.
    """
    steps = np.diff(total, axis=1)
    # (1 - exp(-x)) / x, which is 1 at 0
    shape = -np.expm1(-steps) / np.where(steps > 0, steps, 1.0)
    held = np.where(steps > 0, shape, 1.0) * np.exp(-total[:, :-1])
    found: Floats = (held * np.diff(ends)).sum(axis=1)
    return found

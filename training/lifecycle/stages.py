"""Stages by rules with hysteresis, replayed along the periods of each customer."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from features.settings import Strict
from training.contract import Floats
from training.lifecycle.sequences import Ints, begun_of

Mask = NDArray[np.bool_]
LONG = 1_000.0
"""Periods for which somebody counts as known in a period, who was known before the first."""
KNOWN = "known"
"""In a condition: periods since the customer was first heard of, that one included."""


class Condition(Strict):
    """A demand on the sum of an observable over some periods; exactly one bound is given."""

    of: str
    """An observable of the feature set ``periods``, or ``known``."""
    last: int = Field(default=1, ge=1, le=60)
    """Number of periods that are summed; those not observed count nothing."""
    before: int = Field(default=0, ge=0, le=60)
    """Periods that are left out first: ``last: 3, before: 2`` sums the third to the fifth."""
    at_least: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_bound(self) -> "Condition":
        if (self.at_least is None) == (self.below is None):
            raise ValueError(f"{self.of}: give at_least or below, and not both")
        return self


class Stage(Strict):
    """A stage by rules."""

    name: str = Field(min_length=1, max_length=40)
    meaning: str = Field(min_length=1)
    enter: tuple[Condition, ...] = ()
    """All must hold; none = everybody whom no stage before it takes."""
    stay: tuple[Condition, ...] | None = None
    """Weaker demands on who was in the stage a period before: what lies between the two moves
    nobody (hysteresis). None = those to enter."""

    @property
    def observables(self) -> set[str]:
        """What its conditions count."""
        return {k.of for k in (*self.enter, *(self.stay or ()))} - {KNOWN}


def shown(
    stages: Sequence[Stage], observables: Collection[str]
) -> tuple[tuple[Stage, ...], dict[str, str]]:
    """The stages that observables can show, and why the others cannot be."""
    hidden = {
        stage.name: f"the source does not show {', '.join(sorted(lacking))}"
        for stage in stages
        if (lacking := stage.observables - set(observables))
    }
    return tuple(stage for stage in stages if stage.name not in hidden), hidden


@dataclass(frozen=True)
class Rules:
    """The stages that a source can show, over its observables."""

    stages: tuple[Stage, ...]
    observables: tuple[str, ...]

    def paths(self, counts: Floats) -> Ints:
        """Place of the stage in each period, shape (n_rows, n_periods); -1 = not yet known.

        A stage holds where its demands to enter do, or those to stay of whoever was in it a period
        before; the first that holds decides. Of who was known before the first period a stage is
        told once all that the demands look back to is in sight, and ``known`` counts as long. The
        last period always has a stage.

        Parameters
        ----------
        counts
            Shape (n_rows, n_periods, n_observables), the oldest period first; NaN = not observed.
        """
        begun = begun_of(~np.isnan(counts))
        long_known = begun[:, 0].copy()
        begun[:, -1] = True
        sums = self._sums(counts, begun, long_known)
        n, periods = begun.shape
        found = np.full((n, periods), -1, np.int64)
        before = np.full(n, -1, np.int64)
        for t in range(periods):
            now = np.full(n, -1, np.int64)
            for place, stage in enumerate(self.stages):
                holds = _all(stage.enter, sums, t, n)
                if stage.stay is not None:
                    holds |= (before == place) & _all(stage.stay, sums, t, n)
                now[(now < 0) & holds] = place
            before = np.where(begun[:, t], now, -1)
            found[:, t] = before
        found[long_known, : min(self.memory, periods) - 1] = -1
        return found

    @property
    def memory(self) -> int:
        """Periods that the demands look back to, the present one included."""
        demands = [k for s in self.stages for k in (*s.enter, *(s.stay or ())) if k.of != KNOWN]
        return max((k.before + k.last for k in demands), default=1)

    def _sums(self, counts: Floats, begun: Mask, long_known: Mask) -> Mapping[str, Floats]:
        """Observable -> counts summed up to each period, a 0 before the first."""
        counted = {name: np.nan_to_num(counts[..., o]) for o, name in enumerate(self.observables)}
        counted[KNOWN] = begun.astype(np.float64)
        counted[KNOWN][long_known] *= LONG
        return {
            name: np.pad(values.cumsum(axis=1), ((0, 0), (1, 0)))
            for name, values in counted.items()
        }


def _all(conditions: Sequence[Condition], sums: Mapping[str, Floats], t: int, n: int) -> Mask:
    holds = np.ones(n, np.bool_)
    for k in conditions:
        end = max(t + 1 - k.before, 0)
        value = sums[k.of][:, end] - sums[k.of][:, max(end - k.last, 0)]
        if k.at_least is not None:
            holds &= value >= k.at_least
        if k.below is not None:
            holds &= value < k.below
    return holds


def time_in(paths: Ints) -> Ints:
    """Periods that each row has been in its last stage, counted within its sequence."""
    same = np.flip(np.minimum.accumulate(np.flip(paths == paths[:, -1:], axis=1), axis=1), axis=1)
    spent: Ints = same.sum(axis=1)
    return spent

"""Random streams, the clock of the simulation and small draws that several processes share."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.random import PCG64, Generator, SeedSequence
from numpy.typing import NDArray

from features.simulate.config import SimulateConfig, season

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NOBODY = -1
"""Row of the customer where there is none: a guest, nobody who referred."""
CONCERNS = (
    "customers", "purchases", "guests", "strangers", "spend", "catalogue", "baskets", "returns",
    "records", "damage", "channels", "discounts", "people", "names", "moves", "devices", "prices",
    "visits", "steps", "consents", "campaigns", "experience", "feedback", "surveys",
    "loyalty", "subscriptions", "exports", "identifiers", "fraud", "abuse", "leaving", "daytime",
)  # fmt: skip
"""One random stream each; new ones at the end, so that the others stay as they are."""
DAY_SECONDS = 86_400
BLOCK = 500_000
"""Rows handled at once where a row needs an array of its own."""


def stream(config: SimulateConfig, concern: str, part: int | None = None) -> Generator:
    """The random stream of ``concern`` (or of one ``part`` of it), a child of the config's seed."""
    key = (CONCERNS.index(concern),) if part is None else (CONCERNS.index(concern), part)
    return Generator(PCG64(SeedSequence(config.seed, spawn_key=key)))


def clock(config: SimulateConfig, days: Floats) -> NDArray[np.datetime64]:
    """Times from days since the first midnight, cut to whole seconds."""
    return times(config, seconds(days))


def seconds(days: Floats) -> Ints:
    """Whole seconds since the first midnight."""
    # Rounded first: seconds that have been days come back as they were.
    return np.asarray(np.floor(np.round(days * DAY_SECONDS, 3)), dtype=np.int64)


def times(config: SimulateConfig, passed: Ints) -> NDArray[np.datetime64]:
    """Times from whole seconds since the first midnight."""
    first = np.datetime64(config.first_day, "s")
    return (first + passed.astype("timedelta64[s]")).astype("datetime64[us]")


def days_of(config: SimulateConfig, moments: NDArray[np.datetime64]) -> Floats:
    """Days since the first midnight; the inverse of :func:`clock`."""
    passed = moments.astype("datetime64[us]") - np.datetime64(config.first_day, "us")
    return np.asarray(passed / np.timedelta64(DAY_SECONDS, "s"), dtype=np.float64)


def reached(config: SimulateConfig) -> Floats:
    """The season added up, ``C(d)``, at each midnight of the period, of shape (days + 1,)."""
    return np.concatenate([[0.0], np.cumsum(season(config, config.days))])


def inhomogeneous(
    rng: Generator, config: SimulateConfig, rate: Floats, start: Floats, stop: Floats
) -> tuple[Ints, Floats]:
    """Times of Poisson processes of rate ``rate_i S(t)`` in ``[start_i, stop_i)``, in days.

    A Poisson number of mean ``rate (C(stop) - C(start))``, at times ``C^-1(C(start) + u (C(stop) -
    C(start)))`` with ``u`` uniform (inversion; Cinlar, E. 1975, Introduction to Stochastic
    Processes, section 4.7). An empty interval has no times.

    Returns
    -------
    tuple
        Row of ``rate`` and time of each.
    """
    midnights, total = np.arange(config.days + 1.0), reached(config)
    low = np.interp(start, midnights, total)
    width = np.maximum(np.interp(stop, midnights, total) - low, 0.0)
    row = np.repeat(np.arange(len(rate)), rng.poisson(rate * width))
    return row, np.interp(low[row] + rng.random(len(row)) * width[row], total, midnights)


def pick(rng: Generator, shares: Sequence[float] | Floats, size: int) -> Ints:
    """Positions drawn with the given shares, which need not add up to 1."""
    upper = np.cumsum(shares)
    place = np.searchsorted(upper, rng.random(size) * upper[-1], side="right")
    return np.asarray(np.minimum(place, len(upper) - 1), dtype=np.int64)


def words(codes: Ints, names: Sequence[str]) -> pd.Categorical:
    """A column of names from their positions; -1 = missing."""
    return pd.Categorical.from_codes(codes, list(names))


def logistic(x: Floats) -> Floats:
    """``1 / (1 + exp(-x))``."""
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def log_odds(p: float | Floats) -> Floats:
    """``log(p / (1 - p))``; the inverse of :func:`logistic`."""
    return np.asarray(np.log(p) - np.log1p(-np.asarray(p)))

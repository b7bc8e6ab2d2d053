"""Where and at which hours orders are placed, and what is taken off the list price.

None of it changes what is bought, nor on which day.
"""

import numpy as np
import pandas as pd

from features.simulate.config import SimulateConfig
from features.simulate.draws import NOBODY, Floats, Ints, pick, stream, words

CHANNELS = ("store", "web", "app")
DAYTIMES = ("night", "morning", "afternoon", "evening")
"""Parts of the day, as long as each other."""
DEALS = (0.1, 0.2, 0.3, 0.5)
"""What is taken off, as a share of the list price; each is half as likely as the one before."""


def channel_shares(config: SimulateConfig) -> pd.DataFrame:
    """Each customer's own share of every channel, ``p ~ Dirichlet(c b)`` with base shares ``b``.

    Goodhardt, G., Ehrenberg, A., Chatfield, C. (1984), The Dirichlet: a comprehensive model of
    buying behaviour, Journal of the Royal Statistical Society A 147. Also ``deal_share``, the
    share of lines bought below list price, ``Beta(d m, d (1 - m))``.
    """
    rng, selling = stream(config, "channels"), config.selling
    base = np.array([selling.store, selling.web, selling.app])
    shares = rng.dirichlet(selling.habit_concentration * base / base.sum(), config.customers)
    mean, sum_ = selling.discounted_share, selling.deal_concentration
    deals = stream(config, "discounts").beta(sum_ * mean, sum_ * (1 - mean), config.customers)
    named = {f"share_{name}": shares[:, k] for k, name in enumerate(CHANNELS)}
    return pd.DataFrame({**named, "deal_share": deals})


def order_channels(config: SimulateConfig, people: pd.DataFrame, customer: Ints) -> pd.Series:
    """Channel of each order by its customer's shares; guests go by the base shares."""
    rng, selling = stream(config, "channels", 1), config.selling
    base = np.array([selling.store, selling.web, selling.app])
    own = people[[f"share_{name}" for name in CHANNELS]].to_numpy()
    upper = np.where((customer == NOBODY)[:, None], base / base.sum(), own[customer]).cumsum(axis=1)
    drawn = rng.random((len(customer), 1)) * upper[:, -1:]
    return pd.Series(words((drawn > upper[:, :-1]).sum(axis=1), CHANNELS)).astype("str")


def daytime_shares(config: SimulateConfig) -> pd.DataFrame:
    """Each customer's own share of every part of the day, ``p ~ Dirichlet(c b)`` like channels.

    No columns where all hours are alike.
    """
    selling = config.selling
    if selling.daytime_concentration is None:
        return pd.DataFrame(index=range(config.customers))
    base = _daytimes(config)
    rng = stream(config, "daytime")
    # 1e-6: a part of the day that hardly ever comes is as long as any other.
    shares = rng.dirichlet(selling.daytime_concentration * base, config.customers) + 1e-6
    shares /= shares.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, columns=[f"share_{name}" for name in DAYTIMES])


def in_own_time(
    config: SimulateConfig, people: pd.DataFrame, customer: Ints, day: Floats
) -> Floats:
    """The same days at each customer's own hours; guests go by the base shares.

    A change of time within each day, ``t -> floor(t) + F_i^-1(t - floor(t))`` with ``F_i`` the
    share of a day's doings before an hour: piecewise linear and increasing, so that what came first
    comes first, and a process of rate ``r`` becomes one of rate ``r F_i'`` (Cinlar, E. 1975,
    Introduction to Stochastic Processes, section 4.7).
    """
    names = [f"share_{name}" for name in DAYTIMES]
    if names[0] not in people:
        return day
    shares = np.vstack([people[names].to_numpy(), _daytimes(config)])
    begun = np.cumsum(shares, axis=1) - shares
    whole = np.floor(day)
    part = (day - whole)[:, None] >= begun[customer, 1:]
    k = part.sum(axis=1)
    passed = (day - whole - begun[customer, k]) / shares[customer, k]
    return np.asarray(whole + (k + np.clip(passed, 0.0, 1.0 - 1e-9)) / len(DAYTIMES))


def _daytimes(config: SimulateConfig) -> Floats:
    base = np.array([getattr(config.selling, name) for name in DAYTIMES])
    return np.asarray(base / base.sum())


def discounts(config: SimulateConfig, deal_share: Floats, unit_cents: Ints) -> Ints:
    """Cents taken off one item of each line, from the ``deal_share`` of the line's customer.

    The price paid is what the purchase says; the list price is what it was reduced from:
    ``unit / (1 - deal)``, rounded to cents.
    """
    rng = stream(config, "discounts", 1)
    reduced = rng.random(len(unit_cents)) < deal_share
    deal = np.array(DEALS)[pick(rng, [0.5**k for k in range(len(DEALS))], len(unit_cents))]
    off = np.rint(unit_cents * deal / (1 - deal)).astype(np.int64)
    return np.where(reduced, off, 0)

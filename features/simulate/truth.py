"""What the processes imply: probabilities that no estimate from data can beat."""

from datetime import date, datetime
from typing import Literal

import numpy as np
import pandas as pd

from features.simulate.config import SimulateConfig, season
from features.simulate.draws import Floats, days_of
from features.simulate.world import World

CHUNK = 2_048
"""Customers computed at once: bounds the memory to a few arrays of (CHUNK, days)."""


def true_churn_probability(
    truth: World,
    cutoff: date | datetime,
    horizon_days: int,
    given: Literal["dropout", "alive", "history"] = "alive",
    kept_share: float = 1.0,
) -> pd.Series:
    """Probability that a customer places no order in ``[t, t + h)``, from the processes.

    With the customer's rates ``lambda`` (orders) and ``mu`` (dropout), ``C(t)`` the integral of the
    season and dropout time ``tau``, it is

    - ``given="dropout"``: ``exp(-lambda (C(min(t + h, tau)) - C(t)))``, for someone who knows the
      future dropout time;
    - ``given="alive"``: the same averaged over ``tau``, exponential from ``t`` on for those alive:
      ``int_0^h mu exp(-mu x - lambda (C(t+x) - C(t))) dx + exp(-mu h - lambda (C(t+h) - C(t)))``;
    - ``given="history"``: ``1 - w + w p``, with ``p`` the line above and ``w`` the probability of
      being alive at ``t`` after the silence since the last order (P(alive) of Schmittlein, Morrison
      and Colombo 1987, with rates known and a season). No model that sees orders only does better
      on average.

    In the first two, customers who have dropped out before ``t`` have probability 1.

    Parameters
    ----------
    cutoff
        ``t``; a date is its midnight.
    horizon_days
        ``h``, the length of the half-open window in days.
    kept_share
        Share of orders that count as a purchase, drawn independently: below 1 where orders sent
        back entirely do not count (``1 - returned_share * returned_whole_share``).

    Returns
    -------
    Series
        By ``shopper``, of the customers acquired before ``t``.
    """
    config, people = truth.config, truth.customers
    t = float(days_of(config, np.array([cutoff], dtype="datetime64[us]"))[0])
    acquired = days_of(config, people["acquired_at"].to_numpy())
    asked = np.flatnonzero(acquired < t)
    lam = people["purchase_rate_per_day"].to_numpy()[asked]
    mu = people["dropout_rate_per_day"].to_numpy()[asked]
    tau = acquired[asked] + people["lifetime_days"].to_numpy()[asked]
    start, stop = np.full(len(asked), t), np.full(len(asked), t + horizon_days)
    if given == "dropout":
        # Nobody drops out within [t, min(t + h, tau)), which is empty for those who have gone.
        start, stop = np.minimum(start, tau), np.minimum(stop, tau)
        probability = _silent(config, lam * kept_share, np.zeros_like(mu), start, stop)[1]
    else:
        probability = np.add(*_silent(config, lam * kept_share, mu, start, stop))
    if given == "alive":
        probability = np.where(tau > t, probability, 1.0)
    if given == "history":
        past = truth.orders.loc[truth.orders["placed_at"] < pd.Timestamp(cutoff)]
        last = past.groupby("customer")["placed_at"].max().reindex(asked)
        dropped, alive = _silent(config, lam, mu, days_of(config, last.to_numpy()), start)
        weight = alive / (dropped + alive)
        probability = 1.0 - weight + weight * probability
    shoppers = pd.Index(people["shopper"].to_numpy()[asked], name="shopper")
    return pd.Series(probability, index=shoppers)


def _silent(
    config: SimulateConfig, lam: Floats, mu: Floats, start: Floats, stop: Floats
) -> tuple[Floats, Floats]:
    """P(no order, dropout in ``[start, stop)``), P(no order, alive at ``stop``); alive at start.

    The season is constant within a day, so the integral is a sum of closed forms over the days,
    ``sum_k mu / g_k exp(-H_k) (1 - exp(-g_k w_k))`` with hazard ``g_k = mu + lambda S_k``, ``w_k``
    the length of the day's part and ``H_k`` the hazard summed up to its start.
    """
    dropped, alive = np.zeros_like(lam), np.ones_like(lam)
    if not len(lam):
        return dropped, alive
    edges = np.arange(np.floor(start.min()), np.floor(stop.max()) + 2)
    daily = season(config, int(edges[-1]))[int(edges[0]) :]
    for at in range(0, len(lam), CHUNK):
        rows = slice(at, at + CHUNK)
        hazard = mu[rows, None] + lam[rows, None] * daily
        within = np.clip(edges, start[rows, None], stop[rows, None])
        spent = hazard * np.diff(within, axis=1)
        survived = np.exp(-np.cumsum(spent, axis=1))
        # exp(-H_k) (1 - exp(-g w)) written from the day's end: exp(-H_{k+1}) (exp(g w) - 1).
        dropped[rows] = (mu[rows, None] / hazard * survived * np.expm1(spent)).sum(axis=1)
        alive[rows] = survived[:, -1]
    return dropped, alive

"""What the processes imply: probabilities that no estimate from data can beat."""

from datetime import date, datetime
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from features.simulate.config import SimulateConfig, season
from features.simulate.draws import Floats, Ints, days_of
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
    asked = _asked(truth, cutoff, horizon_days)
    config, lam, mu = truth.config, asked.purchase_rate, asked.dropout_rate
    start, stop = asked.start, asked.stop
    if given == "dropout":
        # Nobody drops out within [t, min(t + h, tau)), which is empty for those who have gone.
        start, stop = np.minimum(start, asked.dropout), np.minimum(stop, asked.dropout)
        probability = _silent(config, lam * kept_share, np.zeros_like(mu), start, stop)[1]
    else:
        probability = np.add(*_silent(config, lam * kept_share, mu, start, stop))
    if given == "alive":
        probability = np.where(asked.dropout > start, probability, 1.0)
    if given == "history":
        weight = _alive_by_history(truth, cutoff, asked)
        probability = 1.0 - weight + weight * probability
    return pd.Series(probability, index=asked.shoppers)


def true_expected_spend(
    truth: World,
    cutoff: date | datetime,
    horizon_days: int,
    given: Literal["dropout", "alive", "history"] = "history",
    kept_share: float = 1.0,
) -> pd.Series:
    """Mean spend of a customer in ``[t, t + h)``, from the processes; currency.

    It is the expected number of orders times the customer's mean order. With the names of
    :func:`true_churn_probability`, that number is

    - ``given="dropout"``: ``lambda (C(min(t + h, tau)) - C(t))``;
    - ``given="alive"``: ``int_0^h lambda S(t + x) exp(-mu x) dx`` for those alive at ``t``, else 0;
    - ``given="history"``: ``w`` times that integral. No model that sees orders only does better on
      average.

    Parameters
    ----------
    kept_share
        Share of the value of orders that is kept; 1 = gross of returns.

    Returns
    -------
    Series
        By ``shopper``, of the customers acquired before ``t``.
    """
    asked = _asked(truth, cutoff, horizon_days)
    config, lam, mu = truth.config, asked.purchase_rate, asked.dropout_rate
    if given == "dropout":
        last = np.maximum(np.minimum(asked.stop, asked.dropout), asked.start)
        orders = _orders(config, lam, np.zeros_like(mu), asked.start, last)
    else:
        orders = _orders(config, lam, mu, asked.start, asked.stop)
    if given == "alive":
        orders = np.where(asked.dropout > asked.start, orders, 0.0)
    if given == "history":
        orders = orders * _alive_by_history(truth, cutoff, asked)
    return pd.Series(orders * asked.mean_spend * kept_share, index=asked.shoppers)


class _Asked(NamedTuple):
    """Customers acquired before a cutoff: their row, rates a day, and days of the world's clock."""

    rows: Ints
    shoppers: pd.Index
    purchase_rate: Floats
    dropout_rate: Floats
    mean_spend: Floats
    dropout: Floats
    start: Floats
    stop: Floats


def _asked(truth: World, cutoff: date | datetime, horizon_days: int) -> _Asked:
    people = truth.customers
    t = float(days_of(truth.config, np.array([cutoff], dtype="datetime64[us]"))[0])
    acquired = days_of(truth.config, people["acquired_at"].to_numpy())
    rows = np.flatnonzero(acquired < t)
    lam, mu, spend, lifetime = (
        people[name].to_numpy()[rows]
        for name in ("purchase_rate_per_day", "dropout_rate_per_day", "mean_spend", "lifetime_days")
    )
    start, stop = np.full(len(rows), t), np.full(len(rows), t + horizon_days)
    shoppers = pd.Index(people["shopper"].to_numpy()[rows], name="shopper")
    return _Asked(rows, shoppers, lam, mu, spend, acquired[rows] + lifetime, start, stop)


def _alive_by_history(truth: World, cutoff: date | datetime, asked: _Asked) -> Floats:
    """Probability of being alive at the cutoff after the silence since the last order."""
    past = truth.orders.loc[truth.orders["placed_at"] < pd.Timestamp(cutoff)]
    last = past.groupby("customer")["placed_at"].max().reindex(asked.rows)
    since = days_of(truth.config, last.to_numpy())
    dropped, alive = _silent(
        truth.config, asked.purchase_rate, asked.dropout_rate, since, asked.start
    )
    weight: Floats = alive / (dropped + alive)
    return weight


def _orders(config: SimulateConfig, lam: Floats, mu: Floats, start: Floats, stop: Floats) -> Floats:
    """Mean orders in ``[start, stop)`` of those alive at start, a sum over the days.

    A day's part from ``a`` to ``b`` adds ``lambda S_k (exp(-mu (a - start)) - exp(-mu (b -
    start))) / mu``, which is ``lambda S_k (b - a)`` where nobody drops out.
    """
    from scipy.special import exprel  # half a second that reading a source does not need

    orders = np.zeros_like(lam)
    if not len(lam):
        return orders
    edges = np.arange(np.floor(start.min()), np.floor(stop.max()) + 2)
    daily = season(config, int(edges[-1]))[int(edges[0]) :]
    for at in range(0, len(lam), CHUNK):
        rows = slice(at, at + CHUNK)
        within = np.clip(edges, start[rows, None], stop[rows, None])
        width, rate = np.diff(within, axis=1), mu[rows, None]
        stays = np.exp(-rate * (within[:, :-1] - start[rows, None]))
        orders[rows] = lam[rows] * (daily * stays * width * exprel(-rate * width)).sum(axis=1)
    return orders


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

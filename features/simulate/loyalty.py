"""The loyalty programme: points come with orders, go when they are spent, or when nobody comes."""

import numpy as np
import pandas as pd

from features.simulate.draws import days_of, seconds, stream, words
from features.simulate.world import World

TIERS = ("bronze", "silver", "gold")
KINDS = ("join", "earn", "tier", "burn", "expire")
CLOSING_SECONDS = 60
"""Time from an order to what follows of it."""


def draw_loyalty(world: World) -> pd.DataFrame:
    """Rows of the table; every balance can be added up from them, and is never below 0.

    Members earn ``floor(p * amount)`` points with each order. With a fixed probability an order is
    also the one at which all points are spent, so that the number of orders between two burns is
    geometric (Feller, W. 1968, An Introduction to Probability Theory, section VI.8); a gap of the
    expiry time without an order takes all points. A tier is reached with the points ever earned.
    """
    config, loyalty = world.config, world.config.loyalty
    rng, n = stream(config, "loyalty"), config.customers
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    joined = acquired + rng.exponential(loyalty.days_to_join, n)
    joined[rng.random(n) >= loyalty.member_share] = np.inf
    orders = world.orders
    customer, day = (
        orders["customer"].to_numpy(), days_of(config, orders["placed_at"].to_numpy()),
    )  # fmt: skip
    mine = np.flatnonzero((customer >= 0) & (day > np.append(joined, np.inf)[customer]))
    mine = mine[np.lexsort((day[mine], customer[mine]))]
    who, when = customer[mine], day[mine]
    value = orders["amount_cents"].to_numpy()[mine] / 100.0
    points = np.floor(value * loyalty.points_per_currency).astype(np.int64)
    burnt = rng.random(len(mine)) < loyalty.burn_share
    last = np.append(who[1:] != who[:-1], True)[: len(who)]
    until = np.where(last, config.days, np.append(when[1:], 0.0)[: len(when)])
    lapsed = until - when > loyalty.expiry_days
    # Points are spent or lost in runs of orders: each run ends with a burn, a gap, or the end.
    ends = burnt | lapsed | last
    run = np.concatenate([[0], np.cumsum(ends)[:-1]])[: len(ends)]
    balance = np.bincount(run, points, run.max(initial=-1) + 1).astype(np.int64)[run]
    ever = pd.Series(points).groupby(who).cumsum().to_numpy()
    limits = np.array([loyalty.silver_points, loyalty.gold_points])
    tier = (ever[:, None] >= limits).sum(axis=1)
    before = ((ever - points)[:, None] >= limits).sum(axis=1)
    members = np.flatnonzero(joined < config.days)
    parts = [
        _rows(members, seconds(joined[members]), "join", None, np.zeros(len(members), np.int64)),
        _rows(who, seconds(when), "earn", points),
        _rows(
            who[tier > before], seconds(when[tier > before]) + CLOSING_SECONDS, "tier", None,
            tier[tier > before],
        ),
        _rows(who[burnt], seconds(when[burnt]) + 2 * CLOSING_SECONDS, "burn", balance[burnt]),
        _rows(
            who[lapsed & ~burnt], seconds(when[lapsed & ~burnt] + loyalty.expiry_days), "expire",
            balance[lapsed & ~burnt],
        ),
    ]  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    return rows.loc[(rows["points"].isna()) | (rows["points"] > 0)].reset_index(drop=True)


def _rows(
    customer: np.ndarray,
    happened: np.ndarray,
    kind: str,
    points: np.ndarray | None,
    tier: np.ndarray | None = None,
) -> pd.DataFrame:
    n = len(customer)
    return pd.DataFrame({
        "customer": customer, "happened": happened,
        "kind": words(np.full(n, KINDS.index(kind)), KINDS),
        "points": pd.array([pd.NA] * n if points is None else points, dtype="Int64"),
        "tier": words(np.full(n, -1) if tier is None else tier, TIERS),
    })  # fmt: skip

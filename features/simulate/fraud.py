"""Fraud: bursts of orders by people who are no customers, in the two forms that shops know best.

Account takeovers are incidents of a Poisson process with a constant hazard on every account, from
its first order to the end of the period; accounts that test cards are opened by another, over the
whole period. Both are marked (Kingman, J. 1993, Poisson Processes, section 5.2) by a burst of ``1 +
Poisson(m - 1)`` orders at exponential gaps. With ``f`` the share of orders that shall be fraud,
``n`` genuine orders and ``w`` the share of a kind, ``w n f / (1 - f) / m`` incidents are expected.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.draws import Floats, Ints, days_of, pick, stream
from features.simulate.people import DEVICES
from features.simulate.world import World

TAKEOVER, TESTING = "takeover", "card testing"
NIGHT_HOURS = (1.0, 5.0)
"""Hours between which takeovers begin, while the owner sleeps."""
DEAR_SHARE, CHEAP_SHARE = 0.1, 0.1
"""Shares of the catalogue, by list price, that are ordered on taken-over accounts and in tests."""
MINUTES_TO_FIRST_TEST = 3.0
"""Mean time from the opening of an account to its first test."""


@dataclass(frozen=True)
class Fraud:
    """Orders by time, their lines, and the accounts opened for them."""

    orders: pd.DataFrame
    """``customer`` (from the world's number of customers on: an account opened for fraud),
    ``day``, ``channel``, ``kind``, ``incident`` (orders of one burst share it),
    ``device`` (kind of that burst's), ``charged_back_day`` (missing where nobody noticed within the
    period)."""
    lines: pd.DataFrame
    """``order`` (row of the above), ``product``, ``quantity``, ``unit_cents``."""
    opened: Floats
    """Day on which each of those accounts was opened."""


def draw_fraud(world: World) -> Fraud:
    """Draw all bursts; what would come after the period is left out."""
    config, fraud = world.config, world.config.fraud
    rng = stream(config, "fraud")
    wanted = len(world.orders) * fraud.share / (1.0 - fraud.share)
    taken = rng.poisson(wanted * fraud.takeover_share / fraud.takeover_orders)
    tested = rng.poisson(wanted * (1.0 - fraud.takeover_share) / fraud.test_orders)
    victim, night = _takeovers(rng, world, taken)
    opened = np.sort(rng.random(tested) * config.days)
    begun = opened + rng.exponential(MINUTES_TO_FIRST_TEST / 1_440.0, tested)
    incident, day = _bursts(
        rng,
        np.concatenate([night, begun]),
        np.repeat([fraud.takeover_orders, fraud.test_orders], [taken, tested]),
        np.repeat([fraud.takeover_minutes / 1_440.0, fraud.test_seconds / 86_400.0],
                  [taken, tested]),
    )  # fmt: skip
    back = _charged_back(rng, world, incident, day)
    selling, testing = config.selling, incident >= taken
    on_app = ~testing & (pick(rng, [selling.web, selling.app], len(day)) == 1)
    orders = pd.DataFrame({
        "customer": np.concatenate([victim, config.customers + np.arange(tested)])[incident],
        "day": day,
        "channel": np.where(on_app, "app", "web"),
        "kind": np.where(testing, TESTING, TAKEOVER),
        "incident": incident,
        "device": np.array([name for name, _ in DEVICES])[
            pick(rng, [share for _, share in DEVICES], taken + tested)
        ][incident],
        "charged_back_day": back,
    })  # fmt: skip
    inside = orders["day"] < config.days
    orders = orders.loc[inside].sort_values("day", kind="stable", ignore_index=True)
    return Fraud(orders, _lines(rng, world, (orders["kind"] == TESTING).to_numpy()), opened)


def _takeovers(rng: np.random.Generator, world: World, taken: int) -> tuple[Ints, Floats]:
    """Account and first moment of each; a constant hazard falls evenly on the days of accounts."""
    config = world.config
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    exposed = config.days - acquired
    victim = pick(rng, exposed, taken)
    evening = np.ceil(acquired[victim] + rng.random(taken) * exposed[victim])
    first, last = NIGHT_HOURS
    return victim, evening + (first + (last - first) * rng.random(taken)) / 24.0


def _bursts(
    rng: np.random.Generator, begun: Floats, orders: Floats, gap: Floats
) -> tuple[Ints, Floats]:
    """Incident and day of each order; ``orders`` and ``gap`` (days) are the means of each burst."""
    count = 1 + rng.poisson(orders - 1.0)
    incident = np.repeat(np.arange(len(begun)), count)
    wait = rng.exponential(size=len(incident)) * gap[incident]
    first = np.cumsum(count) - count
    passed = np.cumsum(wait)
    return incident, begun[incident] + passed - passed[first][incident]


def _charged_back(rng: np.random.Generator, world: World, incident: Ints, day: Floats) -> Floats:
    """Day on which the goods of each order are booked back: all of a burst together."""
    config, n = world.config, int(incident.max(initial=-1)) + 1
    over = np.zeros(n)
    np.maximum.at(over, incident, day)
    noticed = rng.random(n) < config.fraud.charged_back_share
    back = over + 1.0 + rng.exponential(config.fraud.days_to_charge_back, n)
    return np.asarray(np.where(noticed & (back < config.days), back, np.nan)[incident])


def _lines(rng: np.random.Generator, world: World, testing: np.ndarray) -> pd.DataFrame:
    """One item of the cheapest in a test; much of the dearest in orders on taken-over accounts.

    Values of the latter are Gamma(p, .) like those of customers, of a mean that is larger; they are
    dealt out evenly over ``1 + Poisson(1)`` lines at list price.
    """
    config, n = world.config, len(testing)
    count = np.where(testing, 1, 1 + rng.poisson(1.0, n))
    order = np.repeat(np.arange(n), count)
    listed = world.products["list_cents"].to_numpy()
    by_price = np.argsort(listed, kind="stable")
    cheap = max(int(CHEAP_SHARE * len(listed)), 1)
    dear = max(int(DEAR_SHARE * len(listed)), 1)
    lot = rng.random(len(order))
    product = np.where(
        testing[order],
        by_price[(lot * cheap).astype(np.int64)],
        by_price[len(listed) - 1 - (lot * dear).astype(np.int64)],
    )
    mean = config.fraud.takeover_value * config.spend_p * config.spend_gamma / (config.spend_q - 1)
    value = 100.0 * rng.gamma(config.spend_p, mean / config.spend_p, n) / count
    quantity = np.where(
        testing[order], 1, np.maximum(np.rint(value[order] / listed[product]), 1)
    ).astype(np.int64)
    return pd.DataFrame({
        "order": order, "product": product, "quantity": quantity, "unit_cents": listed[product],
    })  # fmt: skip

"""Visits: a latent engagement that follows the purchase rate, rises before orders, ends with them.

Three processes of visits, each a Poisson process given the customers and their orders:

- browsing, of rate ``k g_i lambda_i S(t)`` until the dropout, with ``g_i ~ Gamma(a, a)`` the
  customer's own factor; after a dropout at ``tau`` of rate ``k g_i lambda_i exp(-(t - tau) / f)``;
- leading up to an order, Poisson(m) visits at exponential distances before it (a cluster process:
  Neyman, J., Scott, E. 1958, Statistical approach to problems of cosmology, JRSS B 20);
- buying: every order on the web or in the app ends one visit.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.draws import (
    NOBODY,
    Floats,
    Ints,
    days_of,
    inhomogeneous,
    pick,
    stream,
    words,
)
from features.simulate.misuse import Misuse, misuse_steps
from features.simulate.people import People, stays_until
from features.simulate.selling import in_own_time
from features.simulate.steps import FIRST_SESSION, SOCIAL, STORE, SUPPORT, WHERE, draw_steps
from features.simulate.world import World

PURPOSES = ("browsing", "before order", "buying", "seen in store")
BROWSING, BEFORE, BUYING, SEEN = range(4)


@dataclass(frozen=True)
class Engagement:
    """Visits as they were meant, and what is seen of them."""

    customers: pd.DataFrame
    """By customer: ``browsing_factor`` (``g_i``), ``browsing_rate_per_day``
    (``k g_i lambda_i``)."""
    visits: pd.DataFrame
    """``session``, ``customer`` (-1 = a guest), ``order`` (-1 = none), ``purpose``, ``channel``,
    ``day`` (of its start; of its end where it is for buying)."""
    events: pd.DataFrame
    """Rows of the table."""


def draw_engagement(world: World, people: People, misuse: Misuse) -> Engagement:
    """Draw all visits and their steps; those of misuse are among the events alone."""
    config = world.config
    rng, engagement = stream(config, "visits"), config.engagement
    shape = engagement.browsing_shape
    factor = rng.gamma(shape, 1.0 / shape, config.customers)
    lam = world.customers["purchase_rate_per_day"].to_numpy()
    rate = engagement.browsing_per_order * factor * lam
    signup = people.frame["signup_day"].to_numpy()
    parts = [
        _browsing(rng, world, rate),
        _before_orders(rng, world, signup),
        _buying(rng, world),
    ]
    customer, order, day = (np.concatenate([part[k] for part in parts]) for k in range(3))
    purpose = np.repeat([BROWSING, BEFORE, BUYING], [len(part[0]) for part in parts])
    where = _where(rng, world, customer, order, purpose)
    purpose[where == STORE] = SEEN
    visits = pd.DataFrame({
        "session": FIRST_SESSION + np.arange(len(customer)), "customer": customer, "order": order,
        "purpose": words(purpose, PURPOSES), "channel": words(where, WHERE), "day": day,
    })  # fmt: skip
    latent = pd.DataFrame({"browsing_factor": factor, "browsing_rate_per_day": rate})
    events = draw_steps(world, people, visits, stream(config, "steps"))
    if len(misuse.fraud):
        more = misuse_steps(world, misuse, FIRST_SESSION + len(visits))
        events = pd.concat([events, more], ignore_index=True)
    return Engagement(latent, visits, events)


def _browsing(rng: np.random.Generator, world: World, rate: Floats) -> tuple[Ints, Ints, Floats]:
    config, fading = world.config, world.config.engagement.fading_days
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    until = stays_until(world)
    row, day = inhomogeneous(rng, config, rate, acquired, until)
    # What is left to the end of the period of exp(-x / f); none where the dropout comes later.
    left = -np.expm1(-(config.days - until) / fading)
    last = np.repeat(np.arange(len(rate)), rng.poisson(rate * fading * left))
    age = -fading * np.log1p(-rng.random(len(last)) * left[last])
    customer = np.concatenate([row, last])
    day = np.concatenate([day, until[last] + age])
    # On the first and the last day hours would lead out of the time as a customer.
    within = (np.floor(day) != np.floor(acquired)[customer]) & (
        np.floor(day) != np.floor(until)[customer]
    )
    day[within] = in_own_time(config, world.customers, customer[within], day[within])
    return customer, np.full(len(customer), -1), day


def _before_orders(
    rng: np.random.Generator, world: World, signup: Floats
) -> tuple[Ints, Ints, Floats]:
    """Visits before the account was opened carry nobody's number, and are not there."""
    config, engagement = world.config, world.config.engagement
    buyer = world.orders["customer"].to_numpy()
    placed = days_of(config, world.orders["placed_at"].to_numpy())
    own = np.flatnonzero(buyer != NOBODY)
    order = np.repeat(own, rng.poisson(engagement.visits_before_order, len(own)))
    # At least a quarter of an hour before, so that a visit is over when the order comes.
    day = placed[order] - 0.01 - rng.exponential(engagement.days_before_order, len(order))
    kept = day >= signup[buyer[order]]
    return buyer[order][kept], order[kept], day[kept]


def _buying(rng: np.random.Generator, world: World) -> tuple[Ints, Ints, Floats]:
    """Online orders, guests' too; of the orders in a store those that are seen."""
    store = (world.orders["channel"] == "store").to_numpy()
    member = world.orders["customer"].to_numpy() != NOBODY
    seen = member & (rng.random(len(store)) < world.config.engagement.store_seen_share)
    order = np.flatnonzero(~store | seen)
    placed = days_of(world.config, world.orders["placed_at"].to_numpy()[order])
    return world.orders["customer"].to_numpy()[order], order, placed


def _where(
    rng: np.random.Generator, world: World, customer: Ints, order: Ints, purpose: Ints
) -> Ints:
    """Channel of each visit: the order's own, else web or app by the customer's habits."""
    engagement, people = world.config.engagement, world.customers
    web, app = (people[f"share_{name}"].to_numpy() for name in ("web", "app"))
    on_app = rng.random(len(customer)) * (web + app)[customer] < app[customer]
    where = np.where(on_app, WHERE.index("app"), WHERE.index("web"))
    placed = world.orders["channel"].map(WHERE.index).to_numpy(dtype=np.int64)
    where = np.where(purpose == BUYING, placed[order], where)
    elsewhere = (engagement.social_share, engagement.support_share)
    aside = pick(rng, [*elsewhere, 1.0 - sum(elsewhere)], len(customer))
    where[(purpose == BROWSING) & (aside == 0)] = SOCIAL
    where[(purpose == BROWSING) & (aside == 1)] = SUPPORT
    return where

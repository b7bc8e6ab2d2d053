"""The processes: who becomes a customer, buys when, what and for how much, and sends what back.

Purchases are those of Pareto/NBD with a season, order values those of gamma-gamma. Every concern
has its own random stream, so that a change in one leaves the draws of the others as they are.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.simulate.config import SimulateConfig, season
from features.simulate.draws import NOBODY, Floats, Ints, clock, days_of, stream
from features.simulate.selling import (
    channel_shares,
    daytime_shares,
    discounts,
    in_own_time,
    order_channels,
)

GUEST = NOBODY
FIRST_SHOPPER, FIRST_ORDER, FIRST_RETURN = 100_000, 100_001, 500_001
"""Where numbers begin."""


@dataclass(frozen=True)
class World:
    """What really happened. Times are business time, cents hundredths of the currency."""

    config: SimulateConfig
    customers: pd.DataFrame
    """One row per customer: ``shopper``, ``acquired_at``, ``purchase_rate_per_day``,
    ``dropout_rate_per_day``, ``lifetime_days``, ``dropout_at`` (missing where it lies after the
    period), ``alive_at_end``, ``mean_spend`` (currency per order, expected), ``orders`` (number
    placed), ``taste_<category>``, ``share_<channel>`` and ``share_<part of the day>`` (shares that
    add up to 1), ``deal_share`` (of lines bought below list price)."""
    orders: pd.DataFrame
    """One row per order by time: ``order_no``, ``customer`` (row of ``customers``, -1 = a guest),
    ``shopper`` (missing for guests), ``placed_at``, ``amount_cents`` (of goods, before returns),
    ``returned`` (within the period: none, part, whole), ``channel`` (store, web, app)."""
    lines: pd.DataFrame
    """Goods sold and taken back: ``order`` (row of ``orders``), ``product`` (row of ``products``),
    ``quantity`` (items, below 0 for returns), ``unit_cents``, ``return_no`` (missing for sales),
    ``happened_at`` (of the order or the return) and ``discount_cents`` (taken off one item)."""
    products: pd.DataFrame
    """One row per product: ``sku``, ``category``, ``item`` (its name), ``list_cents``,
    ``popularity`` (share of its category)."""


def draw_world(config: SimulateConfig) -> World:
    """Draw a whole world; equal configs give equal worlds.

    Returns
    -------
    World
        Everything that happens in the period ``[first_day, last_day + 1 day)``; returns that would
        come later are left out, as are all orders after it.
    """
    people = _customers(config).join(channel_shares(config)).join(daytime_shares(config))
    customer, placed = _purchases(config, people)
    people, customer, placed = _at_own_hours(config, people, customer, placed)
    products = _catalogue(config)
    stranger = stream(config, "strangers").integers(config.customers, size=len(customer))
    like = np.where(customer == GUEST, stranger, customer)
    order, product, quantity, unit_cents = _baskets(config, people, products, like)
    back, returned_at, returned = _returns(config, order, quantity, placed)

    orders = pd.DataFrame({
        "order_no": (FIRST_ORDER + np.arange(len(placed))).astype(str),
        "customer": customer,
        "shopper": np.where(customer == GUEST, None, people["shopper"].to_numpy()[customer]),
        "placed_at": clock(config, placed),
        "amount_cents": np.bincount(order, quantity * unit_cents, len(placed)).astype(np.int64),
        "returned": returned,
        "channel": order_channels(config, people, customer),
    })  # fmt: skip
    deal_share = people["deal_share"].to_numpy()[like[order]]
    sold = pd.DataFrame({
        "order": order, "product": product, "quantity": quantity, "unit_cents": unit_cents,
        "return_no": None, "happened_at": clock(config, placed)[order],
        "discount_cents": discounts(config, deal_share, unit_cents),
    })  # fmt: skip
    some = back > 0
    taken = sold.loc[some].assign(
        quantity=-back[some], happened_at=clock(config, returned_at[order[some]])
    )
    rank = np.argsort(np.argsort(returned_at))
    taken["return_no"] = np.char.add("R", (FIRST_RETURN + rank[taken["order"]]).astype(str))
    people["orders"] = np.bincount(customer[customer != GUEST], minlength=config.customers)
    lines = pd.concat([sold, taken], ignore_index=True).astype({"return_no": "str"})
    return World(config, people, orders, lines, products)


def products_of_orders(world: World) -> tuple[Ints, Ints, Ints]:
    """First line and number of lines of each order, and the products of these lines."""
    sold = world.lines.loc[world.lines["return_no"].isna(), ["order", "product"]]
    lines = np.bincount(sold["order"], minlength=len(world.orders))
    return np.cumsum(lines) - lines, lines, sold["product"].to_numpy()


def _customers(config: SimulateConfig) -> pd.DataFrame:
    """Rates ``lambda ~ Gamma(r, alpha)``, ``mu ~ Gamma(s, beta)``, lifetime ``~ Exp(mu)``.

    Gamma distributions by shape and rate; customers are acquired at the pace of the season.
    Schmittlein, D., Morrison, D., Colombo, R. (1987), Counting your customers, Management
    Science 33.
    """
    rng, n = stream(config, "customers"), config.customers
    reached = np.concatenate([[0.0], np.cumsum(season(config, config.days))])
    acquired = np.sort(np.interp(rng.random(n) * reached[-1], reached, np.arange(config.days + 1)))
    purchase_rate = rng.gamma(config.purchase_r, 1.0 / config.purchase_alpha_days, n)
    dropout_rate = rng.gamma(config.dropout_s, 1.0 / config.dropout_beta_days, n)
    lifetime = rng.exponential(size=n) / dropout_rate
    weights = 1.0 / np.arange(1, config.categories + 1)
    taste = rng.dirichlet(config.taste_concentration * weights / weights.sum(), n)
    # Gamma-gamma: nu ~ Gamma(q, gamma), a customer's mean order value is p / nu.
    nu = stream(config, "spend").gamma(config.spend_q, 1.0 / config.spend_gamma, n)
    dropout = acquired + lifetime
    alive = dropout >= config.days
    dropout_at = clock(config, np.where(alive, 0.0, dropout))
    dropout_at[alive] = np.datetime64("NaT")
    people = pd.DataFrame({
        "shopper": np.char.add("S", (FIRST_SHOPPER + rng.permutation(n)).astype(str)),
        "acquired_at": clock(config, acquired),
        "purchase_rate_per_day": purchase_rate,
        "dropout_rate_per_day": dropout_rate,
        "lifetime_days": lifetime,
        "dropout_at": dropout_at,
        "alive_at_end": alive,
        "mean_spend": config.spend_p / nu,
    })  # fmt: skip
    return people.join(pd.DataFrame(taste, columns=[f"taste_{code}" for code in _codes(config)]))


def _purchases(config: SimulateConfig, people: pd.DataFrame) -> tuple[Ints, Floats]:
    """Customer and time (days) of each order, by time; guests at the pace of the season.

    Each customer orders when acquired, then by a Poisson process of rate ``lambda S(t)`` until
    dropout: candidates of the constant rate ``lambda max(S)`` are kept with probability
    ``S(t) / max(S)`` (thinning; Lewis, P., Shedler, G. 1979, Naval Research Logistics 26).
    """
    rng = stream(config, "purchases")
    multiplier = season(config, config.days)
    acquired = days_of(config, people["acquired_at"].to_numpy())
    exposed = np.minimum(people["lifetime_days"].to_numpy(), config.days - acquired)
    expected = people["purchase_rate_per_day"].to_numpy() * multiplier.max() * exposed
    customer = np.repeat(np.arange(config.customers), rng.poisson(expected))
    time = acquired[customer] + rng.random(len(customer)) * exposed[customer]
    kept = rng.random(len(time)) * multiplier.max() < multiplier[time.astype(np.int64)]
    customer = np.concatenate([np.arange(config.customers), customer[kept]])
    time = np.concatenate([acquired, time[kept]])

    rng = stream(config, "guests")
    share = config.guest_share
    guests = rng.poisson(len(time) * share / (1.0 - share))
    reached = np.concatenate([[0.0], np.cumsum(multiplier)])
    visits = np.interp(rng.random(guests) * reached[-1], reached, np.arange(config.days + 1))
    customer = np.concatenate([customer, np.full(guests, GUEST)])
    time = np.concatenate([time, visits])
    by_time = np.argsort(time, kind="stable")
    return customer[by_time], time[by_time]


def _at_own_hours(
    config: SimulateConfig, people: pd.DataFrame, customer: Ints, placed: Floats
) -> tuple[pd.DataFrame, Ints, Floats]:
    """Lives and orders, these by time, at the hours of their days that customers like.

    Days stay as they are, so do whole days of exposure. On the days of the first order and of the
    dropout hours are everybody's: customers stay in the order in which they came.
    """
    if config.selling.daytime_concentration is None:
        return people, customer, placed
    first = days_of(config, people["acquired_at"].to_numpy())
    last = first + people["lifetime_days"].to_numpy()
    anybody = np.full(len(people), GUEST)
    acquired, dropout = (in_own_time(config, people, anybody, day) for day in (first, last))
    dropout_at = people["dropout_at"].mask(~people["alive_at_end"], clock(config, dropout))
    people = people.assign(
        acquired_at=clock(config, acquired), lifetime_days=dropout - acquired, dropout_at=dropout_at
    )
    day = np.floor(placed)
    edge = (day == np.floor(first)[customer]) | (day == np.floor(last)[customer])
    placed = in_own_time(config, people, np.where(edge, GUEST, customer), placed)
    by_time = np.argsort(placed, kind="stable")
    return people, customer[by_time], placed[by_time]


def _catalogue(config: SimulateConfig) -> pd.DataFrame:
    """Products: log-normal list prices (median 2.50), Zipf popularity within a category."""
    rng, n = stream(config, "catalogue"), config.products_per_category
    number = np.tile(np.arange(1, n + 1), config.categories)
    category = np.repeat(_codes(config), n)
    popularity = number**-config.popularity_exponent
    tens = np.maximum(np.rint(rng.lognormal(np.log(25.0), 0.7, len(number))), 5)
    return pd.DataFrame({
        "sku": [f"{code}-{k:04d}" for code, k in zip(category, number, strict=True)],
        "category": category,
        "item": [f"Article {code} {k}" for code, k in zip(category, number, strict=True)],
        "list_cents": tens.astype(np.int64) * 10 - 1,
        "popularity": popularity / popularity[:n].sum(),
    })  # fmt: skip


def _codes(config: SimulateConfig) -> list[str]:
    return [f"C{chr(ord('A') + k)}" for k in range(config.categories)]


def _baskets(
    config: SimulateConfig, people: pd.DataFrame, products: pd.DataFrame, like: Ints
) -> tuple[Ints, Ints, Ints, Ints]:
    """Order, product, quantity, unit price (cents) of each line; ``like``: whose taste and spend.

    The value of an order is gamma-gamma: ``z ~ Gamma(p, nu)`` with ``nu ~ Gamma(q, gamma)`` a
    customer's own (Fader, P., Hardie, B., Lee, K. 2005, RFM and CLV, Journal of Marketing Research
    42). It is dealt out over the lines, and a line's quantity is what it buys at about list price:
    the unit price paid is the list price with the discount or surcharge that makes the line add up,
    but for half a cent per item.
    """
    rng, n = stream(config, "baskets"), config.products_per_category
    value_cents = rng.gamma(
        config.spend_p, 100.0 * people["mean_spend"].to_numpy()[like] / config.spend_p
    )
    n_lines = 1 + rng.poisson(config.lines_per_order - 1.0, len(like))
    order = np.repeat(np.arange(len(like)), n_lines)
    taste = people[[f"taste_{code}" for code in _codes(config)]].to_numpy().cumsum(axis=1)
    drawn = rng.random((len(order), 1)) * taste[like[order], -1:]
    category = (drawn > taste[like[order], :-1]).sum(axis=1)
    cumulative = products["popularity"].to_numpy()[:n].cumsum()
    place = np.searchsorted(cumulative, rng.random(len(order)) * cumulative[-1], side="right")
    product = category * n + np.minimum(place, n - 1)
    listed = products["list_cents"].to_numpy()[product]
    weight = listed * rng.gamma(2.0, size=len(order))
    line_value = value_cents[order] * weight / np.bincount(order, weight)[order]
    quantity = np.maximum(np.rint(line_value / listed), 1).astype(np.int64)
    unit_cents = np.maximum(np.rint(line_value / quantity), 1).astype(np.int64)
    return order, product, quantity, unit_cents


def _returns(
    config: SimulateConfig, order: Ints, quantity: Ints, placed: Floats
) -> tuple[Ints, Floats, NDArray[np.str_]]:
    """Items taken back of each line; for each order time (days, NaN = none) and extent of that."""
    rng, n_orders = stream(config, "returns"), len(placed)
    chosen = rng.random(n_orders) < config.returned_share
    time = placed + 1.0 + rng.exponential(config.days_to_return - 1.0, n_orders)
    time = np.where(chosen & (time < config.days), time, np.nan)
    whole = rng.random(n_orders) < config.returned_whole_share
    liking = rng.random(len(order))
    # In part: each line with probability 1/2, in any case the least liked, and some of its items.
    least = np.full(n_orders, np.inf)
    np.minimum.at(least, order, liking)
    some = 1 + (rng.random(len(order)) * quantity).astype(np.int64)
    in_part = np.where((liking < 0.5) | (liking == least[order]), some, 0)
    back = np.where(np.isnan(time)[order], 0, np.where(whole[order], quantity, in_part))
    left = np.bincount(order, quantity - back, n_orders)
    extent = np.where(np.isnan(time), "none", np.where(left > 0, "part", "whole"))
    return back, time, extent

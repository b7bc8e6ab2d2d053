"""What is done during a visit: steps in time, the last one a purchase where it buys."""

import numpy as np
import pandas as pd

from features.simulate.draws import BLOCK, NOBODY, Ints, pick, seconds, words
from features.simulate.people import DEVICES, People
from features.simulate.world import World, products_of_orders

WHERE = ("web", "app", "store", "social", "support")
STORE, SOCIAL, SUPPORT = 2, 3, 4
KINDS = ("visit", "view", "search", "cart_add", "cart_remove", "checkout", "purchase", "post")
VISIT, VIEW, SEARCH, ADD, REMOVE, CHECKOUT, PURCHASE, POST = range(8)
FIRST_SESSION = 1_000_001
MOST_STEPS = 4_096
"""More than a visit can have: places in it are numbers below."""
IN_STORE_SECONDS = 900.0
"""Mean time in a store before its till."""
VISITS = 1_000_000
"""Visits handled at once: bounds the memory; what is kept of a step is small."""
Small = np.int32
Steps = tuple[Ints, Ints, Ints, Ints]
"""Visit, place in it, kind and product (-1 = none) of each step."""
Sold = tuple[Ints, Ints, Ints]
"""First line and number of lines of each order, products of the lines."""


def draw_steps(
    world: World, people: People, visits: pd.DataFrame, rng: np.random.Generator
) -> pd.DataFrame:
    """Rows of the events: visits of one step in stores, social media and support, else several.

    A visit without a purchase has ``1 + Poisson(v - 1)`` views, each of which goes to the cart with
    probability ``c``, so the number put there is a thinned one (Kingman, J. 1993, Poisson
    Processes, section 5.1); one with a purchase has a cart step for each line of the order, and a
    view before some of them. Steps are a second and an exponential time apart; a purchase is at
    the order's time.
    """
    sold = products_of_orders(world)
    blocks = [
        _steps(rng, world, people, visits.iloc[at : at + VISITS].reset_index(drop=True), sold)
        for at in range(0, max(len(visits), 1), VISITS)
    ]
    return pd.concat(blocks, ignore_index=True)


def _steps(
    rng: np.random.Generator, world: World, people: People, visits: pd.DataFrame, sold: Sold
) -> pd.DataFrame:
    config = world.config
    where = visits["channel"].cat.codes.to_numpy()
    online, buying = where < STORE, (visits["purpose"] == "buying").to_numpy()
    parts = [
        _opening(where),
        _searches(rng, np.flatnonzero(online), config.engagement.search_share),
        *_looking(rng, world, visits, sold, np.flatnonzero(online & ~buying)),
        *_buying(rng, world, visits, sold, np.flatnonzero(online & buying)),
    ]
    visit, place, kind, product = (np.concatenate([part[k] for part in parts]) for k in range(4))
    order = np.argsort(visit * MOST_STEPS + place, kind="stable")
    visit, kind, product = visit[order], kind[order].astype(np.int8), product[order]
    opens = np.concatenate([[True], visit[1:] != visit[:-1]])[: len(visit)]
    gap = 1 + rng.exponential(config.engagement.seconds_per_step, len(visit)).astype(np.int64)
    passed = np.where(opens, 0, gap).cumsum()
    passed -= passed[opens][visit]
    closes = np.concatenate([opens[1:], [True]])[: len(visit)]
    lasted = passed[closes]
    start = seconds(visits["day"].to_numpy())
    start = np.where(buying, start - lasted, start)
    in_store = (where == STORE) * rng.exponential(IN_STORE_SECONDS, len(visits))
    start -= in_store.astype(np.int64)
    # A view lasts until the next step, a visit until its last.
    duration = np.where(opens, lasted[visit], np.where(closes, 0, np.append(gap[1:], 0)))
    timed = ((kind == VISIT) | (kind == VIEW)) & (duration > 0)
    return pd.DataFrame({
        "session": visits["session"].to_numpy(dtype=Small)[visit],
        "customer": visits["customer"].to_numpy(dtype=Small)[visit],
        "happened": np.maximum(start[visit] + passed, 0).astype(Small),
        "batch": visits["session"].to_numpy(dtype=Small)[visit] - FIRST_SESSION,
        "kind": words(kind, KINDS),
        "channel": words(where[visit], WHERE),
        "product": product.astype(Small),
        "duration_s": pd.arrays.IntegerArray(duration.astype(np.int32), ~timed),
        "device": _devices(rng, people, visits, where)[visit],
    })  # fmt: skip


def _opening(where: Ints) -> Steps:
    n = len(where)
    kind = np.where(where == SOCIAL, POST, VISIT)
    return np.arange(n), np.zeros(n, dtype=np.int64), kind, np.full(n, -1)


def _searches(rng: np.random.Generator, visit: Ints, share: float) -> Steps:
    return _same(visit[rng.random(len(visit)) < share], 1, SEARCH)


def _same(visit: Ints, place: int, kind: int) -> Steps:
    n = len(visit)
    return visit, np.full(n, place), np.full(n, kind), np.full(n, -1)


def _looking(
    rng: np.random.Generator, world: World, visits: pd.DataFrame, sold: Sold, visit: Ints
) -> list[Steps]:
    """Views of what is liked, or of what is about to be ordered; some of it into the cart."""
    engagement = world.config.engagement
    views = 1 + rng.poisson(engagement.views_per_visit - 1.0, len(visit))
    seen = np.repeat(visit, views)
    nth = np.arange(len(seen)) - np.repeat(np.cumsum(views) - views, views)
    product = liked_products(rng, world, visits["customer"].to_numpy()[seen])
    order = visits["order"].to_numpy()[seen]
    meant = (order >= 0) & (rng.random(len(seen)) < engagement.interest_share)
    first, lines, products = sold
    line = first[order] + (rng.random(len(seen)) * lines[order]).astype(np.int64)
    product = np.where(meant, products[np.where(meant, line, 0)], product)
    added = rng.random(len(seen)) < engagement.cart_share
    removed = added & (rng.random(len(seen)) < engagement.cart_removed_share)
    carts = np.unique(seen[added])
    reached = carts[rng.random(len(carts)) < engagement.checkout_share]
    return [
        (seen[some], 2 + 3 * nth[some] + k, np.full(int(some.sum()), kind), product[some])
        for k, (kind, some) in enumerate(
            ((VIEW, np.ones(len(seen), dtype=bool)), (ADD, added), (REMOVE, removed))
        )
    ] + [_same(reached, MOST_STEPS - 2, CHECKOUT)]


def _buying(
    rng: np.random.Generator, world: World, visits: pd.DataFrame, sold: Sold, visit: Ints
) -> list[Steps]:
    """The lines of the order, some viewed first; the checkout and the purchase."""
    first, lines, products = sold
    order = visits["order"].to_numpy()[visit]
    row = np.repeat(visit, lines[order])
    nth = np.arange(len(row)) - np.repeat(np.cumsum(lines[order]) - lines[order], lines[order])
    product = products[np.repeat(first[order], lines[order]) + nth]
    some = rng.random(len(row)) < world.config.engagement.viewed_share
    return [
        (row[some], 2 + 3 * nth[some], np.full(int(some.sum()), VIEW), product[some]),
        (row, 3 + 3 * nth, np.full(len(row), ADD), product),
        _same(visit, MOST_STEPS - 2, CHECKOUT),
        _same(visit, MOST_STEPS - 1, PURCHASE),
    ]


def liked_products(rng: np.random.Generator, world: World, customer: Ints) -> Ints:
    """Products by the customers' tastes and the products' popularity."""
    n = world.config.products_per_category
    taste = world.customers.filter(like="taste_").to_numpy().cumsum(axis=1)
    place = pick(rng, world.products["popularity"].to_numpy()[:n], len(customer))
    category = np.empty(len(customer), dtype=np.int64)
    for at in range(0, len(customer), BLOCK):
        upper = taste[customer[at : at + BLOCK]]
        drawn = rng.random((len(upper), 1)) * upper[:, -1:]
        category[at : at + BLOCK] = (drawn > upper[:, :-1]).sum(axis=1)
    return category * n + place


def _devices(
    rng: np.random.Generator, people: People, visits: pd.DataFrame, where: Ints
) -> pd.Categorical:
    """The customer's main device on the web; in the app a phone, or a tablet; none in a store."""
    names = [name for name, _ in DEVICES]
    main = people.frame["main_device"].cat.codes.to_numpy()
    customer = visits["customer"].to_numpy()
    code = np.where(
        customer == NOBODY, pick(rng, [s for _, s in DEVICES], len(customer)), main[customer]
    )
    code[(where == 1) & (code == names.index("computer"))] = names.index("phone")
    code[where == STORE] = -1
    return words(code, names)

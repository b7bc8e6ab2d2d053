"""What orders were like and what is said about them: reviews, tickets, surveys.

Every order has a satisfaction, ``s = m_i - a late - b returned + e`` with the customer's mood
``m_i ~ N(0, sd)`` and ``e ~ N(0, 1)``; what is said follows from it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.draws import (
    NOBODY,
    Floats,
    Ints,
    days_of,
    log_odds,
    logistic,
    seconds,
    stream,
    words,
)
from features.simulate.people import People, stays_until
from features.simulate.surveys import draw_csat, draw_nps
from features.simulate.texts import (
    BAD,
    COMPLAINT,
    GOOD,
    KINDS,
    MIXED,
    REOPENED,
    REPLY,
    RESOLVED,
    REVIEW,
    REVIEWS,
    SENTIMENTS,
    TICKET,
    TICKETS,
    TOPICS,
    said,
)
from features.simulate.world import World, products_of_orders

CHANNELS = ("web", "e-mail", "phone")
COMPLAINT_BELOW = -1.5
"""Satisfaction below which a ticket is filed as a complaint."""
DAYS_TO_REVIEW, DAYS_TO_TICKET = 6.0, 4.0


@dataclass(frozen=True)
class Feedback:
    """What was felt, and what was said."""

    customers: pd.DataFrame
    """By customer: ``mood``."""
    orders: pd.DataFrame
    """By order: ``delivered_late``, ``satisfaction`` (missing for guests), ``stars`` (it is worth,
    whether a review is written or not)."""
    rows: pd.DataFrame
    """Rows of the table with ``sentiment`` of the texts beside them."""


def draw_feedback(world: World, people: People) -> Feedback:
    """Draw the experience of every order, then what is said.

    - Stars are an ordered probit (McKelvey, R., Zavoina, W. 1975, Journal of Mathematical Sociology
      4): the number of cuts that ``s`` exceeds, and one.
    - Who is angry or delighted writes more reviews (Hu, N., Zhang, J., Pavlou, P. 2009, Overcoming
      the J-shaped distribution of product reviews, Communications of the ACM 52).
    - ``P(ticket) = logistic(c - k s)``; replies and solutions take log-normal times.
    """
    config, feedback = world.config, world.config.feedback
    rng = stream(config, "experience")
    mood = feedback.mood_sd * mood_score(rng, world, people)
    orders = world.orders
    online = (orders["channel"] != "store").to_numpy()
    late = online & (rng.random(len(orders)) < feedback.late_share)
    buyer = orders["customer"].to_numpy()
    felt = mood[buyer] + rng.normal(size=len(orders))
    felt = felt - feedback.late_effect * late
    felt = felt - feedback.return_effect * (orders["returned"] != "none").to_numpy()
    felt[buyer == NOBODY] = np.nan
    stars = 1 + (felt[:, None] > np.array(feedback.star_cuts)).sum(axis=1)
    experience = pd.DataFrame({"delivered_late": late, "satisfaction": felt, "stars": stars})
    tickets = _tickets(world, people, experience)
    rows = pd.concat(
        [
            _reviews(world, people, experience),
            tickets,
            draw_csat(world, tickets, felt),
            draw_nps(world, mood, stays_until(world)),
        ],
        ignore_index=True,
    )
    rows["kind"] = words(rows["kind"].to_numpy(dtype=np.int64), KINDS)
    for name, known in (("channel", CHANNELS), ("topic", TOPICS), ("sentiment", SENTIMENTS)):
        rows[name] = words(rows[name].fillna(-1).to_numpy(dtype=np.int64), known)
    return Feedback(pd.DataFrame({"mood": mood}), experience, rows)


def mood_score(rng: np.random.Generator, world: World, people: People) -> Floats:
    """Standard normal moods; ``rng`` is the stream of the experience at its beginning."""
    rho = world.config.feedback.mood_dropout
    noise = np.sqrt(1.0 - rho**2) * rng.normal(size=world.config.customers)
    return np.asarray(noise - rho * people.frame["dropout_score"].to_numpy())


def _about(world: World, order: Ints, lot: Floats) -> Ints:
    """One of the products of each order."""
    first, lines, products = products_of_orders(world)
    return np.asarray(products[first[order] + (lot * lines[order]).astype(np.int64)])


def _reviews(world: World, people: People, experience: pd.DataFrame) -> pd.DataFrame:
    config = world.config
    rng, stars = stream(config, "feedback"), experience["stars"].to_numpy()
    writes = rng.random(len(stars)) < np.array(config.feedback.review_shares)[stars - 1]
    order = np.flatnonzero(writes & experience["satisfaction"].notna().to_numpy())
    customer, n = world.orders["customer"].to_numpy()[order], len(order)
    product = _about(world, order, rng.random(n))
    sentiment = np.select([stars[order] <= 2, stars[order] == 3], [BAD, MIXED], GOOD)
    placed = days_of(config, world.orders["placed_at"].to_numpy()[order])
    language = people.frame["language"].to_numpy()[customer]
    return pd.DataFrame({
        "customer": customer, "order": order, "kind": REVIEW, "channel": 0,
        "happened": seconds(placed + 2.0 + rng.exponential(DAYS_TO_REVIEW, n)),
        "score": stars[order], "product": product, "sentiment": sentiment,
        "text": said(rng, REVIEWS, language, sentiment, _category(world, product)).astype("str"),
    })  # fmt: skip


def _category(world: World, product: Ints) -> Ints:
    return product // world.config.products_per_category


def _tickets(world: World, people: People, experience: pd.DataFrame) -> pd.DataFrame:
    """Tickets and complaints with the reply, the end and the reopening of each thread."""
    config, feedback = world.config, world.config.feedback
    rng, felt = stream(config, "feedback", 1), experience["satisfaction"].to_numpy()
    slope = feedback.ticket_slope
    asks = rng.random(len(felt)) < logistic(log_odds(feedback.ticket) - slope * felt)
    order = np.flatnonzero(asks)
    customer, n = world.orders["customer"].to_numpy()[order], len(order)
    late = experience["delivered_late"].to_numpy()[order]
    returned = (world.orders["returned"] != "none").to_numpy()[order]
    plain = np.where(rng.random(n) < 0.7, TOPICS.index("product"), TOPICS.index("account"))
    topic = np.select([late, returned], [0, 1], plain)
    product = _about(world, order, rng.random(n))
    placed = days_of(config, world.orders["placed_at"].to_numpy()[order])
    asked = placed + 1.0 + rng.exponential(DAYS_TO_TICKET, n)
    spread = feedback.time_spread
    replied = asked + feedback.hours_to_reply / 24.0 * np.exp(spread * rng.normal(size=n))
    solved = replied + feedback.hours_to_resolve / 24.0 * np.exp(spread * rng.normal(size=n))
    resolved = rng.random(n) < feedback.resolved_share
    again = resolved & (rng.random(n) < feedback.reopened_share)
    language = people.frame["language"].to_numpy()[customer]
    text = said(rng, TICKETS, language, topic, _category(world, product)).astype("str")
    thread = pd.DataFrame({
        "thread": 1_000_001 + np.arange(n), "customer": customer, "order": order,
        "channel": rng.integers(len(CHANNELS), size=n), "topic": topic,
    })  # fmt: skip
    kind = np.where(felt[order] < COMPLAINT_BELOW, COMPLAINT, TICKET)
    opened = thread.assign(
        kind=kind, happened=seconds(asked), product=product, text=text,
        sentiment=np.where(felt[order] < 0.0, BAD, MIXED),
    )  # fmt: skip
    reopened = solved + 1.0 + rng.exponential(2.0, n)
    return pd.concat([
        opened,
        thread.assign(kind=REPLY, happened=seconds(replied)),
        thread.assign(kind=RESOLVED, happened=seconds(solved)).loc[resolved],
        thread.assign(kind=REOPENED, happened=seconds(reopened)).loc[again],
    ], ignore_index=True)  # fmt: skip

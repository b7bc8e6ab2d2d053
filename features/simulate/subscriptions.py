"""Plans: paid term by term, changed now and then, cancelled with a probability of one's own."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.draws import Floats, days_of, pick, seconds, stream, words
from features.simulate.people import People, stays_until
from features.simulate.world import World

PLANS = (("basic", 490), ("plus", 990), ("family", 1490))
"""Name and price of a term, in cents."""
METHODS = (("card", 0.5), ("debit", 0.35), ("invoice", 0.15))
KINDS = ("start", "pay", "payment_failed", "change", "cancel")
DAYS_TO_RETRY = 3.0


@dataclass(frozen=True)
class Subscriptions:
    """Contracts with the truth about them, and the rows of two tables."""

    contracts: pd.DataFrame
    """``subscription``, ``customer``, ``start_day``, ``cancel_probability`` (at the end of every
    term), ``terms`` (until the cancellation, which may lie after the period)."""
    subscriptions: pd.DataFrame
    outcomes: pd.DataFrame


def draw_subscriptions(world: World, people: People) -> Subscriptions:
    """Shifted beta-geometric lives of the contracts.

    At the end of each term the contract is cancelled with probability ``theta``, so that
    ``P(T = t | theta) = theta (1 - theta)^(t - 1)``, ``theta ~ Beta(alpha, beta)``; over all
    contracts ``S(t) = B(alpha, beta + t) / B(alpha, beta)`` and the hazard of term ``t`` is
    ``alpha / (alpha + beta + t - 1)`` (Fader, P., Hardie, B. 2007, How to project customer
    retention, Journal of Interactive Marketing 21, equations 1 to 8). A Gaussian copula ties
    ``theta`` to the dropout rate of purchases. A plan is taken before the dropout only.
    """
    from scipy.special import betaincinv, ndtr  # half a second that reading a source does not need

    config, plan = world.config, world.config.subscriptions
    rng, n = stream(config, "subscriptions"), config.customers
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    start = acquired + rng.exponential(plan.days_to_start, n)
    takes = (rng.random(n) < plan.subscriber_share) & (start < stays_until(world))
    rho = plan.dropout_correlation
    normal = rho * people.frame["dropout_score"].to_numpy()
    normal = normal + np.sqrt(1.0 - rho**2) * rng.normal(size=n)
    customer = np.flatnonzero(takes)
    below = np.clip(ndtr(normal[customer]), 1e-9, 1.0 - 1e-9)
    # 1e-6: a life of more than a million terms is none that numbers can hold.
    theta = np.maximum(betaincinv(plan.cancel_alpha, plan.cancel_beta, below), 1e-6)
    contracts = pd.DataFrame({
        "subscription": 100_001 + np.arange(len(customer)), "customer": customer,
        "start_day": start[customer], "cancel_probability": theta,
        "terms": rng.geometric(theta),
    })  # fmt: skip
    return Subscriptions(contracts, _happenings(world, contracts), _outcomes(world, contracts))


def _terms(world: World, contracts: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, Floats]:
    """Contract, number (from 0) and first day of each term begun within the period."""
    config, days = world.config, world.config.subscriptions.term_days
    start = contracts["start_day"].to_numpy()
    begun = np.ceil((config.days - start) / days).astype(np.int64)
    begun = np.minimum(begun, contracts["terms"].to_numpy())
    row = np.repeat(np.arange(len(contracts)), begun)
    number = np.arange(len(row)) - np.repeat(np.cumsum(begun) - begun, begun)
    return row, number, start[row] + number * float(days)


def _happenings(world: World, contracts: pd.DataFrame) -> pd.DataFrame:
    """Start, payments, changes of plan and the end of each contract."""
    config, plan = world.config, world.config.subscriptions
    rng = stream(config, "subscriptions", 1)
    row, number, day = _terms(world, contracts)
    changes = (number > 0) & (rng.random(len(row)) < plan.change_share)
    kept = np.where(changes, rng.integers(1, len(PLANS), size=len(row)), 0)
    first = pick(rng, (0.5, 0.3, 0.2), len(contracts))
    steps = pd.Series(kept).groupby(row).cumsum().to_numpy()
    which = (first[row] + steps) % len(PLANS)
    failed = rng.random(len(row)) < plan.failed_share
    method = pick(rng, [share for _, share in METHODS], len(contracts))
    ends = np.flatnonzero(
        contracts["start_day"] + contracts["terms"] * plan.term_days < config.days
    )
    end_day = (contracts["start_day"] + contracts["terms"] * plan.term_days).to_numpy()
    price = np.array([cents for _, cents in PLANS])[which]
    opens = number == 0
    # In the order in which they happen on the same day: a payment follows its start or change.
    parts = [
        ("start", row[opens], day[opens], which[opens], price[opens], True),
        ("change", row[changes], day[changes], which[changes], price[changes], True),
        ("payment_failed", row[failed], day[failed] + 0.01, None, price[failed], False),
        ("pay", row, day + np.where(failed, DAYS_TO_RETRY, 0.02), None, price, False),
        ("cancel", ends, end_day[ends], None, None, False),
    ]
    frames = []
    for kind, at, when, of_plan, cents, new_term in parts:
        n = len(at)
        frames.append(pd.DataFrame({
            "subscription": contracts["subscription"].to_numpy()[at],
            "customer": contracts["customer"].to_numpy()[at],
            "happened": seconds(when),
            "kind": words(np.full(n, KINDS.index(kind)), KINDS),
            "plan": words(np.full(n, -1) if of_plan is None else of_plan, [p for p, _ in PLANS]),
            "price_cents": pd.array([pd.NA] * n if cents is None else cents, dtype="Int64"),
            "term_days": pd.array([plan.term_days if new_term else pd.NA] * n, dtype="Int64"),
            "payment_method": words(
                method[at] if kind != "cancel" else np.full(n, -1), [m for m, _ in METHODS]
            ),
        }))  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def _outcomes(world: World, contracts: pd.DataFrame) -> pd.DataFrame:
    """Whether each term that has ended ended in a cancellation; known a while later.

    The delay is a day and an exponential time (delayed feedback as in Chapelle, O. 2014, Modeling
    delayed feedback in display advertising, KDD).
    """
    config, plan = world.config, world.config.subscriptions
    rng = stream(config, "subscriptions", 2)
    row, number, day = _terms(world, contracts)
    over = day + plan.term_days < config.days
    row, number, day = row[over], number[over], day[over] + plan.term_days
    cancelled = number + 1 == contracts["terms"].to_numpy()[row]
    return pd.DataFrame({
        "customer": contracts["customer"].to_numpy()[row], "happened": seconds(day),
        "name": words(np.zeros(len(row), np.int64), ["subscription_cancelled"]),
        "value": cancelled.astype(np.int64),
        "delay_days": 1.0 + rng.exponential(max(plan.days_to_know - 1.0, 1e-9), len(row)),
    })  # fmt: skip

"""Who the customers are: accounts, households, referrals, moves, devices and places.

None of it changes a purchase; what comes with leaving early (acquisition channel, mood) is drawn
given the dropout rate, so that the purchases stay those of :mod:`features.simulate.world`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.simulate.config import SimulateConfig
from features.simulate.draws import (
    NOBODY,
    Floats,
    Ints,
    days_of,
    pick,
    seconds,
    stream,
    words,
)
from features.simulate.names import OTHER_LANGUAGES, REGIONS, SPOKEN, TOWNS
from features.simulate.naming import written_names
from features.simulate.world import World

ACQUISITION = (
    ("search", 0.3, 0.0), ("social", 0.2, 0.3), ("referral", 0.15, -0.4), ("store", 0.2, -0.2),
    ("affiliate", 0.15, 0.6),
)  # fmt: skip
"""Channel, share, and log-odds gained per standard deviation of the dropout score."""
DEVICES = (("phone", 0.55), ("computer", 0.33), ("tablet", 0.12))
PLACES = ("home", "store", "delivery")
GENDERS = (("female", 0.5), ("male", 0.42), ("other", 0.02), (None, 0.06))


@dataclass(frozen=True)
class People:
    """What is true of each customer beyond purchases, and the rows of the tables about it."""

    frame: pd.DataFrame
    """By row of the world's customers: ``signup_day``, ``partner`` (other half of a household, -1
    = none), ``referrer``, ``acquisition_channel``, ``region``, ``country``, ``language``,
    ``gender``, ``birth_year`` (missing where not declared), ``moved_day`` (missing where there is
    no move), ``region_after``, ``town``, ``town_after``, ``main_device``, ``dropout_score``."""
    rows: dict[str, pd.DataFrame]
    """``customers``, ``devices``, ``locations``, ``relations``."""


def dropout_score(world: World) -> Floats:
    """Standard normal scores of the dropout rates, ``Phi^-1(F(mu))`` with ``F`` of Gamma(s, beta).

    What is drawn with a correlation to it is a Gaussian copula (Nelsen, R. 2006, An Introduction to
    Copulas, section 2.3): the margins stay as configured.
    """
    from scipy.special import gammainc, ndtri  # half a second that reading a source does not need

    config = world.config
    rate = world.customers["dropout_rate_per_day"].to_numpy()
    below = gammainc(config.dropout_s, config.dropout_beta_days * rate)
    return np.asarray(ndtri(np.clip(below, 1e-12, 1 - 1e-12)), dtype=np.float64)


def stays_until(world: World) -> Floats:
    """Day on which each customer drops out, or the last midnight where that comes later."""
    people, config = world.customers, world.config
    acquired = days_of(config, people["acquired_at"].to_numpy())
    dropout = acquired + people["lifetime_days"].to_numpy()
    return np.asarray(np.minimum(dropout, float(config.days)), dtype=np.float64)


def draw_people(world: World) -> People:
    """Draw accounts and what belongs to them."""
    config = world.config
    rng, n = stream(config, "people"), config.customers
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    signup = np.maximum(acquired - rng.exponential(config.people.days_from_signup, n), 0.0)
    score = dropout_score(world)
    channel = _acquisition(rng, score)
    # Customers are in the order of their acquisition: whoever referred stands before.
    referrer = (rng.random(n) * np.arange(n)).astype(np.int64)
    channel[0] = 0 if channel[0] == 2 else channel[0]
    referrer[channel != 2] = NOBODY
    partner = _partners(rng, config)
    second = partner < np.arange(n)
    region = pick(rng, [share for *_, share in REGIONS], n)
    town = rng.integers(TOWNS, size=n)
    region[second & (partner >= 0)] = region[partner[second & (partner >= 0)]]
    town[second & (partner >= 0)] = town[partner[second & (partner >= 0)]]
    country = np.array([country for _, country, _ in REGIONS])[region]
    spoken = np.array([SPOKEN[c] for _, c, _ in REGIONS])[region]
    shares = [share for _, share in OTHER_LANGUAGES]
    other = pick(rng, [*shares, 1.0 - sum(shares)], n)
    language = np.where(
        other < len(shares), np.array([*(name for name, _ in OTHER_LANGUAGES), ""])[other], spoken
    )
    gender = pick(rng, [share for _, share in GENDERS], n)
    gender[gender == len(GENDERS) - 1] = -1
    born = pd.array(np.rint(config.last_day.year - 18 - rng.gamma(4.0, 6.0, n)), dtype="Int64")
    born[rng.random(n) < 0.1] = pd.NA
    frame = pd.DataFrame({
        "signup_day": signup, "partner": partner, "referrer": referrer,
        "acquisition_channel": words(channel, [name for name, *_ in ACQUISITION]),
        "region": words(region, [name for name, *_ in REGIONS]), "country": country,
        "language": language, "gender": words(gender, [str(name) for name, _ in GENDERS[:-1]]),
        "birth_year": born, "town": town, "dropout_score": score,
    }).join(_moves(config, partner, region, signup))  # fmt: skip
    devices, main = _devices(world, frame)
    frame["main_device"] = main
    rows = {
        "customers": _accounts(world, frame),
        "devices": devices,
        "locations": _places(world, frame),
        "relations": _relations(world, frame),
    }
    return People(frame, rows)


def _acquisition(rng: np.random.Generator, score: Floats) -> Ints:
    """Multinomial logit, ``P(k) ~ share_k exp(slope_k z)`` with ``z`` the dropout score.

    Drawn as the largest of utilities with Gumbel noise (McFadden, D. 1974, Conditional logit
    analysis of qualitative choice behavior).
    """
    share, slope = (np.array([c[k] for c in ACQUISITION]) for k in (1, 2))
    utility = np.log(share) + slope * score[:, None]
    drawn = np.argmax(utility + rng.gumbel(size=utility.shape), axis=1)
    return np.asarray(drawn, dtype=np.int64)


def _partners(rng: np.random.Generator, config: SimulateConfig) -> Ints:
    """The other half of each customer's household; -1 where there is none."""
    n = config.customers
    pairs = rng.permutation(n)[: int(n * config.people.household_share / 2) * 2].reshape(-1, 2)
    partner = np.full(n, NOBODY, dtype=np.int64)
    partner[pairs[:, 0]], partner[pairs[:, 1]] = pairs[:, 1], pairs[:, 0]
    return partner


def _moves(config: SimulateConfig, partner: Ints, region: Ints, signup: Floats) -> pd.DataFrame:
    """First move of each household, of a Poisson process from the first day on; all move along.

    A customer who signs up after the move is a customer of the new region from the start.
    """
    rng, n = stream(config, "moves"), len(region)
    time = rng.exponential(365.25 / max(config.people.moves_per_year, 1e-12), n)
    there = rng.integers(1, len(REGIONS), size=n)
    town = rng.integers(TOWNS, size=n)
    follows = (partner >= 0) & (partner < np.arange(n))
    for values in (time, there, town):
        values[follows] = values[partner[follows]]
    moved = (time > signup) & (time < config.days)
    after = words(
        np.where(moved, (region + there) % len(REGIONS), region), [name for name, *_ in REGIONS]
    )
    return pd.DataFrame({
        "moved_day": np.where(moved, time, np.nan), "region_after": after, "town_after": town,
    })  # fmt: skip


def _accounts(world: World, frame: pd.DataFrame) -> pd.DataFrame:
    """One row per account, and one more from a move on, of which we are told late."""
    config = world.config
    rng, delay = stream(config, "moves", 1), config.people.days_to_tell
    name, email = written_names(config, frame)
    first = frame[["region", "country", "language", "gender", "birth_year", "acquisition_channel"]]
    first = first.assign(
        customer=np.arange(len(frame)), happened=seconds(frame["signup_day"].to_numpy()),
        name=name, email=email, delay_days=0.0,
    )  # fmt: skip
    first["signup"] = first["happened"]
    moved = np.flatnonzero(frame["moved_day"].notna())
    abroad = dict((region, country) for region, country, _ in REGIONS)
    later = first.iloc[moved].assign(
        happened=seconds(frame["moved_day"].to_numpy()[moved]),
        region=frame["region_after"].iloc[moved],
        country=frame["region_after"].iloc[moved].astype(str).map(abroad),
        delay_days=rng.exponential(delay, len(moved)),
    )
    return pd.concat([first, later], ignore_index=True)


def _devices(world: World, frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.Categorical]:
    """Devices when first seen with a customer; some households share one. Also each main device."""
    config, rng = world.config, stream(world.config, "devices")
    n, people = len(frame), config.people
    owner = np.repeat(np.arange(n), 1 + rng.poisson(people.devices - 1.0, n))
    first = np.concatenate([[True], owner[1:] != owner[:-1]])
    kind = pick(rng, [share for _, share in DEVICES], len(owner))
    signup = frame["signup_day"].to_numpy()
    stay = np.maximum(stays_until(world) - signup, 0.0)[owner]
    seen = signup[owner] + np.where(first, 0.0, rng.random(len(owner)) * stay)
    mine = np.flatnonzero(first)
    partner = frame["partner"].to_numpy()
    guest = np.flatnonzero((partner >= 0) & (partner < np.arange(n)))
    guest = guest[rng.random(len(guest)) < people.shared_device_share]
    lent = mine[partner[guest]]
    lent_day = np.maximum(signup[guest], signup[partner[guest]])
    lent_day += rng.exponential(people.days_to_tell, len(guest))
    device = np.concatenate([np.arange(len(owner)), lent])
    rows = pd.DataFrame({
        "device": 1_000_001 + device, "customer": np.concatenate([owner, guest]),
        "happened": seconds(np.concatenate([seen, lent_day])),
        "kind": words(kind[device], [name for name, _ in DEVICES]),
    })  # fmt: skip
    within = rows.loc[rows["happened"] < seconds(np.array([config.days]))[0]]
    return within.reset_index(drop=True), words(kind[mine], [name for name, _ in DEVICES])


def _places(world: World, frame: pd.DataFrame) -> pd.DataFrame:
    """Homes from signup and from a move on; the store of the customer's town at store orders."""
    config, orders = world.config, world.orders
    regions = frame["region"].cat.categories
    names = [f"{region} {k + 1}" for region in regions for k in range(TOWNS)]
    before = frame["region"].cat.codes.to_numpy() * TOWNS + frame["town"].to_numpy()
    after = frame["region_after"].cat.codes.to_numpy() * TOWNS + frame["town_after"].to_numpy()
    moved = np.flatnonzero(frame["moved_day"].notna())
    told = stream(config, "moves", 2).exponential(config.people.days_to_tell, len(moved))
    own = (orders["customer"].to_numpy() != NOBODY) & (orders["channel"] == "store").to_numpy()
    buyer = orders["customer"].to_numpy()[own]
    bought = days_of(config, orders["placed_at"].to_numpy()[own])
    there = np.where(frame["moved_day"].to_numpy()[buyer] <= bought, after[buyer], before[buyer])
    sizes = (len(frame), len(moved), len(buyer))
    return pd.DataFrame({
        "customer": np.concatenate([np.arange(len(frame)), moved, buyer]),
        "happened": seconds(np.concatenate([
            frame["signup_day"].to_numpy(), frame["moved_day"].to_numpy()[moved], bought,
        ])),
        "delay_days": np.concatenate([np.zeros(sizes[0]), told, np.zeros(sizes[2])]),
        "place": words(np.concatenate([before, after[moved], there]), names),
        "kind": words(np.repeat([0, 0, 1], sizes), PLACES),
    })  # fmt: skip


def _relations(world: World, frame: pd.DataFrame) -> pd.DataFrame:
    """Households, known late, and referrals, known at once; each from the later signup on."""
    rng, partner = stream(world.config, "people", 1), frame["partner"].to_numpy()
    second = np.flatnonzero((partner >= 0) & (partner < np.arange(len(frame))))
    referred = np.flatnonzero(frame["referrer"] >= 0)
    customer = np.concatenate([partner[second], frame["referrer"].to_numpy()[referred]])
    other = np.concatenate([second, referred])
    signup = frame["signup_day"].to_numpy()
    told = rng.exponential(world.config.people.days_to_tell, len(second))
    return pd.DataFrame({
        "customer": customer, "other": other,
        "happened": seconds(np.maximum(signup[customer], signup[other])),
        "delay_days": np.concatenate([told, np.zeros(len(referred))]),
        "kind": words(
            np.repeat([0, 1], [len(second), len(referred)]), ["household", "referral"]
        ),
    })  # fmt: skip

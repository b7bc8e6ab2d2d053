"""Fraud and return abuse as the systems of the shop see them, who cannot tell them from the rest.

What customers are and do is drawn without it, and stays as it is: misuse adds rows to the exports,
and truth of its own. Its orders, returns, accounts, devices and sessions are numbered after all
others: a number is a name, from which nothing is to be learned.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.simulate.abuse import draw_abuse
from features.simulate.draws import Floats, clock, days_of, seconds, stream, words
from features.simulate.fraud import TAKEOVER, Fraud, draw_fraud
from features.simulate.people import DEVICES, PLACES, People
from features.simulate.steps import WHERE, draw_steps
from features.simulate.world import FIRST_ORDER, FIRST_RETURN, FIRST_SHOPPER, World


@dataclass(frozen=True)
class Misuse:
    """What is true of it."""

    fraud: pd.DataFrame
    """One row per fraudulent order by time: ``order_no``, ``customer`` (row of the world's
    customers, from their number on: an account opened for fraud), ``shopper``, ``kind`` (takeover,
    card testing), ``placed_at``, ``amount_cents``, ``channel``, ``incident`` (orders of one burst
    share it), ``device`` (kind of that burst's, new to the account), ``charged_back_at`` (missing
    where nobody noticed within the period)."""
    abuse: pd.DataFrame
    """One row per customer who abuses returns: ``customer``, ``shopper``, ``kind`` (wardrobing,
    bracketing), ``since``."""
    lines: pd.DataFrame
    """Lines of fraud and their booking back, and what abusers sent back, as the world has lines;
    ``order`` is the row of the world's orders, from their number on of those of ``fraud``."""
    opened: Floats
    """Day on which each account for fraud was opened."""


def draw_misuse(world: World) -> Misuse:
    """Draw fraud, then abuse."""
    drawn = draw_fraud(world)
    abusers, sent_back = draw_abuse(world)
    abuse = pd.DataFrame({
        "customer": abusers["customer"],
        "shopper": world.customers["shopper"].to_numpy()[abusers["customer"]],
        "kind": abusers["kind"],
        "since": clock(world.config, abusers["since"].to_numpy()),
    })  # fmt: skip
    fraud = _fraudulent(world, drawn)
    return Misuse(fraud, abuse, _lines(world, drawn, fraud, sent_back), drawn.opened)


def _fraudulent(world: World, drawn: Fraud) -> pd.DataFrame:
    config, orders, lines = world.config, drawn.orders, drawn.lines
    back, buyer = orders["charged_back_day"].to_numpy(), orders["customer"].to_numpy()
    goods = np.bincount(lines["order"], lines["quantity"] * lines["unit_cents"], len(orders))
    number = FIRST_ORDER + len(world.orders) + np.arange(len(orders))
    return pd.DataFrame({
        "order_no": number.astype(str),
        "customer": buyer,
        "shopper": _shoppers(world, drawn.opened)[buyer],
        "kind": orders["kind"],
        "placed_at": clock(config, orders["day"].to_numpy()),
        "amount_cents": goods.astype(np.int64),
        "channel": orders["channel"],
        "incident": orders["incident"],
        "device": orders["device"],
        "charged_back_at": pd.Series(clock(config, np.nan_to_num(back))).mask(np.isnan(back)),
    }).astype({"shopper": "str"})  # fmt: skip


def _lines(
    world: World, drawn: Fraud, fraud: pd.DataFrame, sent_back: pd.DataFrame
) -> pd.DataFrame:
    """What was sold by fraud, then what came back: of that, and of what abusers bought."""
    of = drawn.lines["order"].to_numpy()
    sold = drawn.lines.assign(
        order=len(world.orders) + of, return_no=None, discount_cents=0,
        happened_at=fraud["placed_at"].to_numpy()[of],
    )[list(world.lines)]  # fmt: skip
    day = drawn.orders["charged_back_day"].to_numpy()[of]
    returned = [
        sold.assign(day=day).dropna(subset="day"),
        world.lines.iloc[sent_back["line"]].assign(day=sent_back["day"].to_numpy()),
    ]
    back = pd.concat(returned, ignore_index=True)
    first = FIRST_RETURN + world.lines["return_no"].nunique()
    number = first + back.groupby(["day", "order"]).ngroup().to_numpy(dtype=np.int64)
    back = back.assign(
        quantity=-back["quantity"],
        return_no=np.char.add("R", number.astype(str)),
        happened_at=clock(world.config, back["day"].to_numpy(dtype=np.float64)),
    ).drop(columns="day")
    return pd.concat([sold, back], ignore_index=True).astype({"return_no": "str"})


def named(world: World, misuse: Misuse) -> World:
    """The world with ``shopper`` of every account, those opened for fraud at the end."""
    return replace(world, customers=pd.DataFrame({"shopper": _shoppers(world, misuse.opened)}))


def as_seen(world: World, misuse: Misuse) -> World:
    """The same with orders and lines of misuse after all others; who sends back does not matter."""
    columns = [name for name in world.orders if name in misuse.fraud]
    orders = pd.concat([world.orders, misuse.fraud[columns]], ignore_index=True)
    lines = pd.concat([world.lines, misuse.lines], ignore_index=True)
    back = misuse.lines.loc[misuse.lines["return_no"].notna(), "order"].unique()
    left = lines.loc[lines["order"].isin(back)].groupby("order")["quantity"].sum()
    orders["returned"] = orders["returned"].fillna("none")
    orders.loc[left.index, "returned"] = np.where(left > 0, "part", "whole")
    return replace(named(world, misuse), orders=orders, lines=lines)


def _shoppers(world: World, opened: Floats) -> np.ndarray:
    more = FIRST_SHOPPER + world.config.customers + np.arange(len(opened))
    return np.concatenate([world.customers["shopper"], np.char.add("S", more.astype(str))])


def misuse_rows(world: World, people: People, misuse: Misuse) -> dict[str, pd.DataFrame]:
    """Further rows of tables about customers: accounts, new devices and addresses.

    An account is opened with what the records say of somebody else, under another address; what is
    bought on a taken-over account goes to a place where its owner has never been.
    """
    config, n = world.config, world.config.customers
    rng, accounts = stream(config, "fraud", 1), np.arange(len(misuse.opened))
    whose = rng.integers(n, size=len(accounts))
    opened = seconds(misuse.opened)
    customers = people.rows["customers"].iloc[whose].assign(
        customer=n + accounts, happened=opened, signup=opened,
        email=[f"{10_000 + k}@mail.example" for k in rng.integers(90_000, size=len(accounts))],
    )  # fmt: skip
    bursts = misuse.fraud.drop_duplicates("incident")
    begun = seconds(days_of(config, bursts["placed_at"].to_numpy()))
    taken = (bursts["kind"] == TAKEOVER).to_numpy()
    devices, places = people.rows["devices"], people.rows["locations"]["place"].cat.categories
    return {
        "customers": customers,
        "devices": pd.DataFrame({
            "device": devices["device"].max() + 1 + np.arange(len(bursts)),
            "customer": bursts["customer"].to_numpy(),
            "happened": begun,
            "kind": bursts["device"].astype(devices["kind"].dtype),
        }),
        "locations": pd.DataFrame({
            "customer": bursts["customer"].to_numpy()[taken],
            "happened": begun[taken],
            "delay_days": 0.0,
            "place": words(rng.integers(len(places), size=taken.sum()), places),
            "kind": words(np.full(taken.sum(), PLACES.index("delivery")), PLACES),
        }),
    }  # fmt: skip


def misuse_steps(world: World, misuse: Misuse, first_session: int) -> pd.DataFrame:
    """Further rows of the events: each fraudulent order ends a visit, on the device of its burst.

    Bursts stand where steps have customers, for it is they who have devices.
    """
    fraud, n = misuse.fraud, len(world.orders)
    bursts, burst = np.unique(fraud["incident"], return_inverse=True)
    first = fraud.drop_duplicates("incident").set_index("incident").loc[bursts]
    device = pd.Categorical(first["device"], [name for name, _ in DEVICES])
    people = People(pd.DataFrame({"main_device": device}), {})
    lines = misuse.lines.loc[misuse.lines["order"] >= n]
    ordered = replace(world, orders=fraud, lines=lines.assign(order=lines["order"] - n))
    visits = pd.DataFrame({
        "session": first_session + np.arange(len(fraud)),
        "customer": burst,
        "order": np.arange(len(fraud)),
        "purpose": "buying",
        "channel": pd.Categorical(fraud["channel"], WHERE),
        "day": days_of(world.config, fraud["placed_at"].to_numpy()),
    })  # fmt: skip
    steps = draw_steps(ordered, people, visits, stream(world.config, "fraud", 2))
    return steps.assign(customer=first["customer"].to_numpy()[steps["customer"]])

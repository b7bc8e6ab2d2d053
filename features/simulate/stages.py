"""The true stages of customers, as far as the processes define them.

::

    awareness --a visit--> interest --first order--> frequent | rare --dropout--> gone

Each stage begins where the process says so: awareness with the account, interest with the first
visit that leads up to the first order (left out where there is none, or no events are drawn), being
a buyer with the first order. A buyer orders at the own rate ``lambda S(t)``, and is called frequent
from the median of the rates on, else rare; the stay is ``Exp(mu)``, over all customers Pareto.
Dropout is for good, so that nobody is won back.
"""

import numpy as np
import pandas as pd

from features.simulate.draws import Ints, seconds, times, words
from features.simulate.people import People
from features.simulate.world import World

STAGES = ("awareness", "interest", "frequent", "rare", "gone")
AWARENESS, INTEREST, FREQUENT, RARE, GONE = range(5)


def stage_paths(world: World, people: People, visits: pd.DataFrame | None = None) -> pd.DataFrame:
    """``customer`` (row of the world's), ``stage`` and ``since`` of each stage, in this order."""
    config, customers = world.config, world.customers
    n, everyone = config.customers, np.arange(config.customers)
    opened = times(config, seconds(people.frame["signup_day"].to_numpy()))
    bought = customers["acquired_at"].to_numpy()
    seen = np.full(n, np.datetime64("NaT"), dtype=bought.dtype)
    if visits is not None:
        leading = visits.loc[visits["purpose"] == "before order"]
        first = leading.groupby("customer")["day"].min()
        seen[first.index] = times(config, seconds(first.to_numpy()))
        seen[~(seen < bought)] = np.datetime64("NaT")
    rate = customers["purchase_rate_per_day"].to_numpy()
    gone = customers["dropout_at"].to_numpy()
    stage = np.repeat([AWARENESS, INTEREST, FREQUENT, GONE], n)
    stage[2 * n : 3 * n] = np.where(rate < np.median(rate), RARE, FREQUENT)
    paths = pd.DataFrame({
        "customer": np.tile(everyone, 4),
        "stage": stage,
        "since": np.concatenate([opened, seen, bought, gone]),
    }).dropna(subset="since")  # fmt: skip
    paths = paths.sort_values(["customer", "stage"], ignore_index=True)
    return paths.assign(stage=words(paths["stage"].to_numpy(), STAGES))


def stages_at(paths: pd.DataFrame, moments: pd.DatetimeIndex) -> Ints:
    """Place in ``STAGES`` of each customer just before each moment, -1 = none; shape of both."""
    customer = paths["customer"].to_numpy()
    code = pd.Categorical(paths["stage"], STAGES).codes
    at = np.full((customer.max(initial=-1) + 1, len(moments)), -1, dtype=np.int64)
    for k in range(len(STAGES)):
        some = code == k
        begun = paths["since"].to_numpy()[some, None] < moments.to_numpy()
        at[customer[some]] = np.where(begun, k, at[customer[some]])
    return at

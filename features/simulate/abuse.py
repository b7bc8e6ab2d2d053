"""Return abuse: customers who, from some day on, buy to use and send back.

Each customer is one with a fixed probability (a two-class mixture, as latent class models have it:
Goodman, L. 1974, Biometrika 61), from a day that is uniform over their time as a customer. Of their
orders from then on, a fixed share is abused; what they would have sent back anyway stays as it is.
"""

import numpy as np
import pandas as pd

from features.simulate.draws import Floats, days_of, stream
from features.simulate.people import stays_until
from features.simulate.world import World

WARDROBING, BRACKETING = "wardrobing", "bracketing"
DAYS_BEFORE_END, DAYS_TO_TRY = 3.0, 3.0
"""Mean time from such a return to the end of the window, and from an order to one at once."""


def draw_abuse(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Customers who abuse returns, and what they send back.

    Wardrobing takes back the dearer half of an order's lines, each of them whole, at ``window -
    Exp`` days after it; bracketing all lines but the one that costs most, at ``1 + Exp`` days. Both
    come within the window.

    Returns
    -------
    tuple
        ``customer``, ``kind`` and ``since`` (day) of each abuser; ``line`` (row of the world's
        lines) and ``day`` of each line sent back.
    """
    config, abuse = world.config, world.config.abuse
    rng, n = stream(config, "abuse"), config.customers
    acquired = days_of(config, world.customers["acquired_at"].to_numpy())
    chosen = rng.random(n) < abuse.share
    since = acquired + rng.random(n) * (stays_until(world) - acquired)
    worn = rng.random(n) < abuse.wardrobing_share
    orders, lines = world.orders, world.lines
    placed = days_of(config, orders["placed_at"].to_numpy())
    buyer = orders["customer"].to_numpy()
    abused = (
        (buyer >= 0) & chosen[buyer] & (placed >= since[buyer])
        & (orders["returned"] == "none").to_numpy() & (rng.random(len(orders)) < abuse.order_share)
    )  # fmt: skip
    back = _sent_back(rng, abuse.window_days, placed, worn[buyer])
    abused &= back < config.days
    sold = np.flatnonzero(abused[lines["order"].to_numpy()])
    mine = lines.iloc[sold]
    value = mine["quantity"] * mine["unit_cents"]
    rank = value.groupby(mine["order"]).rank(method="first", ascending=False).to_numpy()
    size = mine.groupby("order")["product"].transform("size").to_numpy()
    order = mine["order"].to_numpy()
    goes = np.where(worn[buyer[order]], rank <= np.ceil(size / 2), rank > 1)
    people = np.flatnonzero(chosen)
    abusers = pd.DataFrame({
        "customer": people,
        "kind": np.where(worn, WARDROBING, BRACKETING)[people],
        "since": since[people],
    })  # fmt: skip
    return abusers, pd.DataFrame({"line": sold[goes], "day": back[order[goes]]})


def _sent_back(rng: np.random.Generator, window: float, placed: Floats, worn: np.ndarray) -> Floats:
    """Day of a return of each order, within the window and a day or more after the order."""
    wait = rng.exponential(size=len(placed))
    days = np.where(worn, window - DAYS_BEFORE_END * wait, 1.0 + DAYS_TO_TRY * wait)
    return np.asarray(placed + np.clip(days, 1.0, window))

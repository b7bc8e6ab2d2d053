"""One simulated world for all tests of its processes: drawn once, never written.

Customers have hours that they like; nobody misuses it: what fraud and abuse add is tested in
``test_simulate_misuse.py``.
"""

from functools import cache

import numpy as np

from features.simulate import SimulateConfig, World, draw_world
from features.simulate.draws import days_of
from features.simulate.parts import SellingConfig
from features.simulate.people import People, draw_people

CONFIG = SimulateConfig(customers=6_000, selling=SellingConfig(daytime_concentration=4))
DAY = 86_400


@cache
def drawn_world() -> World:
    """Customers and orders."""
    return draw_world(CONFIG)


@cache
def drawn_people() -> People:
    """Accounts, households, devices, places."""
    return draw_people(drawn_world())


def fits(count: float, probabilities: np.ndarray) -> bool:
    """Whether ``count`` successes are within four standard deviations of what is expected."""
    spread = np.sqrt((probabilities * (1 - probabilities)).sum())
    return bool(abs(count - probabilities.sum()) <= 4 * max(spread, 1.0))


def placed_days(world: World) -> np.ndarray:
    """Days from the first midnight to each order."""
    return days_of(CONFIG, world.orders["placed_at"].to_numpy())

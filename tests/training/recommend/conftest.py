"""A small recommender that the tests share."""

import pytest

from tests.training.recommend.worlds import Shop, recommender, shop
from training.recommend.recommender import Recommender


@pytest.fixture(scope="session")
def world() -> Shop:
    """A shop with two tastes."""
    return shop()


@pytest.fixture(scope="session")
def made(world: Shop) -> Recommender:
    """Taught on it."""
    return recommender(world)

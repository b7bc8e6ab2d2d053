"""Candidates against sorting, and audiences against lists."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import DataError
from tests.training.recommend.worlds import DAYS, HORIZON, Shop, histories, shelf_of
from training.recommend.audience import audience, everyone
from training.recommend.choose import choose
from training.recommend.highest import ranks
from training.recommend.ranker import LOGISTIC, Ranker, RankerConfig
from training.recommend.recommender import RANKERS, Recommender, teach
from training.recommend.scores import Sums, Written


def _highest(score: np.ndarray, open_: np.ndarray, k: int) -> np.ndarray:
    """The k highest open scores other than 0, and what is equal to the last."""
    values = np.where(open_ & (score != 0), score, -np.inf)
    edge = np.sort(values, axis=1)[:, ::-1][:, min(k, values.shape[1]) - 1][:, None]
    return (values >= edge) & (values > -np.inf)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 14), st.integers(0, 14))
def test_candidates_are_the_highest_of_each_maker(seed, each, bought):
    """By sorting whole rows, ties and negative scores included; of all and of what is new."""
    rng = np.random.default_rng(seed)
    past = histories(seed, lines=60)
    shape = (len(past), past.n_items)
    common = rng.integers(0, 5, past.n_items).astype(float)
    sums = Sums(
        sp.random_array((len(past), 7), density=0.5, rng=rng, format="csr"),
        sp.csr_matrix(rng.integers(-2, 3, (7, past.n_items)).astype(float)),
    )
    scores = {
        "ties": Written(rng.integers(-2, 3, shape).astype(float)),
        "plain": Written(rng.normal(size=shape)), "mute": Written(np.zeros(shape)),
        "for all": Written(np.broadcast_to(common, shape)), "sums": sums,
    }  # fmt: skip
    offered = rng.random(past.n_items) < 0.8
    recent = past.matrix(1 / (1.0 + past.age)).toarray()
    expected = _highest(recent, recent > 0, bought) if bought else np.zeros(shape, bool)
    for score in scores.values():
        values = score.dense() if isinstance(score, Sums) else score.table
        expected |= _highest(values, np.broadcast_to(offered, shape), each)
        expected |= _highest(values, offered & (recent == 0), each)
    assert np.array_equal(choose(past, scores, offered, each, bought), expected & offered)


def test_sums_are_a_product():
    """Written out, and for some pairs alone; own weights and what is added for everybody."""
    rng = np.random.default_rng(5)
    weights = sp.random_array((6, 9), density=0.4, rng=rng, format="csr")
    links = sp.random_array((9, 9), density=0.5, rng=rng, format="csr")
    common = rng.random(9)
    customer, item = np.divmod(np.flatnonzero(rng.random(54) < 0.4), 9)
    for sums, expected in (
        (Sums(weights, links), weights.toarray() @ links.toarray()),
        (Sums.own(weights), weights.toarray()),
        (Sums.own(weights).plus(common), weights.toarray() + common),
    ):
        assert np.allclose(sums.dense(), expected, rtol=1e-15)
        assert np.array_equal(sums.at(customer, item), np.float32(sums.dense()[customer, item]))


@given(st.lists(st.lists(st.integers(-3, 3), max_size=60), max_size=5))
def test_ranks_are_a_stable_sort_of_each_group(groups):
    """Highest first, of equal ones the first; groups may be empty."""
    start = np.cumsum([0, *(len(group) for group in groups)])
    value = np.array([v for group in groups for v in group], np.float32)
    expected = [np.argsort(np.argsort(-np.array(g, float), kind="stable")) for g in groups]
    assert np.array_equal(ranks(value, start), np.concatenate([*expected, np.zeros(0)]))


@pytest.fixture(scope="module")
def told(world: Shop, made: Recommender) -> Recommender:
    """With the logistic trees that audiences need."""
    seen = world.asof(DAYS - 2 * HORIZON)
    rows = teach(shelf_of(seen), seen)
    config = RankerConfig(objectives=("rank:ndcg", LOGISTIC), trees=8, min_child_weight=1)
    rankers = {name: Ranker(config) for name in RANKERS}
    for name, ranker in rankers.items():
        ranker.fit([rows[name]], seed=1)
    return Recommender(made.shelf, rankers)


def _lines(world: Shop, made: Recommender) -> pd.DataFrame:
    now, before = DAYS - HORIZON, world.day < DAYS - HORIZON
    codes = np.array(list(made.places))
    return pd.DataFrame(
        {
            "customer_id": world.customer[before], "product_id": codes[world.item[before]],
            "days_ago": (now - world.day[before]).astype(float), "quantity": 1.0,
        }
    )  # fmt: skip


def test_an_audience_has_the_taste_of_the_item(world: Shop, told: Recommender):
    """Even customers buy even items alone: they come first; who had it is not told again."""
    lines = _lines(world, told)
    had = set(lines.loc[lines["product_id"] == "P004", "customer_id"])
    customers, past = everyone(told, lines)
    seen = world.asof(DAYS - HORIZON).past
    assert np.array_equal(past.matrix().toarray(), seen.matrix().toarray())
    found = audience(told, lines, "P004", 60)
    assert set(found["customer_id"]) == set(customers.tolist()) - had
    assert found["log_odds"].is_monotonic_decreasing
    taste = [c for c in customers.tolist() if c % 2 == 0 and c not in had]
    first = found["customer_id"].head(len(taste)) % 2
    assert (first == 0).mean() > 0.9
    again = audience(told, lines, "P004", 60, "repeat") if len(had) >= 20 else None
    assert again is None or set(again["customer_id"]) == had
    shuffled = audience(told, lines.sample(frac=1, random_state=1), "P004", 60)
    assert shuffled.equals(found)


def test_audiences_that_are_not_given(world: Shop, told: Recommender, made: Recommender):
    """Too small to hide in, of an item not offered, by trees that compare no customers."""
    lines = _lines(world, told)
    everyone_ = set(lines["customer_id"])
    few = sorted(everyone_)[:-10]
    for one, product, size, more, said in (
        (told, "P004", 19, {}, "20 customers at least"),
        (told, "P004", 50, {"without": few}, "could be told apart"),
        (told, "never heard of", 50, {}, "not among the items offered"),
        (made, "P004", 50, {}, "binary:logistic"),
    ):
        with pytest.raises(DataError, match=said):
            audience(one, lines, product, size, **more)

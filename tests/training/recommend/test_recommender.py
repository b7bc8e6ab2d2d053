"""Both stages: lists in shards, rankers that add up, what was saved is what is loaded."""

import numpy as np
import pytest

from tests.training.recommend.worlds import DAYS, HORIZON, Shop, bundle
from training.arrays import unpacked
from training.recommend import bundle as bundles
from training.recommend.body import MAX_LINES, PostedRequest
from training.recommend.card import next_basket
from training.recommend.evaluate import Answered, compare, maker_lists, measured
from training.recommend.ranker import Ranker, RankerConfig
from training.recommend.recommender import RANKERS, Recommender, first, teach


def test_first_is_a_sort_by_customer():
    """Best scores first, ties by item, -1 where there is none left."""
    found = first(
        np.array([0, 0, 0, 2]), np.array([3, 4, 5, 1]), np.array([2.0, 2.0, 1.0, 0.5]), 3, 2
    )
    assert found.tolist() == [[3, 4], [-1, -1], [1, -1]]


def test_lists_do_not_depend_on_shards(world: Shop, made: Recommender):
    """One customer at a time gives the same lists; kinds keep what they promise."""
    past = world.asof(DAYS - HORIZON).past
    lists = made.lists(past, 5)
    for c in (0, 7, 31):
        alone = made.lists(past.take([c]), 5)
        for name, items in lists.items():
            assert np.array_equal(alone[name][0], items[c]), name
    owned = past.matrix().toarray() > 0
    for c in range(len(past)):
        assert all(owned[c, i] for i in lists["repeat"][c] if i >= 0)
        assert not any(owned[c, i] for i in lists["discovery"][c] if i >= 0)


@pytest.mark.parametrize(
    "objectives", [("rank:ndcg",), ("binary:logistic",), ("rank:ndcg", "binary:logistic")]
)
def test_rankers_add_up_and_travel(world: Shop, made: Recommender, objectives):
    """Contributions add to the score for every objective; bytes give the same scores back."""
    seen = world.asof(DAYS - HORIZON)
    block = teach(made.shelf, seen)["all"]
    ranker = Ranker(RankerConfig(objectives=objectives, trees=8, min_child_weight=1))
    ranker.fit([block], seed=2)
    some = block.X[:300]
    base, contributions = ranker.explain(some)
    assert np.abs(base + contributions.sum(axis=1) - ranker.score(some)).max() < 1e-5
    other = Ranker(ranker.config)
    other.load(ranker.save(), ranker.scales)
    assert np.array_equal(other.score(some), ranker.score(some))


def test_better_than_popularity_and_taste_is_kept(world: Shop, made: Recommender):
    """Against what followed: clearly above popularity; new items are of the own taste."""
    seen = world.asof(DAYS - HORIZON)
    ours = measured(made.lists(seen.past, 20), seen)
    popular = measured(
        maker_lists(made.shelf.makers["recent"], seen.past, made.shelf.offered, 20), seen
    )
    judged = compare(
        {"candidate": Answered(ours, {}), "popular": Answered(popular, {})}, seen.customers, 100, 1
    )
    value, low, _ = judged.difference("all_ndcg_at_10", "candidate", "popular")
    assert value > 0.1
    assert low > 0
    new, taste = made.lists(seen.past, 1)["discovery"][:, 0], seen.customers % 2
    owned = seen.past.matrix().toarray() > 0
    open_ = np.array([not owned[c, taste[c] :: 2].all() for c in range(len(owned))])
    assert open_.sum() >= 10
    assert (new[open_] % 2 == taste[open_]).mean() > 0.9


def test_bundle_is_what_was_written(made: Recommender):
    """Parsed from bytes it gives the golden lists; no customer's number is in any file."""
    written = bundle(made)
    files = written.written()
    loaded = bundles.parse(files, "digest")
    assert loaded.replay() == 0
    assert loaded.recommender.columns == made.columns
    assert {name for name in files if name.startswith("ranker.")} == {
        f"ranker.{name}.ndcg.ubj" for name in RANKERS
    }
    for name, data in files.items():
        if name.endswith(".npz"):
            shapes = {array.shape[0] for array in unpacked(data).values() if array.ndim}
            assert len(world_customers(made)) not in shapes, name


def world_customers(made: Recommender) -> range:
    """As many customers as the shop has: no array of the bundle may be so long."""
    return range(60)


def test_frame_of_purchases_gives_frame_of_lists(made: Recommender):
    """What MLflow calls: in the order of customers, the same as a request each."""
    import pandas as pd

    loaded = bundle(made)
    golden = [said for said in loaded.golden if said["body"]["list"] == "all"]
    lines = [
        {"customer": f"c{i}", **line}
        for i, said in enumerate(golden) for line in said["body"]["history"]
    ]  # fmt: skip
    found = loaded.predict_frame(pd.DataFrame(lines))
    assert list(found.columns) == [name for name, _ in loaded.outputs]
    expected = [x["product_id"] for said in golden for x in said["reply"]["items"]]
    assert found["product_id"].tolist() == expected
    called = [x["name"] or "" for said in golden for x in said["reply"]["items"]]
    assert found["name"].tolist() == called
    assert any(called)
    with pytest.raises(Exception, match="below 0"):
        loaded.predict_frame(pd.DataFrame(lines).assign(days_ago=-1.0))
    with pytest.raises(Exception, match="no column"):
        loaded.predict_frame(pd.DataFrame(lines).drop(columns="quantity"))


def test_only_requests_from_outside_have_a_limit_of_lines(made: Recommender):
    """A customer with more lines than may be posted is answered in a frame like any other."""
    import pandas as pd

    loaded = bundle(made)
    (product, *_) = made.places
    line = {"product_id": product, "days_ago": 3.0, "quantity": 1.0}
    many = pd.DataFrame([{"customer": "c0", **line}] * (MAX_LINES + 1))
    assert len(loaded.predict_frame(many))
    with pytest.raises(ValueError, match=f"at most {MAX_LINES} items"):
        PostedRequest.model_validate({"history": [line | {"days_ago": 3}] * (MAX_LINES + 1)})


def test_next_baskets_are_shown_as_they_are_published(world: Shop, made: Recommender):
    """Recall, NDCG and PHR at 10 and 20, of all, repeats and explored items."""
    seen = world.asof(DAYS - HORIZON)
    found = {
        name: Answered(
            measured(maker_lists(made.shelf.makers[name], seen.past, made.shelf.offered, 20), seen),
            {},
        )
        for name in ("recent", "decayed")
    }
    judged = compare(found, seen.customers, 5, 1)
    table = next_basket(judged)
    assert table["list"].tolist() == ["all"] * 2 + ["repeat"] * 2 + ["explore"] * 2
    assert table["answer"].tolist() == ["recent", "decayed"] * 3
    assert list(table.columns[2:]) == [
        f"{m}@{k}" for k in (10, 20) for m in ("Recall", "NDCG", "PHR")
    ]
    own = table.set_index(["list", "answer"])
    value = judged.draws["decayed"]["discovery_hit_rate_at_20"][0]
    assert own.loc[("explore", "decayed"), "PHR@20"] == round(value, 4)

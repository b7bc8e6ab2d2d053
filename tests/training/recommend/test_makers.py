"""Every maker against a brute force of its formula, and what all of them promise."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from features.catalogue import discover
from features.settings import Part, resolve
from tests.training.recommend.worlds import HORIZON, Shop, histories
from training.recommend.catalogue import Attributes, demand
from training.recommend.histories import Histories
from training.recommend.makers import HOME, Shippable
from training.recommend.makers import Shop as Known
from training.recommend.makers.content import described
from training.recommend.makers.due import Due, DueConfig
from training.recommend.makers.ease import Ease, EaseConfig
from training.recommend.makers.factors import Als, AlsConfig
from training.recommend.makers.linear import Linear, strongest
from training.recommend.makers.neighbours import Cosine, CosineConfig
from training.recommend.makers.tifu import Tifu, TifuConfig
from training.recommend.makers.together import Next, Together, TogetherConfig

USES = discover(HOME, "fit")


def _known(past: Histories) -> Known:
    products = tuple(f"{10_000 + i // 2}{'AB'[i % 2]}" for i in range(past.n_items))
    return Known(Attributes(products), demand(past, HORIZON), HORIZON)


def _fitted(use: str, past: Histories):
    maker = resolve(HOME, Part(use=use))
    maker.fit(past, _known(past))
    return maker


@pytest.mark.parametrize("use", USES)
def test_promises(use):
    """Shapes, one customer as in company, saved = loaded to the bit, additive parts."""
    past = histories(lines=200)
    maker = _fitted(use, past)
    scores = maker.score(past)
    assert scores.shape == (len(past), past.n_items)
    assert np.isfinite(scores).all()
    for c in (0, 5):
        alone = maker.score(past.take([c]))
        assert np.allclose(alone[0], scores[c], rtol=1e-12, atol=1e-12)
    assert isinstance(maker, Shippable) == (use != "tifu.Tifu")
    if not isinstance(maker, Shippable):
        return
    other = resolve(HOME, Part(use=use))
    other.load(maker.save())
    assert np.array_equal(other.score(past), scores)
    if isinstance(maker, Linear):
        one = past.take([4])
        for item in range(past.n_items):
            total = sum(maker.parts(maker.weights(one), item).values())
            assert total == pytest.approx(scores[4, item], abs=1e-12)


@pytest.mark.parametrize("use", [use for use in USES if use != "factors.Bpr"])
def test_order_of_customers_does_not_matter(use):
    """A shop is the same shop when its customers are renumbered; BPR draws them one by one."""
    past = histories(lines=150)
    order = np.random.default_rng(1).permutation(len(past))
    scores = _fitted(use, past).score(past)
    other = _fitted(use, past.take(order)).score(past.take(order))
    assert np.allclose(other, scores[order], rtol=1e-6, atol=1e-6)


def test_ease_is_the_closed_form():
    """Steck (2019), eq. 8, by the plain inverse."""
    past = histories(lines=150)
    made = Ease(EaseConfig(l2=3, half_life_days=100, top=99))
    made.fit(past, _known(past))
    X = np.sqrt(past.matrix(past.decay(100)).toarray())
    P = np.linalg.inv(X.T @ X + 3 * np.eye(past.n_items))
    expected = -P / np.diag(P)
    np.fill_diagonal(expected, 0)
    assert np.allclose(made.links.toarray(), expected, atol=1e-6)


def test_cosine_and_association_by_loops():
    """Shrunk cosines of customers' columns; pairs within baskets and from each to the next."""
    past = histories(lines=150)
    X = np.sqrt(past.matrix(past.decay(100)).toarray())
    cosine = Cosine(CosineConfig(half_life_days=100, shrink=2, top=99))
    cosine.fit(past, _known(past))
    baskets: dict[tuple[int, float], set[int]] = {}
    for c, age, item in zip(past.customer, past.age, past.item, strict=True):
        baskets.setdefault((int(c), float(age)), set()).add(int(item))
    ordered = sorted(baskets, key=lambda key: (key[0], -key[1]))
    steps = [(a, b) for a, b in zip(ordered, ordered[1:], strict=False) if a[0] == b[0]]
    rules = {Together: [(k, k) for k in ordered], Next: steps}
    for i in range(past.n_items):
        for j in range(past.n_items):
            if i == j:
                continue
            length = np.linalg.norm(X[:, i]) * np.linalg.norm(X[:, j]) + 2
            assert cosine.links[i, j] == pytest.approx(X[:, i] @ X[:, j] / length, abs=1e-6)
    for kind, pairs in rules.items():
        maker = kind(TogetherConfig(shrink=1, top=99))
        maker.fit(past, _known(past))
        left = [sum(i in baskets[a] for a, _ in pairs) for i in range(past.n_items)]
        right = [sum(j in baskets[b] for _, b in pairs) for j in range(past.n_items)]
        for i, j in ((0, 1), (3, 2), (5, 8)):
            both = sum(i in baskets[a] and j in baskets[b] for a, b in pairs)
            expected = both / (np.sqrt(left[i] * right[j]) + 1)
            assert maker.links[i, j] == pytest.approx(expected, abs=1e-6)


def test_vectors_are_found_as_implicit_finds_them():
    """ALS and customers of its own: the same vectors as `implicit` works out anew, so scores."""
    from implicit.cpu.als import AlternatingLeastSquares

    past = histories(lines=150)
    maker = Als(AlsConfig(factors=4, regularization=0.5, confidence=3, half_life_days=100))
    maker.fit(past, _known(past))
    theirs = AlternatingLeastSquares(
        factors=4, regularization=0.5, dtype=np.float64, num_threads=1, use_native=True
    )
    theirs.item_factors = maker.vectors
    confidence = sp.csr_matrix(3 * np.sqrt(past.matrix(past.decay(100)).toarray()))
    confidence.data += 1
    vectors = theirs.recalculate_user(np.arange(len(past)), confidence)
    assert np.allclose(maker.score(past), vectors @ maker.vectors.T, atol=1e-5)
    assert not maker.score(Histories.empty(past.n_items)).any()


@pytest.mark.parametrize("use", ["factors.Als", "factors.Bpr"])
def test_factors_are_the_same_bits_again(use):
    """Learned twice."""
    past = histories(lines=150)
    assert np.array_equal(_fitted(use, past).vectors, _fitted(use, past).vectors)


def test_tifu_by_loops():
    """Own share plus the weighed mean of the nearest others."""
    past = histories(lines=150)
    maker = Tifu(TifuConfig(half_life_days=100, neighbours=3, own_share=0.4))
    maker.fit(past, _known(past))
    X = past.matrix(past.decay(100)).toarray()
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    near = unit @ unit.T
    np.fill_diagonal(near, 0)
    for c in range(len(past)):
        best = np.argsort(-near[c])[:3]
        mean = near[c][best] @ X[best] / near[c][best].sum()
        assert np.allclose(maker.score(past)[c], 0.4 * X[c] + 0.6 * mean)


def test_due_rises_when_the_rhythm_says_so():
    """Bought every 30 days by many: due after 29 days, not the day after, gone after a year."""
    columns = {
        "customer": np.repeat(np.arange(200), 12), "item": np.zeros(2400, np.int64),
        "age": np.tile(np.arange(12) * 30, 200) + np.repeat(np.arange(200) % 30, 12),
        "quantity": np.ones(2400), "amount": np.ones(2400),
    }  # fmt: skip
    past = Histories.of(columns, 200, 1)
    maker = Due(DueConfig())
    maker.fit(past, Known(Attributes(("A",)), demand(past, 10), 10))
    chances = [
        float(maker.chance(np.array([0]), np.array([d]), np.array([5]), np.array([150.0]))[0])
        for d in (1.0, 25.0)
    ]
    assert chances[0] < 0.05
    assert chances[1] > 0.9
    assert ((maker.score(past) >= 0) & (maker.score(past) <= 1)).all()


@pytest.mark.parametrize("top", [1, 3, 40])
def test_strongest_by_sorting(top):
    """The largest by size of each column, none to itself; of equal ones the first."""
    n = 300  # more than a block
    values = np.random.default_rng(top).integers(-6, 7, (n, n)).astype(np.float64)
    kept = strongest(lambda at, end: values.T[at:end], n, top).toarray()
    alone = np.where(np.eye(n, dtype=bool), 0, values)
    order = np.argsort(-np.abs(alone), axis=0, kind="stable")[:top]
    expected = np.zeros((n, n))
    np.put_along_axis(expected, order, np.take_along_axis(alone, order, axis=0), axis=0)
    assert np.array_equal(kept, expected)


def test_two_tastes_are_told_apart(world: Shop):
    """A checkerboard: item-to-item makers recommend nothing of the other taste."""
    seen = world.asof(600)
    shop = Known(seen.attributes, demand(seen.past, HORIZON), HORIZON)
    taste = seen.customers % 2
    few = {"factors.Als": {"factors": 4, "regularization": 1.0}, "factors.Bpr": {"factors": 4}}
    for use in ("ease.Ease", "neighbours.Cosine", "neighbours.Bm25", "together.Together", *few):
        maker = resolve(HOME, Part(use=use, config=few.get(use, {})))
        maker.fit(seen.past, shop)
        best = np.argmax(
            np.where(seen.past.matrix().toarray() > 0, -1, maker.score(seen.past)), axis=1
        )
        left = seen.past.matrix().toarray()[:, :] > 0
        open_ = np.array([not left[c, taste[c] :: 2].all() for c in range(len(taste))])
        assert (best[open_] % 2 == taste[open_]).all(), use


def test_links_lead_to_what_is_offered():
    """An item that is not offered has links from it, as before, and none that lead to it."""
    past = histories(lines=150)
    known, offered = _known(past), np.arange(past.n_items) % 3 > 0
    whole, some = (resolve(HOME, Part(use="content.Content")) for _ in range(2))
    whole.fit(past, known)
    some.fit(past, replace(known, offered=offered))
    assert whole.links.toarray()[:, ~offered].any()
    assert np.array_equal(some.links.toarray(), whole.links.toarray() * offered)


def test_words_of_most_items_link_nothing():
    """A word of more than half of the items, or of one alone, is no likeness; a shared rarer is."""
    names = ("red lamp", "red cup", "red lamp stand", "blue bowl")
    made = described(Attributes(("1", "2", "3", "4"), names)).toarray()
    alike = made @ made.T
    assert alike[0, 2] > 0.999
    alike[0, 2] = alike[2, 0] = 0
    assert not (alike - np.diag(np.diag(alike))).any()

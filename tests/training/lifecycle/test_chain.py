"""The hidden (semi-)Markov model against sums over all paths, known truths and orders of rows."""

from itertools import product

import numpy as np
import pytest

from features.errors import DataError
from training.arrays import packed, unpacked
from training.lifecycle import words
from training.lifecycle.chain import Chain
from training.lifecycle.fitting import Taught, _guess, _step, fit
from training.lifecycle.sequences import codes_of, shares, sizes_of, words_of_levels

TRUE = Chain(
    np.array([[0.7, 0.2, 0.1], [0.2, 0.4, 0.4]]),
    np.array([[0.8, 0.15, 0.05], [0.1, 0.8, 0.1], [0.02, 0.03, 0.95]]),
    (
        np.array([[0.1, 0.3, 0.6], [0.6, 0.3, 0.1], [0.97, 0.02, 0.01]]),
        np.array([[0.2, 0.8, 0.1, 0.9], [0.6, 0.4, 0.4, 0.6], [0.9, 0.1, 0.5, 0.5]]),
    ),
)


def drawn(chain: Chain, n: int, periods: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States (-1 = not begun) and codes of customers, some of whom begin later than others."""
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(n) < 0.4, rng.integers(1, periods, n), 0)
    state = np.full((n, periods), -1)
    levels = np.full((n, periods, len(chain.emit)), -1)

    def chosen(p: np.ndarray) -> np.ndarray:
        return (rng.random(len(p))[:, None] > p.cumsum(axis=1)[:, :-1]).sum(axis=1)

    for t in range(periods):
        here = first <= t
        begin = chain.start[np.where(first[here] > 0, 0, 1)]
        moved = chain.move[state[here, t - 1]]
        state[here, t] = own = chosen(np.where((first[here] == t)[:, None], begin, moved))
        orders, others = (emit[own] for emit in chain.emit)
        levels[here, t, 0] = level = chosen(orders)
        half = np.where((level > 0)[:, None], others[:, 2:], others[:, :2])
        levels[here, t, 1] = 2 * (level > 0) + chosen(half)
    return state, levels


def test_codes_tell_levels_apart_by_whether_there_was_an_order() -> None:
    """Counts 0, 1, 2 and 5 of two observables, some unknown; halves add up to 1 each."""
    counts = np.array([[[0, 5], [2, 5], [np.nan, 1], [1, np.nan]]])
    assert codes_of(counts, [(1, 2), (1, 4)]).tolist() == [[[0, 2], [2, 5], [-1, -1], [1, -1]]]
    assert sizes_of([(1, 2), (1, 4)]) == [3, 6]
    assert words_of_levels((1, 2, 4)) == ["0", "1", "2 to 3", "4 or more"]
    assert shares(np.array([[1.0, 3.0, 2.0, 2.0]]), 1).tolist() == [[0.25, 0.75, 0.5, 0.5]]
    assert shares(np.array([[1.0, 3.0, 4.0]]), 0).tolist() == [[0.125, 0.375, 0.5]]


def by_paths(chain: Chain, levels: np.ndarray) -> np.ndarray:
    """Joint probability of all levels and each last state, by a sum over every path."""
    begun = np.flatnonzero((levels >= 0).any(axis=1))
    if not len(begun):
        return chain.start[0]
    own, start = levels[begun[0] :], chain.start[1 if begun[0] == 0 else 0]
    total = np.zeros(chain.n_states)
    for path in product(range(chain.n_states), repeat=len(own)):
        p = start[path[0]]
        for a, b in zip(path, path[1:], strict=False):
            p *= chain.move[a, b]
        for state, seen in zip(path, own, strict=True):
            for emit, level in zip(chain.emit, seen, strict=True):
                p *= emit[state, level] if level >= 0 else 1.0
        total[path[-1]] += p
    return total


@pytest.fixture(scope="module")
def holed() -> np.ndarray:
    """Levels of short sequences in which some are not observed, one customer nothing at all."""
    levels = drawn(TRUE, 40, 5, 3)[1]
    levels[np.random.default_rng(3).random(levels.shape) < 0.2] = -1
    levels[7] = -1
    return levels


def test_filtered_is_the_sum_over_all_paths(holed: np.ndarray) -> None:
    """State of the last period and likelihood of the whole, with unknowns and late beginners."""
    found = TRUE.filtered(holed)
    for i, own in enumerate(holed):
        joint = by_paths(TRUE, own)
        assert found.state[i, -1] == pytest.approx(joint / joint.sum())
        assert found.loglik[i].sum() == pytest.approx(np.log(joint.sum()))
    buying = TRUE.buying(found.state[:, -1])
    by_hand = found.state[:, -1] @ TRUE.move @ np.array([0.9, 0.4, 0.03])
    assert buying == pytest.approx(by_hand)


def test_evidence_adds_up_and_ends_with_likelihood_ratios(holed: np.ndarray) -> None:
    """Base + contributions = log-odds of the last state; unknowns add nothing."""
    last = TRUE.filtered(holed).state[:, -1]
    order = np.argsort(-last, axis=1, kind="stable")
    own, other, rows = order[:, 0], order[:, 1], np.arange(len(holed))
    base, moved = TRUE.evidence(holed, own, other)
    odds = np.log(last[rows, own] / last[rows, other])
    assert base + moved.sum(axis=(1, 2)) == pytest.approx(odds, abs=1e-12)
    assert np.abs(moved[holed < 0]).max() < 1e-12
    for o, emit in enumerate(TRUE.emit):
        seen = holed[:, -1, o]
        ratio = np.log(emit[own, seen] / emit[other, seen])
        assert moved[seen >= 0, -1, o] == pytest.approx(ratio[seen >= 0])
    early = TRUE.filtered(holed[:, :3]).state[:, -1] @ TRUE.move @ TRUE.move
    told = base + moved[:, :3].sum(axis=(1, 2))
    begun = (holed[:, :3] >= 0).any(axis=(1, 2))
    wanted = np.log(early[rows, own] / early[rows, other])
    assert told[begun] == pytest.approx(wanted[begun])


def test_fitting_never_loses_and_finds_the_truth() -> None:
    """Each step raises the log-posterior; moves and levels of 3,000 customers come back."""
    state, levels = drawn(TRUE, 3_000, 12, 0)
    taught = Taught.of(levels, (3, 4))
    chain, before = _guess(taught, 3, 1), -np.inf
    for _ in range(15):
        chain, loglik = _step(chain, taught, 1.0)
        assert loglik >= before - 1e-9
        before = loglik
    found = fit(levels, (3, 4), 3, 1, 1.0)
    assert found.move == pytest.approx(TRUE.move, abs=0.03)
    assert found.start == pytest.approx(TRUE.start, abs=0.06)
    for emit, true in zip(found.emit, TRUE.emit, strict=True):
        assert emit == pytest.approx(true, abs=0.06)
    known = state >= 0
    hits = [(c.filtered(levels).state.argmax(axis=2)[known] == state[known]).mean()
            for c in (found, TRUE)]  # fmt: skip
    assert hits[0] > hits[1] - 0.01
    for _ in range(60):
        chain, plain = _step(chain, taught, 1.0)
    assert _step(found, taught, 1.0)[1] >= plain - 0.5, "leaps lose nothing"
    again = fit(levels, (3, 4), 3, 1, 1.0, found)
    assert again.move == pytest.approx(found.move, abs=2e-3), "what is found is begun from"


def stepped(steps: int) -> Chain:
    """The same truth, each stay of equal steps one after the other."""
    return Chain(np.repeat(TRUE.start, steps, axis=1) / steps, TRUE.move, TRUE.emit)


def test_a_stay_of_steps_is_a_longer_chain_of_states_that_show_alike(holed: np.ndarray) -> None:
    """Against the plain model over all steps, and sums over the lengths that stays can have."""
    own = stepped(3)
    flat = Chain(own.start, own.onward, tuple(np.repeat(e, 3, axis=0) for e in own.emit))
    one, other = own.filtered(holed), flat.filtered(holed)
    assert one.loglik == pytest.approx(other.loglik)
    assert one.state == pytest.approx(other.state.reshape(*holed.shape[:2], 3, 3).sum(axis=-1))
    assert own.buying(one.step[:, -1]) == pytest.approx(flat.buying(other.step[:, -1]))
    stays = own.stays(400)
    assert stays.sum(axis=1) == pytest.approx(1.0, abs=1e-3)
    assert stays @ np.arange(1, 401) == pytest.approx(own.dwell, rel=0.03)
    inside = np.linalg.matrix_power(own.onward[3:6, 3:6], 7)
    assert stays[1, 7] == pytest.approx(inside[0, 2] * (1 - own.move[1, 1]))
    last = np.argsort(-one.state[:, -1], axis=1, kind="stable")
    base, moved = own.evidence(holed, last[:, 0], last[:, 1])
    rows, state = np.arange(len(holed)), one.state[:, -1]
    odds = np.log(state[rows, last[:, 0]] / state[rows, last[:, 1]])
    assert base + moved.sum(axis=(1, 2)) == pytest.approx(odds, abs=1e-12)


def test_steps_are_learned_together_and_told_from_a_geometric_stay() -> None:
    """No step loses; of stays of two steps the later customers say so, of one step too."""
    taught, steps = {}, {}
    for true in (1, 2):
        made = stepped(true)
        flat = Chain(made.start, made.onward, tuple(np.repeat(e, true, axis=0) for e in made.emit))
        taught[true], later = (drawn(flat, n, 12, s)[1] for n, s in ((700, 1), (700, 2)))
        told = {k: fit(taught[true], (3, 4), 3, k, 1.0).filtered(later).loglik.sum()
                for k in (1, 2)}  # fmt: skip
        steps[true] = max(told, key=lambda k: told[k])
    assert steps == {1: 1, 2: 2}
    sequences, before = Taught.of(taught[2], (3, 4)), -np.inf
    chain = _guess(sequences, 3, 2)
    for _ in range(10):
        chain, loglik = _step(chain, sequences, 1.0)
        assert loglik >= before - 1e-9
        before = loglik
    assert chain.move.sum(axis=1) == pytest.approx(1.0)
    assert chain.onward.sum(axis=1) == pytest.approx(1.0)


def test_order_of_customers_changes_no_bit_and_states_fall_in_activity() -> None:
    """Shuffled customers give the same arrays, which survive being written."""
    levels = drawn(TRUE, 200, 6, 5)[1]
    one = fit(levels, (3, 4), 3, 2, 1.0)
    two = fit(levels[np.random.default_rng(1).permutation(200)], (3, 4), 3, 2, 1.0)
    back = Chain.of(unpacked(packed(one.arrays())))
    for name, values in one.arrays().items():
        assert np.array_equal(values, two.arrays()[name])
        assert np.array_equal(values, back.arrays()[name])
    assert (np.diff(one.buying(one.midway)) <= 0).all()
    assert len(set(words.names(one, ["orders", "visits"]))) == 3


def test_fewer_sequences_than_states_are_refused() -> None:
    """With the remedy."""
    with pytest.raises(DataError, match=r"lower chain\.states"):
        fit(np.zeros((30, 4, 1), np.int64), (2,), 2, 1, 1.0)

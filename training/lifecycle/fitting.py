"""Fitting of a hidden semi-Markov model by expectation and maximisation.

Baum, L., Petrie, T., Soules, G., Weiss, N. 1970, Annals of Mathematical Statistics 41; Rabiner, L.
1989, Proceedings of the IEEE 77; with a Dirichlet prior. Every third step begins further along the
way of the two before it (Varadhan, R., Roland, C. 2008, Scandinavian Journal of Statistics 35,
scheme S3), unless that loses likelihood. Equal sequences are taken together: the order of customers
cannot matter, and nothing is drawn at random.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.contract import Floats
from training.lifecycle.chain import Chain
from training.lifecycle.sequences import Ints, begun_of, shares

MOST_ROUNDS = 100
"""Of three steps each."""
ENOUGH = 3e-6
"""Gain of log-likelihood per period at which fitting ends."""
FURTHEST = 8.0
"""Most that a leap is longer than a step."""
LEAST = 1e-12
"""Probabilities below this count as this in a leap."""
USUAL_STAY = 5.0
"""Periods that a stay lasts in the first guess."""
TILT = 2.0
"""How far the first guess sets the most and the least active state apart, in log-odds a level."""


def fit(
    codes: Ints, sizes: Sequence[int], states: int, steps: int, prior: float,
    begin: Chain | None = None,
) -> Chain:  # fmt: skip
    """The model that makes the sequences likeliest.

    Parameters
    ----------
    codes
        Shape (n_rows, n_periods, n_observables); -1 = not observed.
    sizes
        Number of codes of each observable.
    steps
        Steps of a stay in each state.
    begin
        Where to begin, such as at what an earlier cutoff taught; a guess of rising activity unless
        given.

    Raises
    ------
    DataError
        If there are fewer different sequences than states.
    """
    from threadpoolctl import threadpool_limits

    taught = Taught.of(codes, sizes)
    if len(taught.codes) < states:
        raise DataError(
            f"{len(codes)} customers show {len(taught.codes)} different sequence(s), fewer than "
            f"{states} states: lower chain.states or bring more customers"
        )
    chain = _guess(taught, states, steps) if begin is None else begin
    with threadpool_limits(1):  # sums over threads differ in their last bits from run to run
        for _ in range(MOST_ROUNDS):
            one, before = _step(chain, taught, prior)
            two, after = _step(one, taught, prior)
            if after - before < ENOUGH * taught.periods:
                chain = two
                break
            chain, leapt = _step(_leap(chain, one, two), taught, prior)
            if not leapt > after:
                chain = two
    active = [
        np.round(chain.buying(chain.midway), 9),
        *(np.round(-e[:, 0], 9) for e in chain.emit),
    ]
    return chain.ordered(np.lexsort([-a for a in active[::-1]]))


@dataclass(frozen=True)
class Taught:
    """Different sequences, how many customers show each, and what is the same in every step."""

    codes: Ints
    weight: Floats
    """Customers, shape (n_rows,)."""
    begun: NDArray[np.bool_]
    shows: tuple[Floats, ...]
    """For each observable 1 where a period shows a code, shape (n_rows * n_periods, n_codes)."""

    @classmethod
    def of(cls, codes: Ints, sizes: Sequence[int]) -> "Taught":
        """Equal sequences taken together, in an order of their own."""
        unique, times = np.unique(codes, axis=0, return_counts=True)
        shows = tuple(
            (unique[..., o].reshape(-1, 1) == np.arange(size)) * 1.0 for o, size in enumerate(sizes)
        )
        return cls(unique, times.astype(np.float64), begun_of(unique >= 0), shows)

    @property
    def periods(self) -> float:
        """Periods of all customers."""
        return float(self.weight @ self.begun.sum(axis=1))


def _guess(taught: Taught, states: int, steps: int) -> Chain:
    """States that tilt everybody's levels to the active and to the silent side."""
    emit, weight = [], np.repeat(taught.weight, taught.begun.shape[1])
    for o, shows in enumerate(taught.shows):
        counts = weight @ shows + 1.0
        level = np.arange(len(counts)) % (len(counts) // (2 if o else 1))
        tilt = np.linspace(TILT, -TILT, states)[:, None] * level
        emit.append(shares(counts * np.exp(tilt - tilt.max(axis=1, keepdims=True)), o))
    over = min(steps / USUAL_STAY, 0.9)
    move = np.full((states, states), over / (states - 1))
    np.fill_diagonal(move, 1.0 - over)
    return Chain(np.full((2, states * steps), 1.0 / (states * steps)), move, tuple(emit))


def _leap(chain: Chain, one: Chain, two: Chain) -> Chain:
    """Further along the way from ``chain`` by ``one`` to ``two``, in logarithms."""
    logs = [
        {name: np.log(np.maximum(p, LEAST)) for name, p in known.arrays().items()}
        for known in (chain, one, two)
    ]
    change = {name: logs[1][name] - logs[0][name] for name in logs[0]}
    bend = {name: logs[2][name] - logs[1][name] - change[name] for name in logs[0]}
    far, near = (sum(float((d**2).sum()) for d in by.values()) for by in (change, bend))
    length = min(max(1.0, np.sqrt(far / near)), FURTHEST) if near > 0 else 1.0
    on = {n: np.exp(logs[0][n] + 2 * length * change[n] + length**2 * bend[n]) for n in logs[0]}
    for name, p in on.items():
        halved = int(name.removeprefix("emit_")) if name.startswith("emit_") else 0
        on[name] = shares(p, halved)
    return Chain.of(on)


def _step(chain: Chain, taught: Taught, prior: float) -> tuple[Chain, float]:
    """One step of expectation and maximisation, and the log-posterior before it."""
    begun, emission = taught.begun, chain.emission(taught.codes)
    found = chain.forward(emission, begun)
    later = np.ones((len(emission), len(chain.onward)))
    weight = taught.weight[:, None] * begun
    start, onward = np.full_like(chain.start, prior), np.zeros_like(chain.onward)
    there, scale = np.empty_like(emission), np.exp(found.loglik)
    for t in reversed(range(begun.shape[1])):
        if t < begun.shape[1] - 1:
            coming = later * emission[:, t + 1] / scale[:, t + 1, None]
            onward += (weight[:, t, None] * found.step[:, t]).T @ coming * chain.onward
            later = coming @ chain.onward.T
        there[:, t] = weight[:, t, None] * found.step[:, t] * later
        start[1 if t == 0 else 0] += (there[:, t] if t == 0 else there[~begun[:, t - 1], t]).sum(
            axis=0
        )
    flat = chain.whole(there).reshape(-1, chain.n_states)
    emit = [shares(flat.T @ shows + prior, o) for o, shows in enumerate(taught.shows)]
    loglik = float(taught.weight @ found.loglik.sum(axis=1)) + prior * sum(
        float(np.log(p).sum()) for p in (chain.start, chain.move, *chain.emit)
    )
    start /= start.sum(axis=1, keepdims=True)
    return Chain(start, _moves(onward, chain.n_states, prior), tuple(emit)), loglik


def _moves(onward: Floats, states: int, prior: float) -> Floats:
    """Moves from expected counts of moves between steps; those of a state are taken together."""
    between = onward.reshape(states, len(onward) // states, states, -1)
    same = np.einsum("sisi->si", between).sum(axis=1) + prior
    leave = between[:, -1, :, 0] + prior
    np.fill_diagonal(leave, 0.0)
    steps = np.einsum("sisj->s", between) - np.einsum("sisi->s", between)
    stay = same / (same + steps + leave.sum(axis=1))
    move: Floats = (1.0 - stay)[:, None] * leave / leave.sum(axis=1, keepdims=True)
    np.fill_diagonal(move, stay)
    return move

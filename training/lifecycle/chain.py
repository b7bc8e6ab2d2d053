"""A hidden Markov model of what customers do period by period: fitted, filtered, explained.

A state gives the level of orders, and whether there was one or not the level of each other
observable, with probabilities of its own; what was not observed says nothing. Fitted by expectation
and maximisation (Baum, L., Petrie, T., Soules, G., Weiss, N. 1970, Annals of Mathematical
Statistics 41; Rabiner, L. 1989, Proceedings of the IEEE 77), with a Dirichlet prior, from equal
sequences taken together: the order of customers cannot matter, and nothing is drawn at random.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from features.errors import DataError
from training.arrays import Arrays
from training.contract import Floats
from training.lifecycle.sequences import Ints, begun_of, shares

MOST_STEPS = 300
ENOUGH = 3e-6
"""Gain of log-likelihood per period at which fitting ends."""
TILT = 2.0
"""How far the first guess sets the most and the least active state apart, in log-odds a level."""


@dataclass(frozen=True)
class Filtered:
    """What is known of each sequence, period by period."""

    state: Floats
    """Probability of each state given all up to the period, shape (n_rows, n_periods, n_states)."""
    loglik: Floats
    """Log-probability of what the period showed given all before it, shape (n_rows, n_periods)."""
    begun: NDArray[np.bool_]


@dataclass(frozen=True)
class Chain:
    """A fitted model; states by falling activity."""

    start: Floats
    """States in the first period, shape (2, n_states): of who is new, of who was known before."""
    move: Floats
    """From state to state in a period, shape (n_states, n_states)."""
    emit: tuple[Floats, ...]
    """For each observable the probability of its codes, shape (n_states, n_codes); see
    :func:`~training.lifecycle.sequences.codes_of`."""

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.move)

    @property
    def dwell(self) -> Floats:
        """Expected periods in each state, once it is entered."""
        dwell: Floats = 1.0 / (1.0 - np.diag(self.move))
        return dwell

    def emission(self, codes: Ints) -> Floats:
        """Probability of what each period shows in each state, (n_rows, n_periods, n_states)."""
        found = np.ones((*codes.shape[:2], self.n_states))
        for o, own in enumerate(self.emit):
            # Not observed is level -1: the last of the row below, which is 1 for every state.
            found *= np.vstack([own.T, np.ones(self.n_states)])[codes[..., o]]
        return found

    def filtered(self, codes: Ints) -> Filtered:
        """Forward through the periods of codes of shape (n_rows, n_periods, n_observables)."""
        return self._forward(self.emission(codes), begun_of(codes >= 0))

    def _forward(self, emission: Floats, begun: NDArray[np.bool_]) -> Filtered:
        state, loglik = np.empty_like(emission), np.empty(begun.shape)
        ahead = np.where(begun[:, :1], self.start[1], self.start[0])
        for t in range(begun.shape[1]):
            if t:
                moved = state[:, t - 1] @ self.move
                ahead = np.where(begun[:, t - 1, None], moved, self.start[0])
            joint = ahead * emission[:, t]
            total = joint.sum(axis=1, keepdims=True)
            state[:, t], loglik[:, t] = joint / total, np.log(total[:, 0])
        return Filtered(state, loglik, begun)

    def following(self, state: Floats) -> Floats:
        """States of the next period from those of the last, shape (n_rows, n_states)."""
        following: Floats = state @ self.move
        return following

    def buying(self, state: Floats) -> Floats:
        """Probability of an order in the next period, shape (n_rows,)."""
        buying: Floats = self.following(state) @ (1.0 - self.emit[0][:, 0])
        return buying

    def evidence(self, codes: Ints, own: Ints, other: Ints) -> tuple[Floats, Floats]:
        """Log-odds of the last state, ``own`` against ``other``: before anything, and what moved.

        Each observation contributes by how much it changed the log-odds of the last period's state
        when it became known, period after period and within a period in the order of observables:
        for the last period this is its log-likelihood ratio. The sum telescopes to the log-odds
        given everything.

        Returns
        -------
        tuple
            Base of shape (n_rows,), contributions of shape (n_rows, n_periods, n_observables).
        """
        n, periods, observables = codes.shape
        rows, begun = np.arange(n), begun_of(codes >= 0)
        onward = [np.eye(self.n_states)]
        for _ in range(periods - 1):
            onward.append(onward[-1] @ self.move)
        # Sequences that begin later than the first period have fewer moves before them.
        first = np.where(begun[:, -1], np.argmax(begun, axis=1), periods - 1)
        known = np.where(begun[:, :1], self.start[1], self.start[0])
        contributions = np.zeros(codes.shape)

        def odds(state: Floats, t: int) -> Floats:
            steps = periods - 1 - np.maximum(first, t)
            last = np.einsum("ns,nsk->nk", state, np.stack(onward)[steps])
            found: Floats = np.log(last[rows, own]) - np.log(last[rows, other])
            return found

        before = base = odds(known, 0)
        for t in range(periods):
            if t:
                known = np.where(begun[:, t - 1, None], known @ self.move, known)
            for o, emit in enumerate(self.emit):
                known = known * np.vstack([emit.T, np.ones(self.n_states)])[codes[:, t, o]]
                known = known / known.sum(axis=1, keepdims=True)
                after = odds(known, t)
                contributions[:, t, o] = after - before
                before = after
        return base, contributions

    def arrays(self) -> Arrays:
        """What :meth:`of` takes."""
        emit = {f"emit_{o}": own for o, own in enumerate(self.emit)}
        return {"start": self.start, "move": self.move, **emit}

    @classmethod
    def of(cls, arrays: Arrays) -> "Chain":
        """Restore what :meth:`arrays` returned."""
        emit = tuple(arrays[f"emit_{o}"] for o in range(len(arrays) - 2))
        return cls(arrays["start"], arrays["move"], emit)

    def ordered(self, places: Ints) -> "Chain":
        """The same model with state ``places[i]`` in place ``i``."""
        emit = tuple(own[places] for own in self.emit)
        return Chain(self.start[:, places], self.move[np.ix_(places, places)], emit)


def fit(codes: Ints, sizes: Sequence[int], states: int, prior: float) -> Chain:
    """The model that makes the sequences likeliest, from a first guess of rising activity.

    Parameters
    ----------
    codes
        Shape (n_rows, n_periods, n_observables); -1 = not observed.
    sizes
        Number of codes of each observable.

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
    chain, last = _guess(taught, states), -np.inf
    with threadpool_limits(1):  # sums over threads differ in their last bits from run to run
        for _ in range(MOST_STEPS):
            chain, loglik = _step(chain, taught, prior)
            if loglik - last < ENOUGH * taught.periods:
                break
            last = loglik
    active = [
        np.round(chain.buying(np.eye(states)), 9),
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


def _guess(taught: Taught, states: int) -> Chain:
    """States that tilt everybody's levels to the active and to the silent side."""
    emit, weight = [], np.repeat(taught.weight, taught.begun.shape[1])
    for o, shows in enumerate(taught.shows):
        counts = weight @ shows + 1.0
        level = np.arange(len(counts)) % (len(counts) // (2 if o else 1))
        tilt = np.linspace(TILT, -TILT, states)[:, None] * level
        emit.append(shares(counts * np.exp(tilt - tilt.max(axis=1, keepdims=True)), o))
    stay = np.full((states, states), 0.2 / (states - 1))
    np.fill_diagonal(stay, 0.8)
    return Chain(np.full((2, states), 1.0 / states), stay, tuple(emit))


def _step(chain: Chain, taught: Taught, prior: float) -> tuple[Chain, float]:
    """One step of expectation and maximisation, and the log-posterior before it."""
    begun, emission = taught.begun, chain.emission(taught.codes)
    found = chain._forward(emission, begun)
    later = np.ones((len(emission), chain.n_states))
    weight = taught.weight[:, None] * begun
    start, move = np.full_like(chain.start, prior), np.full_like(chain.move, prior)
    there, scale = np.empty_like(emission), np.exp(found.loglik)
    for t in reversed(range(begun.shape[1])):
        if t < begun.shape[1] - 1:
            coming = later * emission[:, t + 1] / scale[:, t + 1, None]
            move += (weight[:, t, None] * found.state[:, t]).T @ coming * chain.move
            later = coming @ chain.move.T
        there[:, t] = weight[:, t, None] * found.state[:, t] * later
        start[1 if t == 0 else 0] += (there[:, t] if t == 0 else there[~begun[:, t - 1], t]).sum(
            axis=0
        )
    flat = there.reshape(-1, chain.n_states)
    emit = [shares(flat.T @ shows + prior, o) for o, shows in enumerate(taught.shows)]
    loglik = float(taught.weight @ found.loglik.sum(axis=1)) + prior * sum(
        float(np.log(p).sum()) for p in (chain.start, chain.move, *chain.emit)
    )
    start, move = (part / part.sum(axis=1, keepdims=True) for part in (start, move))
    return Chain(start, move, tuple(emit)), loglik

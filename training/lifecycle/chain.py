"""A hidden semi-Markov model of what customers do period by period: filtered and explained.

A state gives the level of orders, and whether there was one or not the level of each other
observable, with probabilities of its own; what was not observed says nothing. A stay goes through
one or more equal steps that show alike: with one step its length is geometric (a hidden Markov
model), with more it is negative binomial, so that short stays are rarer (Langrock, R., Zucchini, W.
2011, Hidden Markov models with arbitrary state dwell-time distributions, Computational Statistics &
Data Analysis 55). It is fitted by :func:`~training.lifecycle.fitting.fit`.
"""

from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np
from numpy.typing import NDArray

from training.arrays import Arrays
from training.contract import Floats
from training.lifecycle.sequences import Ints, begun_of


@dataclass(frozen=True)
class Filtered:
    """What is known of each sequence, period by period."""

    step: Floats
    """Probability of each step of each state given all up to the period, the steps of a state
    beside each other; shape (n_rows, n_periods, n_states * n_steps)."""
    state: Floats
    """The same of each state, shape (n_rows, n_periods, n_states)."""
    loglik: Floats
    """Log-probability of what the period showed given all before it, shape (n_rows, n_periods)."""
    begun: NDArray[np.bool_]


@dataclass(frozen=True)
class Chain:
    """A fitted model; states by falling activity."""

    start: Floats
    """Steps in the first period, shape (2, n_states * n_steps): of who is new, of who was known
    before."""
    move: Floats
    """From state to state, shape (n_states, n_states): in the diagonal the probability that a
    step lasts another period, beside it where the last step leads when it is over."""
    emit: tuple[Floats, ...]
    """For each observable the probability of its codes, shape (n_states, n_codes); see
    :func:`~training.lifecycle.sequences.codes_of`."""

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.move)

    @property
    def n_steps(self) -> int:
        """Steps of a stay."""
        return int(self.start.shape[1]) // self.n_states

    @property
    def dwell(self) -> Floats:
        """Expected periods in each state, once it is entered."""
        dwell: Floats = self.n_steps / (1.0 - np.diag(self.move))
        return dwell

    def stays(self, most: int) -> Floats:
        """Probability that a stay lasts 1, 2, ..., ``most`` periods, shape (n_states, most)."""
        length, stay = np.arange(1, most + 1), np.diag(self.move)[:, None]
        ways = np.array([comb(d - 1, self.n_steps - 1) for d in length.tolist()], np.float64)
        shape = stay ** np.maximum(length - self.n_steps, 0)
        found: Floats = ways * (1.0 - stay) ** self.n_steps * shape
        return found

    @property
    def midway(self) -> Floats:
        """Steps of a state at any moment of its stays, shape (n_states, n_states * n_steps)."""
        midway: Floats = np.repeat(np.eye(self.n_states), self.n_steps, axis=1) / self.n_steps
        return midway

    @cached_property
    def onward(self) -> Floats:
        """From step to step in a period, shape (n_states * n_steps, n_states * n_steps)."""
        stay, steps = np.diag(np.diag(self.move)), self.n_steps
        last = np.zeros((steps, steps))
        last[-1, 0] = 1.0
        over = np.eye(self.n_states) - stay
        onward: Floats = (
            np.kron(stay, np.eye(steps)) + np.kron(over, np.eye(steps, k=1))
            + np.kron(self.move - stay, last)
        )  # fmt: skip
        return onward

    def whole(self, step: Floats) -> Floats:
        """Probabilities of states from those of their steps, in the last dimension."""
        whole: Floats = step.reshape(*step.shape[:-1], self.n_states, -1).sum(axis=-1)
        return whole

    def emission(self, codes: Ints) -> Floats:
        """Probability of what each period shows in each step, (n_rows, n_periods, all steps)."""
        found = np.ones((*codes.shape[:2], self.n_states))
        for o, own in enumerate(self.emit):
            # Not observed is level -1: the last of the row below, which is 1 for every state.
            found *= np.vstack([own.T, np.ones(self.n_states)])[codes[..., o]]
        return np.repeat(found, self.n_steps, axis=2)

    def filtered(self, codes: Ints) -> Filtered:
        """Forward through the periods of codes of shape (n_rows, n_periods, n_observables)."""
        return self.forward(self.emission(codes), begun_of(codes >= 0))

    def forward(self, emission: Floats, begun: NDArray[np.bool_]) -> Filtered:
        """The same from what :meth:`emission` gives, and where each sequence has begun."""
        step, loglik = np.empty_like(emission), np.empty(begun.shape)
        ahead, one = np.where(begun[:, :1], self.start[1], self.start[0]), np.ones(len(self.onward))
        for t in range(begun.shape[1]):
            if t:
                moved = step[:, t - 1] @ self.onward
                ahead = np.where(begun[:, t - 1, None], moved, self.start[0])
            joint = ahead * emission[:, t]
            total = joint @ one  # a product is several times as fast as a sum of short rows
            step[:, t], loglik[:, t] = joint / total[:, None], np.log(total)
        return Filtered(step, self.whole(step), loglik, begun)

    def following(self, step: Floats) -> Floats:
        """States of the next period from the steps of the last, shape (n_rows, n_states)."""
        return self.whole(step @ self.onward)

    def buying(self, step: Floats) -> Floats:
        """Probability of an order in the next period, shape (n_rows,)."""
        buying: Floats = self.following(step) @ (1.0 - self.emit[0][:, 0])
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
        onward = [np.eye(len(self.onward))]
        for _ in range(periods - 1):
            onward.append(onward[-1] @ self.onward)
        # Sequences that begin later than the first period have fewer moves before them.
        first = np.where(begun[:, -1], np.argmax(begun, axis=1), periods - 1)
        known = np.where(begun[:, :1], self.start[1], self.start[0])
        contributions = np.zeros(codes.shape)

        def odds(step: Floats, t: int) -> Floats:
            left = periods - 1 - np.maximum(first, t)
            last = self.whole(np.einsum("ns,nsk->nk", step, np.stack(onward)[left]))
            found: Floats = np.log(last[rows, own]) - np.log(last[rows, other])
            return found

        before = base = odds(known, 0)
        for t in range(periods):
            if t:
                known = np.where(begun[:, t - 1, None], known @ self.onward, known)
            for o, emit in enumerate(self.emit):
                shown = np.vstack([emit.T, np.ones(self.n_states)])[codes[:, t, o]]
                known = known * np.repeat(shown, self.n_steps, axis=1)
                known = known / known.sum(axis=1, keepdims=True)
                after = odds(known, t)
                # Exactly nothing where nothing was observed, whatever was rounded.
                contributions[:, t, o] = np.where(codes[:, t, o] >= 0, after - before, 0.0)
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
        start = self.start.reshape(2, self.n_states, -1)[:, places].reshape(2, -1)
        return Chain(start, self.move[np.ix_(places, places)], emit)

"""Names and sentences of states and stages, made from what was learned."""

from collections.abc import Mapping, Sequence

import numpy as np

from training.contract import Floats
from training.lifecycle.chain import Chain

BUYING = (
    (0.75, "buys nearly every period"),
    (0.4, "buys often"),
    (0.15, "buys now and then"),
    (0.04, "buys rarely"),
    (0.0, "buys nothing"),
)
"""Probability of an order in a period from which on a state is called so."""
USUAL, SELDOM = 0.5, 0.15
"""Probabilities of anything else in a period from and up to which a state is with or without it."""
ARRIVED = "just arrived"
"""A state in which most customers begin, and in which nobody stays."""
LONG, SHORT = 12.0, 2.0
"""Expected periods in a state from and up to which it lasts, or passes."""


def names(chain: Chain, observe: Sequence[str]) -> list[str]:
    """A different name for each state: how often it buys; where others buy alike, more of it."""
    some = [1.0 - own[:, 0] for own in chain.emit]  # of all but orders: where there was no order
    said = [[next(name for least, name in BUYING if p >= least)] for p in some[0]]
    for s in np.flatnonzero(
        (chain.whole(chain.start[0]) >= USUAL) & (chain.dwell <= SHORT)
    ).tolist():
        said[s] = [ARRIVED]
    more = [_others(own, name) for own, name in zip(some[1:], observe[1:], strict=True)]
    for words in (*more, _lasting(chain.dwell)):
        whole = [", ".join(name) for name in said]
        for s, word in enumerate(words):
            if word and whole.count(whole[s]) > 1:
                said[s].append(word)
    made = [", ".join(name) for name in said]
    return [
        f"{name} {made[: s + 1].count(name)}" if made.count(name) > 1 else name
        for s, name in enumerate(made)
    ]


def _others(some: Floats, name: str) -> list[str]:
    return [f"{name}" if p >= USUAL else f"no {name}" if p <= SELDOM else f"some {name}"
            for p in some]  # fmt: skip


def _lasting(dwell: Floats) -> list[str]:
    return ["for long" if d >= LONG else "in passing" if d <= SHORT else "" for d in dwell]


def sentence(name: str, facts: Mapping[str, float], period_days: int) -> str:
    """A state in words and numbers."""
    return (
        f"{name}: {facts['share']:.0%} of customers, stays {facts['dwell']:.1f} periods of "
        f"{period_days} days, {facts['buying']:.0%} order in the next one"
    )

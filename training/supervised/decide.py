"""What decisions by an answer are worth: whom to contact, at which profit.

A contact costs ``contact_cost``; whoever would have stayed takes the offer, at ``offer_cost``; of
those about to leave a share ``g`` takes it and stays, worth ``value``. The share is not known, only
its distribution Beta(alpha, beta). Verbraken, Verbeke and Baesens (2013), "A novel profit
maximizing metric for measuring classification performance of customer churn prediction models",
after the profit of Verbeke et al. (2012).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from scipy.special import betainc

from features.settings import Strict
from training.contract import Floats

POINTS = 200
"""Points of a drawn curve."""


class Accept(Strict):
    """Beta distribution of the share of those about to leave who take the offer and stay."""

    alpha: float = Field(default=6.0, gt=0)
    beta: float = Field(default=14.0, gt=0)

    @property
    def mean(self) -> float:
        """Expected share."""
        return self.alpha / (self.alpha + self.beta)


class DecideConfig(Strict):
    """Costs and worth of a contact, in the source's currency."""

    value: float = Field(gt=0)
    """What a customer who stays is worth."""
    contact_cost: float = Field(ge=0)
    offer_cost: float = Field(ge=0)
    accept: Accept = Accept()
    capacity: int | None = Field(default=None, ge=1)
    """Contacts that can be made; None: as many as pay."""

    @model_validator(mode="after")
    def _pays(self) -> "DecideConfig":
        if self.accept.mean * (self.value - self.offer_cost) <= self.contact_cost:
            raise ValueError(
                "a contact never pays: the expected share that accepts, times value less "
                "offer_cost, must be above contact_cost"
            )
        return self

    @property
    def threshold(self) -> float:
        """Probability from which a contact pays at the expected share.

        ``p (g (value - offer) - contact) > (1 - p) (offer + contact)`` solved for ``p``.
        """
        wasted = self.offer_cost + self.contact_cost
        return wasted / (self.accept.mean * (self.value - self.offer_cost) + self.offer_cost)

    def profit(self, p: Floats) -> Floats:
        """Expected profit of contacting customers with these probabilities, same shape."""
        won = self.accept.mean * (self.value - self.offer_cost) - self.contact_cost
        return p * won - (1.0 - p) * (self.offer_cost + self.contact_cost)


def curve(config: DecideConfig, y: Floats, p: Floats) -> pd.DataFrame:
    """Share of customers contacted from the highest answer down, and profit per customer.

    ``profit`` by the labels, ``expected`` by the answers; both at the expected share that accepts.
    """
    order = np.argsort(-p, kind="stable")
    found, told = np.cumsum(config.profit(y[order])), np.cumsum(config.profit(p[order]))
    at = np.unique(np.linspace(0, len(y), POINTS + 1).astype(int))
    return pd.DataFrame({
        "contacted": at / len(y),
        "profit": np.append(0.0, found)[at] / len(y),
        "expected": np.append(0.0, told)[at] / len(y),
    })  # fmt: skip


def emp(config: DecideConfig, y: Floats, p: Floats) -> tuple[float, float]:
    """Expected maximum profit per customer, and the expected share contacted for it.

    For each share ``g`` the best cut is a corner of the ROC curve's convex hull, the same one
    between two values of ``g``; so the integral over Beta is a sum of its incomplete moments.
    """
    rate = float(y.mean())
    true, false = _hull(y, p)
    won = (config.value - config.offer_cost) * rate * true
    spent = config.contact_cost * rate * true
    spent = spent + (config.offer_cost + config.contact_cost) * (1.0 - rate) * false
    # Corner k is best for g between edges k and k + 1, where its line meets its neighbours'.
    edges = np.concatenate([[0.0], np.clip(np.diff(spent) / np.diff(won), 0.0, 1.0), [1.0]])
    a, b = config.accept.alpha, config.accept.beta
    mass = np.diff(betainc(a, b, edges))
    moment = config.accept.mean * np.diff(betainc(a + 1.0, b, edges))
    contacted = rate * true + (1.0 - rate) * false
    return float((won * moment - spent * mass).sum()), float((contacted * mass).sum())


def _hull(y: Floats, p: Floats) -> tuple[Floats, Floats]:
    """Corners of the ROC curve's convex hull from (0, 0) on: shares found, true and false."""
    order = np.argsort(-p, kind="stable")
    last = np.flatnonzero(np.append(np.diff(p[order]) != 0, True))
    true = np.append(0.0, np.cumsum(y[order])[last] / y.sum())
    false = np.append(0.0, np.cumsum(1.0 - y[order])[last] / (1.0 - y).sum())
    kept: list[int] = []
    for k in range(len(true)):
        while len(kept) > 1:
            i, j = kept[-2:]
            turn = (true[j] - true[i]) * (false[k] - false[i])
            if turn > (true[k] - true[i]) * (false[j] - false[i]):
                break
            kept.pop()
        kept.append(k)
    # Beyond the top of the curve nobody is won any more.
    corners = [k for n, k in enumerate(kept) if n == 0 or true[k] > true[kept[n - 1]]]
    return true[corners], false[corners]


def table(config: DecideConfig, y: Floats, answers: Mapping[str, Floats]) -> pd.DataFrame:
    """Each answer: EMP, the share contacted for it, and what the fixed threshold would bring."""
    lines = []
    for name, p in answers.items():
        best, share = emp(config, y, p)
        named = p >= config.threshold
        if config.capacity is not None:
            named &= np.argsort(np.argsort(-p, kind="stable")) < config.capacity
        lines.append({
            "answer": name, "expected_maximum_profit": best, "contacted_for_it": share,
            "contacted_at_threshold": float(named.mean()),
            "profit_at_threshold": float(config.profit(y[named]).sum() / len(y)),
        })  # fmt: skip
    return pd.DataFrame(lines)

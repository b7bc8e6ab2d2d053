"""A simple blend: own habits beside EASE, each scaled to a customer's best score."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from features.settings import Strict
from training.contract import Floats
from training.recommend.histories import Histories
from training.recommend.makers import Shop
from training.recommend.makers.ease import Ease, EaseConfig
from training.recommend.makers.personal import Decayed, DecayedConfig


class BlendConfig(Strict):
    """Both settings, and how they are mixed."""

    own_share: float = Field(default=0.7, ge=0, le=1)
    own: DecayedConfig = DecayedConfig(popularity=0.001)
    ease: EaseConfig = EaseConfig()


class Blend:
    """``own_share * decayed + (1 - own_share) * EASE``: what a ranker has to beat."""

    config: BlendConfig

    def __init__(self, config: BlendConfig) -> None:
        self.config = config
        self._own, self._ease = Decayed(config.own), Ease(config.ease)

    def fit(self, past: Histories, shop: Shop) -> None:
        """Fit both."""
        self._own.fit(past, shop)
        self._ease.fit(past, shop)

    def score(self, past: Histories) -> Floats:
        """The weighted sum."""
        share = self.config.own_share
        own, ease = self._own.score(past), self._ease.score(past)
        return share * own / _best(own) + (1 - share) * ease / _best(ease)

    def save(self) -> dict[str, NDArray[Any]]:
        """Arrays of both."""
        return self._own.save() | self._ease.save()

    def load(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Restore what :meth:`save` gave."""
        self._own.load(arrays)
        self._ease.load(arrays)


def _best(scores: Floats) -> Floats:
    return np.asarray(np.maximum(scores.max(axis=1, keepdims=True), 1e-12))

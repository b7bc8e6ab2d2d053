"""The first stage as of one moment: demand, fitted makers, and the candidates they name."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from features.errors import ConfigError
from features.settings import Part, Strict, resolve
from training.recommend.catalogue import Attributes, Demand, demand
from training.recommend.choose import choose
from training.recommend.histories import Histories
from training.recommend.makers import HOME, Shippable, Shop
from training.recommend.pairs import Candidates, columns, describe
from training.recommend.scores import Scores, Summed, Written

CELLS = 5_000_000
"""Customers of a shard times items are no more: each maker scores them all."""


class ShelfConfig(Strict):
    """How candidates are found."""

    each: int = Field(default=40, ge=1)
    """Items that each maker names, once of all items and once of those never bought."""
    bought: int = Field(default=120, ge=0)
    """At most so many items bought before."""
    stale_days: int = Field(default=365, ge=1)
    """Items that nobody bought for so long are not offered."""
    unsold: bool = False
    """Items that the source describes and nobody bought yet are offered, too; only what they are
    like speaks for them."""
    shard: int = Field(default=256, ge=1)
    """Customers that are worked on together, fewer of a large catalogue: bounds memory."""


class Shelf:
    """Items as they are known at a moment, and makers fitted to everyone's past before it."""

    def __init__(
        self, config: ShelfConfig, horizon_days: int, makers: Mapping[str, Shippable]
    ) -> None:
        self.config = config
        self.horizon_days = horizon_days
        self.makers = dict(makers)
        self.attributes: Attributes
        self.demand: Demand

    def fit(self, past: Histories, attributes: Attributes, segment: Sequence[str] = ()) -> "Shelf":
        """Count demand and fit every maker; ``segment`` is each customer's, "" = unknown."""
        self.attributes = attributes
        self.demand = demand(past, self.horizon_days, segment)
        for maker in self.makers.values():
            maker.fit(past, self.shop)
        return self

    @property
    def shop(self) -> Shop:
        """What makers may know of the items."""
        return Shop(self.attributes, self.demand, self.horizon_days, self.offered)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the candidates' rows."""
        return columns(list(self.makers))

    @property
    def offered(self) -> np.ndarray:
        """Which items may be listed: sold before the moment, and not too long ago."""
        last = np.nan_to_num(self.demand.last_days, nan=np.inf)
        lately = self.demand.sold & (last <= self.config.stale_days)
        return lately | ~self.demand.sold if self.config.unsold else lately

    @property
    def shard(self) -> int:
        """How many customers are worked on together."""
        return max(1, min(self.config.shard, CELLS // max(len(self.attributes.products), 1)))

    def scores(self, past: Histories) -> dict[str, Scores]:
        """What each maker says of every item."""
        return {
            name: maker.sums(past) if isinstance(maker, Summed) else Written(maker.score(past))
            for name, maker in self.makers.items()
        }

    def candidates(self, past: Histories, also: np.ndarray | None = None) -> Candidates:
        """The pairs worth ranking with their rows; for one shard of customers.

        ``also``: further items that are looked at if they are offered, boolean (n_items,).
        """
        scores = self.scores(past)
        chosen = choose(past, scores, self.offered, self.config.each, self.config.bought)
        if also is not None:
            chosen |= also & self.offered
        return describe(
            past, scores, chosen, self.demand, self.attributes, self.horizon_days
        )  # fmt: skip


def by_name(parts: Sequence[Part]) -> dict[str, Part]:
    """Parts of a YAML by the name of what they use: the class in lower case."""
    return {part.use.rpartition(".")[2].lower(): part for part in parts}


def named_makers(parts: Sequence[Part]) -> dict[str, Shippable]:
    """The makers that parts of a YAML describe, by name.

    Raises
    ------
    ConfigError
        If one keeps customers.
    """
    made = {name: resolve(HOME, part) for name, part in by_name(parts).items()}
    kept = [name for name, maker in made.items() if not isinstance(maker, Shippable)]
    if kept:
        raise ConfigError(
            f"makers {kept} keep customers, and a bundle holds none; list them under baselines"
        )
    return made

"""What a customer is worth: chance, typical spend and interval, lifetime value, tier."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import expit

from features.errors import ConfigError
from features.settings import Strict
from training.contract import Floats, Model
from training.details import Detail, Factor, Factors, Season, Unseen
from training.details.spread import Spread, recentred

FILE = "value.json"
TIERS = ("high", "medium", "low")
LEAST = 1e-9
"""What no factor is below before its logarithm is taken."""


class ValueConfig(Strict):
    """Windows, what money is worth later, what of it is kept, and who counts as valuable."""

    horizon_days: int = Field(ge=1)
    """The task's."""
    windows_days: tuple[int, ...] = Field(default=(90, 365, 1095, 1825), min_length=1)
    """Windows of lifetime value, rising, none below the horizon."""
    yearly_discount: float = Field(default=0.1, ge=0, le=1)
    """At 0.1 an amount in a year is worth 1 / 1.1 of one today."""
    gross_margin: float = Field(default=1.0, gt=0, le=1)
    """Share of spend that is left after the goods are paid for."""
    cost_of_service: float = Field(default=0.0, ge=0, lt=1)
    """Share of spend that service costs; less than the margin."""
    coverage: float = Field(default=0.8, gt=0, lt=1)
    """Share of intervals that hold what comes."""
    tier_days: int = 365
    """The window that tiers are made by."""
    tier_shares: tuple[float, float] = (0.2, 0.3)
    """Shares of customers that were high and medium at the latest validation cutoff."""
    planned: dict[str, float] = {}
    """Cohort, such as 2024Q3 for those who first ordered then -> planned spend of the horizon."""
    churn_model: str = "churn"
    """Registered model that value is held against, if a version of it is approved."""
    spent: str = "orders__spend_total"
    """The column with what was spent so far."""

    @model_validator(mode="after")
    def _fits(self) -> "ValueConfig":
        windows = self.windows_days
        if list(windows) != sorted(set(windows)) or windows[0] < self.horizon_days:
            raise ValueError(
                f"windows_days: {list(windows)}: expected rising days, none below the horizon of "
                f"{self.horizon_days}"
            )
        if windows[-1] > 3650:
            raise ValueError("windows_days: beyond ten years nothing is known; at most 3650")
        if self.tier_days not in windows:
            raise ValueError(f"tier_days: {self.tier_days} is none of windows_days {list(windows)}")
        if self.cost_of_service >= self.gross_margin:
            raise ValueError("cost_of_service: as much as the margin or more, nobody is worth it")
        if not (min(self.tier_shares) > 0 and sum(self.tier_shares) < 1):
            raise ValueError("tier_shares: expected two shares above 0 that leave some for low")
        return self

    @property
    def kept(self) -> float:
        """Share of spend that is value."""
        return self.gross_margin - self.cost_of_service


class CustomerValue:
    """Lifetime value over windows that hang together, and how sure it is.

    Within the horizon the answer counts, discounted as the published model spreads its orders.
    After it the answer's level *without the season* goes on by the curve of the published model
    (expected orders of a customer who is alive, discounted), so that windows never fall:

        clv(w) = kept * (answer * D(h) + level * (D(w) - D(h))) / E(h).

    The model has to tell ``odds`` of any amount and to hold the ``published`` one.
    """

    config: ValueConfig

    def __init__(self, config: ValueConfig) -> None:
        self.config = config
        self._spread = Spread(1.0, config.coverage)
        self._shift = 0.0
        self._tiers: list[float] = [0.0, 0.0]
        self._usual: dict[str, float] = {}
        self._centres: dict[str, list[float]] = {}

    @property
    def cutoffs(self) -> tuple[float, float]:
        """Values from which a customer is high and medium."""
        high, medium = self._tiers
        return high, medium

    @property
    def declared(self) -> tuple[Detail, ...]:
        """Within the horizon, then the published model's parts, lifetime values, tier."""
        c, h = self.config, self.config.horizon_days
        sure = f"{c.coverage:.0%}"
        clv = (
            f"spend in the next {{}} days less cost, at {c.kept:.0%} of it, "
            f"discounted by {c.yearly_discount:.0%} a year"
        )
        return (
            _number(f"chance_next_{h}d", "probability", f"chance of any spend in {h} days"),
            _number(f"typical_next_{h}d", "currency", f"median spend in {h} days"),
            _number(f"lower_next_{h}d", "currency", f"lower end of the {sure} interval of spend"),
            _number(f"upper_next_{h}d", "currency", f"upper end of the {sure} interval of spend"),
            _number("p_alive", "probability", "chance to be still a customer, by the history"),
            _number(f"orders_next_{h}d", "orders", f"expected orders in {h} days, by the history"),
            _number("order_value", "currency", "expected value of an order, by the history"),
            *(_number(f"clv_next_{w}d", "currency", clv.format(w)) for w in c.windows_days),
            _number("historic_value", "currency", f"spend so far at {c.kept:.0%} of it"),
            _number(
                "total_value", "currency", f"historic_value and clv_next_{c.tier_days}d together"
            ),
            Detail(
                name="value_tier", unit="tier", dtype="string",
                meaning=f"high, medium or low by clv_next_{c.tier_days}d",
            ),
        )  # fmt: skip

    def problems(self, model: Model) -> list[str]:
        """Why ``model`` cannot tell them."""
        lacking = [name for name in ("odds", "published") if not hasattr(model, name)]
        if lacking:
            return [f"{type(model).__name__} has no {', '.join(lacking)}; take hybrid.Hybrid"]
        given: Any = model
        horizon = given.published.config.horizon_days
        if horizon != self.config.horizon_days:
            return [
                f"the published model looks {horizon:g} days ahead, the task "
                f"{self.config.horizon_days}: set model.config.published.horizon_days"
            ]
        return []

    def fit(self, blocks: Sequence[Unseen], season: Season | None) -> None:
        """The spread from all blocks as they are answered; tiers and the usual from the last.

        Where answers heed a season, so do those to a block that has a year before it: intervals
        make up for what a season foretells amiss. Any other block is taken at its own level.
        """
        y = np.concatenate([block.y for block in blocks])
        answers = [_answered(block, season is not None) for block in blocks]
        mean, chance = (np.concatenate(part) for part in zip(*answers, strict=True))
        self._spread = Spread.fit(y, mean, chance, self.config.coverage)
        if season is not None:
            self._shift = season.shift(_odds, _any)
        last = blocks[-1]
        level, _ = _answered(last, in_season=False)
        values = self._lifetime(last.model, last.X, level, level)[self.config.tier_days]
        high, medium = self.config.tier_shares
        self._tiers = np.quantile(values, [1 - high, 1 - high - medium]).tolist()
        told = self._told(last.model, last.X, values)
        self._usual = {
            name: float(np.exp(np.log(np.maximum(value, LEAST)).mean()))
            for name, (_, value) in told.items()
        }
        made = self._by_column(last.model, last.X)
        self._centres = {name: moved.mean(axis=0).tolist() for name, moved in made.items()}

    def of(
        self, model: Model, X: Floats, answers: Floats, level: Floats
    ) -> Mapping[str, NDArray[Any]]:
        """The declared columns, each of shape (n_rows,)."""
        given: Any = model
        chance = expit(given.odds(X) + self._shift)
        lower, upper = self._spread.interval(answers, chance)
        published = given.published.parts(X)
        lifetime = self._lifetime(model, X, answers, level)
        historic = self._spent(model, X) * self.config.kept
        value = lifetime[self.config.tier_days]
        place = np.searchsorted(-np.asarray(self._tiers), -value, side="left")
        columns = [
            chance,
            self._spread.quantile(0.5, answers, chance),
            lower,
            upper,
            published["alive"],
            published["alive"] * published["orders"],
            published["value"],
            *lifetime.values(),
            historic,
            historic + value,
            np.asarray(TIERS)[place],
        ]
        return dict(zip([d.name for d in self.declared], columns, strict=True))

    def _spent(self, model: Model, X: Floats) -> Floats:
        if self.config.spent not in model.columns:
            raise ConfigError(f"value: no feature {self.config.spent!r}; add its set to features")
        return np.nan_to_num(X[:, model.columns.index(self.config.spent)], nan=0.0)

    def _lifetime(
        self, model: Model, X: Floats, answers: Floats, level: Floats
    ) -> dict[int, Floats]:
        """Window -> value, each of shape (n_rows,)."""
        c, published = self.config, model.published  # type: ignore[attr-defined]
        orders = published.discounted_orders(X, c.horizon_days, 0.0)
        curve = [
            published.discounted_orders(X, days, c.yearly_discount)
            for days in (c.horizon_days, *c.windows_days)
        ]
        first, *longer = np.maximum.accumulate(curve)  # quadratures, whose last bits may fall
        return {
            days: c.kept * (answers * first + level * (until - first)) / orders
            for days, until in zip(c.windows_days, longer, strict=True)
        }

    def _told(self, model: Model, X: Floats, value: Floats) -> dict[str, tuple[str, Floats]]:
        """Factor -> its meaning and values: their product is the value."""
        c, published = self.config, model.published  # type: ignore[attr-defined]
        parts = published.parts(X)
        alive = np.maximum(parts["alive"], LEAST)
        orders = published.discounted_orders(X, c.tier_days, c.yearly_discount)
        kept = np.full(len(X), c.kept)
        beyond = value / (alive * orders * parts["value"] * kept)
        return {
            "alive": ("chance to be still a customer", alive),
            "orders": (f"orders of the next {c.tier_days} days if so", orders),
            "order_value": ("value of an order", parts["value"]),
            "margin": ("share of it that is kept", kept),
            "learned": ("what all features and labels say beyond these", beyond),
        }

    def factors(self, model: Model, X: Floats, answers: Floats, level: Floats) -> Factors:
        """Alive x orders x order value x margin x what was learned beyond them.

        Against the usual customer of the latest validation cutoff, whose factors are the geometric
        means. The contributions, log(factor / usual factor) times the logarithmic mean of both
        values, add up to their difference without a rest: LMDI-I of Ang (2004), "Decomposition
        analysis for policymaking in energy", Energy Policy 32(9), equation 5. It is the
        Aumann-Shapley value of the product along the straight way of logarithms.

        The logarithm of a factor is in turn a sum over columns (Shapley values of the published
        parts; what TreeSHAP adds to those for what was learned), of which the usual customer has
        the means: each column's share of the contribution is its distance from its mean.
        """
        value = self._lifetime(model, X, answers, level)[self.config.tier_days]
        told = self._told(model, X, value)
        usual = float(np.prod(list(self._usual.values())))
        scale = logarithmic_mean(value, usual)
        made = self._by_column(model, X)
        found = tuple(
            Factor(
                name, meaning, v, self._usual[name], scale * np.log(v / self._usual[name]),
                scale[:, None] * (made[name] - np.array(self._centres[name])),
            )
            for name, (meaning, v) in told.items()
        )  # fmt: skip
        return Factors(f"clv_next_{self.config.tier_days}d", usual, found)

    def _by_column(self, model: Model, X: Floats) -> dict[str, Floats]:
        """Factor -> what each column adds to its logarithm, shape (n_rows, n_features)."""
        c, published = self.config, model.published  # type: ignore[attr-defined]
        parts = published.explained_parts(X, c.tier_days, c.yearly_discount)
        learned = model.explain(X).contributions - published.explain(X).contributions
        return {
            "alive": parts["alive"],
            "orders": parts["orders"],
            "order_value": parts["value"],
            "margin": np.zeros_like(X),
            "learned": learned,
        }

    def save(self) -> dict[str, bytes]:
        """One JSON file."""
        record = {
            "sigma": self._spread.sigma, "level": self._spread.level, "shift": self._shift,
            "tiers": self._tiers, "usual": self._usual, "centres": self._centres,
        }  # fmt: skip
        return {FILE: json.dumps(record).encode()}

    def load(self, files: Mapping[str, bytes]) -> None:
        """Restore from verified bytes."""
        record = json.loads(files[FILE])
        self._spread = Spread(record["sigma"], record["level"])
        self._shift, self._tiers = record["shift"], record["tiers"]
        self._usual, self._centres = record["usual"], record["centres"]


def _answered(block: Unseen, in_season: bool) -> tuple[Floats, Floats]:
    """Means and chances of a block: as the season foretold them, or at its own level."""
    scores, odds = block.model.score(block.X), _odds(block.model, block.X)
    if not in_season or block.season is None:
        return recentred(block.y, scores, odds)
    mean = np.exp(scores + block.season.shift_of_scores("amount"))
    return mean, expit(odds + block.season.shift(_odds, _any))


def _any(rows: Unseen) -> Floats:
    """1 where there was any amount, else 0."""
    return (rows.y > 0).astype(np.float64)


def _odds(model: Model, X: Floats) -> Floats:
    """Log-odds of any amount."""
    given: Any = model
    odds: Floats = given.odds(X)
    return odds


def logarithmic_mean(a: Floats, b: float) -> Floats:
    """(a - b) / log(a / b), and a where they are equal."""
    log = np.log(a / b)
    near = np.abs(log) < 1e-4  # there by its series, in which nothing cancels
    series = np.sqrt(a * b) * (1.0 + log**2 / 24.0)
    found: Floats = np.where(near, series, (a - b) / np.where(near, 1.0, log))
    return found


def _number(name: str, unit: str, meaning: str) -> Detail:
    return Detail(name=name, unit=unit, meaning=meaning)

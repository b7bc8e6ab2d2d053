"""What an answer tells of a customer's value: models, spread, windows, factors, bundle."""

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.errors import ConfigError, DataError
from features.settings import Part, validated
from tests.training.samples import SPENT, declared, spenders
from tests.worlds import BEGAN, DAY, line, tables, world
from training import bundle as bundles
from training.calibrate import Calibrator
from training.contract import Floats, matrix
from training.details import Season, Unseen, column_sentences, factor_sentence
from training.details.spread import LIKELY, Spread, recentred
from training.details.value import CustomerValue, ValueConfig, _answered, logarithmic_mean
from training.model_part import ModelPart
from training.models import purchases
from training.models.hybrid import Hybrid, HybridConfig
from training.models.published_value import PublishedValue, PublishedValueConfig
from training.models.shapley import shapley
from training.models.two_part import TwoPart, TwoPartConfig
from training.supervised.bundle import Answer, Bundle, parse, write
from training.supervised.value_coherence import Churn, beside_churn, contradictions, section
from training.tasks.clv import Clv, ClvConfig

WINDOWS = (90, 365, 1095, 1825)
AMOUNTS = st.floats(1e-6, 1e6)


def model(weight: float = 0.4) -> Hybrid:
    """A stack that has learned nothing yet."""
    return Hybrid(HybridConfig(trees=40, learning_rate=0.1, weight=weight))


@cache
def taught() -> tuple[Hybrid, Floats, Floats]:
    """A fitted stack, rows that it has not seen, and their amounts."""
    X, y, _ = spenders(800, seed=1)
    made = model()
    made.fit(X, y, weight=None, seed=0)
    unseen, amounts, _ = spenders(700, seed=2)
    return made, matrix(unseen, made.columns), amounts


@cache
def valued() -> CustomerValue:
    """Details that have learned from one block."""
    made, X, y = taught()
    found = CustomerValue(
        ValueConfig(horizon_days=90, gross_margin=0.4, cost_of_service=0.1, spent=SPENT)
    )
    found.fit([Unseen(made, X, y)], None)
    return found


def told() -> tuple[dict[str, Any], Floats]:
    """Its columns for the unseen rows, and the answers."""
    made, X, _ = taught()
    answers = np.exp(made.score(X))
    return dict(valued().of(made, X, 1.5 * answers, answers)), answers


def test_shapley_shares_out_what_a_function_gains() -> None:
    """Sums are exact, an input that does nothing gets nothing, equals get equal shares."""
    rng = np.random.default_rng(0)
    a, b, idle = rng.normal(size=(3, 50))
    base, (one, two, none) = shapley(lambda a, b, _: a * b + a + b, (a, b, idle), (0.3, 0.3, 0.1))
    assert np.allclose(base + one + two + none, a * b + a + b)
    assert np.abs(none).max() == 0.0
    _, (first, second, _) = shapley(lambda a, b, _: a * b + a + b, (a, a, idle), (0.3, 0.3, 0.1))
    assert np.allclose(first, second)


def test_wholesale_buyers_are_left_out_by_the_past_alone() -> None:
    """One large order before the cutoff is enough; one after it, or many small ones, are not."""
    day = BEGAN + 10 * DAY
    lines = [
        line(1, day, "a", 5_000_00),
        line(2, day, "b", 400_00),
        line(2, day + DAY, "c", 400_00),
        line(3, day, "d", 100_00),
        line(3, day + 40 * DAY, "e", 5_000_00),
    ]
    with_rule, without = (Clv(ClvConfig(wholesale_order=order)) for order in (500.0, None))
    opened = tables(world(lines))
    for task, asked in ((with_rule, {2, 3}), (without, {1, 2, 3})):
        spine = task.spine(opened.asof([day + 20 * DAY]))
        found = opened.backend.to_pyarrow(spine).to_pydict()[c.CUSTOMER]
        assert set(found) == asked
    opened.backend.disconnect()


def test_two_parts_multiply_to_the_expected_amount() -> None:
    """The score is the logarithm of chance times lognormal mean; its odds rank who buys."""
    X, y, _ = spenders(800, seed=1)
    made = TwoPart(TwoPartConfig(trees=40, learning_rate=0.1))
    made.fit(X, y, weight=None, seed=0)
    rows = matrix(X, made.columns)
    chance = 1.0 / (1.0 + np.exp(-made.odds(rows)))
    amount = made._amount.score(rows)
    expected = chance * np.exp(amount + made._spread**2 / 2)
    assert np.allclose(np.exp(made.score(rows)), expected)
    assert abs(chance.mean() - (y > 0).mean()) < 0.02
    assert np.exp(made.score(rows)).sum() == pytest.approx(y.sum(), rel=0.25)


def test_the_chance_is_credited_as_along_the_straight_way() -> None:
    """Secant shares equal the integral of gradient times contribution, by many small steps."""
    X, y, _ = spenders(400, seed=1)
    made = TwoPart(TwoPartConfig(trees=30, learning_rate=0.1))
    made.fit(X, y, weight=None, seed=0)
    rows = matrix(X, made.columns)[:40]
    chance, amount = made._buys.explain(rows), made._amount.explain(rows)
    steps = (np.arange(4_000) + 0.5) / 4_000
    way = chance.scores - chance.base
    slope = (1.0 / (1.0 + np.exp(chance.base[:, None] + way[:, None] * steps))).mean(axis=1)
    by_steps = slope[:, None] * chance.contributions + amount.contributions
    assert np.abs(made.explain(rows).contributions - by_steps).max() < 1e-6


@pytest.mark.parametrize("process", ["bgnbd", "mbgnbd", "pareto"])
def test_published_value_is_the_published_models_product(process: Any) -> None:
    """Its score is what the models of the purchases package say, multiplied."""
    X, y, _ = spenders(400, seed=1)
    made = PublishedValue(PublishedValueConfig(process=process))
    made.fit(X, y)
    rows = matrix(X, made.columns)
    recency, x, T = (
        X[f"rfm__{n}"].to_numpy() for n in ("recency_days", "frequency_orders", "T_days")
    )
    histories = purchases.Histories(x, np.where(x > 0, T - recency, 0.0), T)
    spend = purchases.GammaGamma(*made._arrays["spend"])
    value = spend.expected(purchases.Spend(x + 1.0, X["rfm__monetary_value"].to_numpy()))
    expected = made.process.expected(histories, 90.0) * value
    assert np.allclose(np.exp(made.score(rows)), expected)
    parts = made.parts(rows)
    assert np.allclose(parts["alive"] * parts["orders"] * parts["value"], expected)
    later = made.process.discounted(histories, 365.0, np.log(1.1) / 365.0)
    assert np.allclose(parts["alive"] * made.discounted_orders(rows, 365.0, 0.1), later)


def of_channels(n: int, seed: int) -> tuple[pd.DataFrame, Floats]:
    """Histories of customers of three channels, the last of which buy 4 times as often."""
    rng = np.random.default_rng(seed)
    channel = rng.integers(0, 3, n)
    rate = rng.gamma(1.5, 0.01, n) * np.where(channel == 2, 4.0, 1.0)
    T, life = rng.uniform(100, 500, n), rng.exponential(300.0, n)
    x = rng.poisson(rate * np.minimum(T, life)).astype(np.float64)
    t_x = np.where(x > 0, np.minimum(T, life) * rng.beta(np.maximum(x, 1.0), 1.0), 0.0)
    words = pd.Categorical.from_codes(channel, ["web", "store", "app"])
    X = pd.DataFrame({
        "rfm__recency_days": T - t_x, "rfm__frequency_orders": x, "rfm__T_days": T,
        "rfm__monetary_value": rng.gamma(4.0, 5.0, n), "profile__channel": words,
        "first__basket": rng.normal(30.0, 8.0, n),
    })  # fmt: skip
    return X, np.where(rng.random(n) < 0.05, np.nan, channel.astype(np.float64))


def test_covariates_tell_customers_with_equal_histories_apart() -> None:
    """A newcomer of the busy channel is worth more; missing counts as between; all adds up."""
    X, _ = of_channels(3_000, seed=1)
    covariates = ("profile__channel", "first__basket")
    made = PublishedValue(PublishedValueConfig(covariates=covariates))
    made.fit(X, np.zeros(len(X)))
    newcomer = [10.0, 0.0, 10.0, 20.0]
    rows = np.array([[*newcomer, channel, 30.0] for channel in (0.0, 1.0, 2.0, np.nan)])
    web, store, app, unknown = np.exp(made.score(rows))
    assert app > 2.0 * max(web, store)
    assert min(web, store) < unknown < app
    other = PublishedValue(PublishedValueConfig(covariates=covariates))
    other.load(made.save(), made.columns)
    seen = matrix(of_channels(200, seed=2)[0], made.columns)
    assert np.array_equal(other.score(seen), made.score(seen))
    explained = made.explain(seen)
    assert np.allclose(explained.scores, made.score(seen))
    assert np.abs(explained.contributions[:, 4]).mean() > 0.1
    parts, logs = made.explained_parts(seen, 365.0, 0.1), made.parts(seen)
    spread = np.log(logs["alive"]) - parts["alive"].sum(axis=1)
    assert np.ptp(spread) < 1e-9
    plain = PublishedValue(PublishedValueConfig())
    plain.fit(X, np.zeros(len(X)))
    assert np.ptp(plain.score(rows)) == 0.0
    with pytest.raises(ConfigError, match=r"no feature \['gone'\] for covariates"):
        PublishedValue(PublishedValueConfig(covariates=("gone",))).fit(X, np.zeros(len(X)))


def test_dependence_of_spend_on_frequency_is_told() -> None:
    """Near 0 where Gamma-Gamma holds, far from it where frequent buyers buy more at once."""
    rng = np.random.default_rng(0)
    orders = rng.geometric(0.3, 3_000).astype(np.float64)
    value = rng.gamma(4.0, 5.0, 3_000)
    rho, error = purchases.Spend(orders, value).dependence()
    assert abs(rho) < 4 * error < 0.15
    planted, _ = purchases.Spend(orders, value * orders).dependence()
    assert planted > 0.5
    assert np.isnan(purchases.Spend(np.ones(9), value[:9]).dependence()[0])


def test_a_customer_of_whom_nothing_is_known_has_a_published_value() -> None:
    """Missing history counts as one order long ago."""
    made, X, _ = taught()
    nothing = np.full((1, X.shape[1]), np.nan)
    assert np.isfinite(made.published.score(nothing)).all()
    assert made.published.score(nothing)[0] < np.median(made.published.score(X))


def test_whatever_is_asked_has_a_published_value() -> None:
    """Half a repeat order, times of no life: a caller may post them; learning refuses the times."""
    X, y, _ = spenders(400, seed=1)
    made = PublishedValue(PublishedValueConfig())
    made.fit(X, y, weight=None, seed=0)
    rows = matrix(X[:40], made.columns)
    for name in ("rfm__recency_days", "rfm__frequency_orders", "rfm__T_days"):
        for value in (2.5, 36_600.0, 1e12):
            asked = rows.copy()
            asked[:, made.columns.index(name)] = value
            assert np.isfinite(made.score(asked)).all()
            told = made.explain(asked)
            assert told.base + told.contributions.sum(axis=1) == pytest.approx(made.score(asked))
    seconds = X.assign(rfm__T_days=86_400 * X["rfm__T_days"])
    with pytest.raises(DataError, match="these look like seconds"):
        PublishedValue(PublishedValueConfig()).fit(seconds, y, weight=None, seed=0)


def test_weights_move_from_the_learned_to_the_published_forecast() -> None:
    """0 is the two-part model, 1 the published one, and explanations go along."""
    made, X, _ = taught()
    ends = {}
    for weight in (0.0, 1.0):
        other = model(weight)
        other.load(made.save(), made.columns)
        ends[weight] = other
    assert np.array_equal(ends[0.0].score(X), made._learned.score(X))
    assert np.array_equal(ends[1.0].score(X), made.published.score(X))
    mixed = 0.6 * ends[0.0].explain(X).contributions + 0.4 * ends[1.0].explain(X).contributions
    assert np.allclose(made.explain(X).contributions, mixed)


@given(st.floats(0.01, 0.99), st.floats(0.1, 2.0), st.floats(0.01, 0.99))
@settings(max_examples=60, deadline=None)
def test_quantiles_are_those_of_drawn_amounts(chance: float, sigma: float, q: float) -> None:
    """The share of draws below a quantile is its level, up to the mass at 0; the mean is kept."""
    rng = np.random.default_rng(3)
    n, mean = 40_000, 70.0
    logs = np.log(mean / chance) - sigma**2 / 2 + sigma * rng.normal(size=n)
    drawn = np.where(rng.random(n) < chance, np.exp(logs), 0.0)
    found = float(Spread(sigma, 0.8).quantile(q, np.array([mean]), np.array([chance]))[0])
    assert (drawn < found).mean() <= q + 0.012
    assert (drawn <= found).mean() >= q - 0.012


def test_intervals_cover_what_was_asked_for_on_new_rows() -> None:
    """Fitted on one sample, they hold on another, even where amounts are not lognormal."""
    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[Floats, Floats, Floats]:
        chance, mean = rng.uniform(0.02, 0.99, n), rng.lognormal(3.0, 1.0, n)
        return (
            np.where(rng.random(n) < chance, rng.gamma(1.5, mean / chance / 1.5), 0.0),
            mean,
            chance,
        )

    for coverage in (0.5, 0.8, 0.95):
        spread = Spread.fit(*drawn(4_000), coverage)
        y, mean, chance = drawn(20_000)
        likely = chance >= LIKELY
        assert spread.covers(y, mean, chance)[likely].mean() == pytest.approx(coverage, abs=0.025)
        lower, upper = spread.interval(mean, chance)
        assert (lower <= upper).all()


def test_a_block_is_brought_to_its_own_level() -> None:
    """Means add up to its total and chances to its rate, whatever the season did to it."""
    made, X, y = taught()
    mean, chance = recentred(y, made.score(X) + 0.7, made.odds(X) - 1.1)
    assert mean.sum() == pytest.approx(y.sum())
    assert chance.mean() == pytest.approx((y > 0).mean(), abs=1e-9)


@given(AMOUNTS, AMOUNTS)
def test_logarithmic_mean_lies_between_and_adds_up(a: float, b: float) -> None:
    """Between geometric and arithmetic mean; times the log ratio it is the difference."""
    found = float(logarithmic_mean(np.array([a]), b)[0])
    assert np.sqrt(a * b) * (1 - 1e-9) <= found <= (a + b) / 2 * (1 + 1e-9)
    assert found * np.log(a / b) == pytest.approx(a - b, rel=1e-6, abs=1e-9 * max(a, b))


def test_longer_windows_are_worth_more_and_nothing_contradicts() -> None:
    """No window falls, ends hold the median, and the report finds what is planted."""
    columns, answers = told()
    frame = pd.DataFrame(columns | {"spend_next_90d": 1.5 * answers})
    values = frame[[f"clv_next_{w}d" for w in WINDOWS]].to_numpy()
    assert (np.diff(values, axis=1) >= 0).all()
    assert len(contradictions(frame, valued())) == 0
    frame.loc[3, "clv_next_365d"] = frame.loc[3, "clv_next_1095d"] + 1.0
    frame.loc[5, "p_alive"] = 1.2
    frame.loc[7, "spend_next_90d"] *= 4.0
    found = contradictions(frame, valued())
    assert set(found["row"]) == {3, 5, 7}


def test_value_is_held_against_churn() -> None:
    """Shares at risk by hand; planted opposites are found; who was not asked is left out."""
    columns, _ = told()
    frame = pd.DataFrame(columns, index=pd.RangeIndex(1_000, 1_000 + len(columns["p_alive"])))
    leaves = 1.0 - frame["p_alive"].rank(pct=True)
    odd = frame["p_alive"].idxmax()
    leaves[odd] = 0.999
    asked = leaves.drop(index=frame.index[:50].difference([odd]))
    found = beside_churn(Churn(3, asked, 0.6), frame, valued())
    assert found.customers == len(asked)
    assert found.contradictions["row"].tolist() == [odd]
    assert found.agreement["p_alive"] > 0.95
    assert found.checks.popitem()[1][0] == 0.0
    value = frame.loc[asked.index, "clv_next_365d"]
    whole = found.at_risk.set_index("tier").loc["all"]
    assert whole["share_expected"] == pytest.approx((value * asked).sum() / value.sum())
    assert whole["share_leaving"] == pytest.approx(value[asked >= 0.6].sum() / value.sum())
    assert found.at_risk["customers"].iloc[:-1].sum() == whole["customers"] == len(asked)
    turned = beside_churn(Churn(3, 1.0 - asked, 0.6), frame, valued())
    assert turned.checks.popitem()[1][0] > 0.0
    assert "Missing: nobody approved" in section("nobody approved", 365, "EUR").text[0]


def test_intervals_make_up_for_what_the_season_foretold_amiss() -> None:
    """Where every other buyer of now bought a year ago, answers to come are held as often as asked.

    Intervals of a block at its own level would not be: they never saw how far a season is off.
    """
    made, X, y = taught()
    buys = np.cumsum(y > 0) % 2 == 0  # every other buyer
    before = Unseen(made, X, y * buys)
    block = Unseen(made, X, y, season=Season(before, X, made, X))
    season = Season(Unseen(made, X, y), X, made, X)
    mean, chance = _answered(block, in_season=True)
    assert mean.sum() == pytest.approx((y * buys).sum())
    assert chance.sum() == pytest.approx((y * buys > 0).sum())
    held = {}
    for heeded in (None, season):
        found = CustomerValue(ValueConfig(horizon_days=90, spent=SPENT))
        found.fit([block], heeded)
        held[heeded is not None] = found._spread.covers(y, mean, chance)[chance >= LIKELY].mean()
    assert held[False] < 0.76
    assert 0.8 <= held[True] < 0.83


def test_the_season_stays_within_the_horizon() -> None:
    """Half as much again in the horizon adds half the horizon's value to every window."""
    made, X, _ = taught()
    answers = np.exp(made.score(X))
    plain, moved = (valued()._lifetime(made, X, k * answers, answers) for k in (1.0, 1.5))
    for window in WINDOWS:
        assert np.allclose(moved[window] - plain[window], 0.5 * plain[90])


def test_without_discount_and_cost_the_first_window_is_the_answer() -> None:
    """The horizon's value is its expected spend."""
    made, X, y = taught()
    plain = CustomerValue(ValueConfig(horizon_days=90, yearly_discount=0.0, spent=SPENT))
    plain.fit([Unseen(made, X, y)], None)
    answers = np.exp(made.score(X))
    assert np.allclose(plain.of(made, X, answers, answers)["clv_next_90d"], answers)


def test_factors_multiply_to_the_value_and_contributions_add_up_to_it() -> None:
    """Exact, in currency, against a stated usual customer; a factor that is usual moves nothing."""
    made, X, _ = taught()
    columns, level = told()
    found = valued().factors(made, X, 1.5 * level, level)
    value = columns[found.name]
    assert np.allclose(np.prod([f.value for f in found.factors], axis=0), value)
    total = found.usual + np.sum([f.contribution for f in found.factors], axis=0)
    assert np.allclose(total, value, rtol=1e-9)
    margin = next(f for f in found.factors if f.name == "margin")
    assert np.abs(margin.contribution).max() < 1e-9
    orders = next(f for f in found.factors if f.name == "orders")
    i = int(np.argmax(orders.value))
    assert "adds" in factor_sentence(orders, i, "EUR")
    assert "EUR" in factor_sentence(orders, i, "EUR")
    said = column_sentences(orders, i, declared(made.columns), X[i], "EUR", 2)
    first = int(np.abs(orders.by_column[i]).argmax())
    assert said[0].startswith(f"{made.columns[first]}: ")
    assert f"{abs(orders.by_column[i, first]):,.2f} EUR" in said[0]


def test_columns_add_up_to_each_factor() -> None:
    """But for what is common to all: nothing for the published parts, one logarithm for the rest.

    Columns move what they should: recency whether one is alive, an order's value its own factor.
    """
    made, X, _ = taught()
    level = np.exp(made.score(X))
    found = valued().factors(made, X, level, level)
    value = found.usual + np.sum([f.contribution for f in found.factors], axis=0)
    for factor in found.factors:
        common = factor.common / logarithmic_mean(value, found.usual)
        assert np.ptp(common) < 1e-5  # trees sum in 32 bits
        if factor.name != "learned":
            assert np.abs(common).max() < 1e-9
    moved = {f.name: np.abs(f.by_column).max(axis=0) for f in found.factors}
    at = made.columns.index
    assert moved["alive"][at("rfm__recency_days")] > 0
    assert moved["alive"][at("rfm__monetary_value")] == 0.0
    assert moved["order_value"].argmax() == at("rfm__monetary_value")
    assert moved["margin"].max() == 0.0
    assert moved["learned"][at(SPENT)] > 0


def test_the_season_is_common_to_all() -> None:
    """A season moves what columns make of the logarithm of a factor not at all."""
    made, X, _ = taught()
    level = np.exp(made.score(X))
    logs = []
    for k in (1.0, 1.5):
        found = valued().factors(made, X, k * level, level)
        value = found.usual + np.sum([f.contribution for f in found.factors], axis=0)
        scale = logarithmic_mean(value, found.usual)[:, None]
        logs.append([f.by_column / scale for f in found.factors])
    assert np.allclose(logs[0], logs[1])
    assert found.factors[-1].common.sum() > 0


def test_shapley_of_several_functions_is_that_of_each() -> None:
    """Shared sets change nothing, and equal the mean over all orders of revealing inputs."""
    rng = np.random.default_rng(1)
    a, b, c_ = rng.uniform(0.5, 2.0, size=(3, 40))
    worths: list[Any] = [lambda a, b, c: a * b / c, lambda a, b, c: np.log(a + b * c)]
    reference = (1.0, 1.1, 0.9)
    bases, moved = shapley(lambda *i: np.stack([w(*i) for w in worths]), (a, b, c_), reference)
    for k, worth in enumerate(worths):
        base, alone = shapley(worth, (a, b, c_), reference)
        assert bases[k] == base
        assert np.array_equal([m[k] for m in moved], alone)
        orders = []
        for order in itertools.permutations(range(3)):
            known = [np.full(40, v) for v in reference]
            steps = np.zeros((3, 40))
            for i in order:
                before = worth(*known)
                known[i] = (a, b, c_)[i]
                steps[i] = worth(*known) - before
            orders.append(steps)
        assert np.allclose(np.mean(orders, axis=0), alone)


def test_tiers_are_the_shares_asked_for_and_follow_the_value() -> None:
    """On the block that they were made of: a fifth high, three tenths medium."""
    made, X, y = taught()
    mean, _ = recentred(y, made.score(X), made.odds(X))
    columns = valued().of(made, X, mean, mean)
    tier, value = columns["value_tier"], columns["clv_next_365d"]
    assert (tier == "high").mean() == pytest.approx(0.2, abs=0.01)
    assert (tier == "medium").mean() == pytest.approx(0.3, abs=0.01)
    assert value[tier == "high"].min() >= value[tier == "medium"].max()
    assert value[tier == "medium"].min() >= value[tier == "low"].max()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"windows_days": (365, 90)}, "rising"),
        ({"windows_days": (30, 365)}, "below the horizon"),
        ({"windows_days": (90, 365, 20_000)}, "ten years"),
        ({"tier_days": 100}, "none of windows_days"),
        ({"gross_margin": 0.2, "cost_of_service": 0.2}, "as much as the margin"),
        ({"tier_shares": (0.7, 0.4)}, "two shares"),
    ],
)
def test_values_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    """Each with what was expected."""
    with pytest.raises(ConfigError, match=said):
        validated(ValueConfig, {"horizon_days": 90, **wrong}, "value")


def test_a_model_that_does_not_tell_enough_is_named() -> None:
    """Before data are read; so is one whose published part looks elsewhere."""
    details = CustomerValue(ValueConfig(horizon_days=90))
    assert "take hybrid.Hybrid" in details.problems(TwoPart(TwoPartConfig()))[0]
    far = Hybrid(HybridConfig(published=PublishedValueConfig(horizon_days=60)))
    assert "60 days ahead" in details.problems(far)[0]
    assert details.problems(model()) == []


def bundle() -> tuple[Bundle, Floats]:
    """A bundle with details, never written, and rows to ask it about."""
    made, X, _ = taught()
    details = valued()
    answer = Answer(
        task="clv", question="How much?", kind="amount", output="spend_next_90d", unit="currency",
        space=made.space, columns=declared(made.columns), threshold=None, cutoff="2024-06-01",
        model=ModelPart(use="hybrid.Hybrid", config=made.config.model_dump()),
        told=details.declared,
        details=Part(use="value.CustomerValue", config=details.config.model_dump(mode="json")),
        horizon_days=90, source="simulated", currency="EUR", run_key="run",
    )  # fmt: skip
    return Bundle(answer, made, Calibrator("identity", shift=0.3), details=details), X[:30]


def test_a_written_bundle_tells_the_same_and_replays_it(tmp_path: Path) -> None:
    """Details travel as JSON, their columns are golden, and a change of one is noticed."""
    made, rows = bundle()
    key = Ed25519PrivateKey.generate()
    write(made, rows, tmp_path / "bundle", key)
    files, digest = bundles.read_verified(tmp_path / "bundle", key.public_key())
    loaded = parse(files, digest)
    assert loaded.replay() == 0.0
    frame = pd.DataFrame(rows, columns=list(made.columns))
    told_now = loaded.predict_frame(frame)
    assert [name for name, _ in loaded.outputs] == list(told_now.columns)
    assert told_now.equals(made.predict_frame(frame))
    for name in ("sigma", "shift", "tiers"):
        record = json.loads(files["value.json"])
        record[name] = [v * 4 for v in record[name]] if name == "tiers" else record[name] + 0.1
        assert parse(files | {"value.json": json.dumps(record).encode()}, digest).replay() > 1e-3


def test_single_rows_are_told_as_all_rows_are() -> None:
    """Nothing about a customer depends on who else is asked about."""
    made, rows = bundle()
    frame = pd.DataFrame(rows, columns=list(made.columns))
    alone = pd.concat([made.predict_frame(frame.iloc[[i]]) for i in range(10)])
    pd.testing.assert_frame_equal(alone, made.predict_frame(frame.iloc[:10]), rtol=1e-12)

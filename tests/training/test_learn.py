"""Learning: what may count and what may not, from search to threshold."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from features.cutoffs import Moments
from features.settings import Part
from tests.training import samples
from tests.training.samples import BEGAN, DAY
from training.calibrate import CalibrateConfig
from training.contract import Floats
from training.metrics import best_threshold
from training.rows import Rows
from training.splits import Splits
from training.supervised import learn as module
from training.supervised.learn import Learned, learn
from training.supervised.tiers import TiersConfig

PART = Part(use="logistic.Logistic")
YEAR = timedelta(days=365)


def learned(splits: Splits, config: CalibrateConfig | None = None) -> Learned:
    """The answer of a small model."""
    return learn(splits.shipped, "event", PART, config or CalibrateConfig(), 3, lambda: None)


def relabelled(splits: Splits, at: Any) -> Splits:
    """The same with the labels of some cutoffs turned round."""
    rows = splits.rows
    turned = np.isin(rows.cutoffs, np.array(at, dtype="datetime64[us]"))
    assert turned.any()
    y = np.where(turned, 1.0 - rows.y, rows.y)
    return replace(splits, rows=Rows(rows.X, y, rows.customers, rows.cutoffs))


def same(a: Learned, b: Learned) -> bool:
    """Whether all that is shipped is the same, bit for bit."""
    return (a.model.save(), a.calibrator.save(), a.threshold) == (
        b.model.save(), b.calibrator.save(), b.threshold,
    )  # fmt: skip


def test_the_labels_of_the_test_block_teach_nothing() -> None:
    """Turned round, they change neither model nor calibrator nor threshold."""
    for splits in (samples.splits(), seasonal()):
        expected = learned(splits)
        assert same(learned(splits), expected)
        assert same(learned(relabelled(splits, [splits.moments.test])), expected)
        first = splits.moments.teaching[0]
        assert not same(learned(relabelled(splits, [first])), expected)


def test_the_shipped_model_learns_from_all_that_may_teach() -> None:
    """Its rows are those whose labels were known by the test cutoff, the validating ones too."""
    splits = samples.splits()
    rows = splits.taught_by(splits.moments.test)
    assert set(splits.moments.folds) <= set(rows.cutoffs.tolist())
    by_hand = module.fitted(PART, splits.shipped.last, 3)
    assert learned(splits).model.save() == by_hand.save()


def test_a_fold_is_scored_by_a_model_of_its_past(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels that were not known at a validation cutoff do not touch its out-of-time scores."""
    splits = samples.splits()
    first = splits.moments.folds[0]
    unknown = [t for t in splits.moments.teaching if t + splits.gap > first]

    def scores(of: Splits) -> Any:
        rows = of.rows.at(first)
        return module.fitted(PART, of.block(first), 3).score(rows.X.to_numpy(np.float64))

    assert np.array_equal(scores(relabelled(splits, unknown)), scores(splits))
    known = [t for t in splits.moments.teaching if t + splits.gap <= first]
    assert not np.array_equal(scores(relabelled(splits, known)), scores(splits))


def seasonal() -> Splits:
    """Eleven months whose seasons differ, those of folds and test as they were a year before."""
    teaching = tuple(BEGAN + 30 * k * DAY for k in range(9, 20))
    test = teaching[-1] + 60 * DAY
    folds = (teaching[-4], teaching[-2], teaching[-1])
    year_ago = {t: t - YEAR for t in (*folds, test)}
    moments = Moments(teaching, test, folds, year_ago)
    rows = samples.rows_at(moments.all, 400)
    rng, y = np.random.default_rng(0), rows.y.copy()
    for late, lift in zip((*folds, test), (0.0, 0.35, 0.7, 0.7), strict=True):
        for t in (late, year_ago[late]):
            here = (rows.cutoffs == np.datetime64(t)) & (rng.random(len(rows)) < lift)
            y[here] = 1.0
    return Splits(Rows(rows.X, y, rows.customers, rows.cutoffs), moments, 60 * DAY)


def test_a_season_seen_a_year_ago_is_taken_into_account() -> None:
    """Where seasons repeat the shift is chosen, and the test cutoff is foretold better for it."""
    splits = seasonal()
    with_season = learned(splits)
    without = learned(splits, CalibrateConfig(season=False))
    assert with_season.calibrator.shift > 0.5
    assert without.calibrator.shift == 0.0
    test = splits.test
    gaps = [abs(a.predict(test.X).mean() - test.y.mean()) for a in (with_season, without)]
    assert gaps[0] < 0.08
    assert gaps[1] > 2 * gaps[0], gaps
    assert (with_season.folds["season_shift"] != "no year before").all()


def test_cut_offs_are_those_of_the_season_to_come() -> None:
    """The threshold, and the tiers, part customers of the folds as they would be answered now."""
    splits = seasonal()
    config, shares = CalibrateConfig(kinds=("expit",)), TiersConfig(shares=(0.1, 0.2))
    answer = learn(splits.shipped, "event", PART, config, 3, lambda: None, tiers=shares)
    assert answer.calibrator.shift > 0.5
    blocks = [splits.block(t) for t in splits.moments.folds]
    scores = [module._scores(module.fitted(PART, b, 3), b.answered.X) for b in blocks]
    p = answer.calibrator.apply(np.concatenate(scores))
    y = np.concatenate([b.answered.y for b in blocks])
    assert answer.threshold == best_threshold(y, p)
    assert answer.tiers is not None
    assert (answer.tiers.words(p) == "high").mean() == pytest.approx(0.1, abs=0.005)


def test_the_season_is_read_by_a_model_that_did_not_learn_from_it() -> None:
    """Label windows that overlap the season a year ago are left out, so that it cannot be known."""
    splits = seasonal()
    cutoff = splits.moments.test
    before = splits.moments.year_ago[cutoff]
    near = [t for t in splits.moments.teaching if abs(t - before) < splits.gap]

    answering = module.fitted(PART, splits.block(cutoff), 3)

    def shift(of: Splits, config: CalibrateConfig) -> float | None:
        season = module._season(of.block(cutoff), answering, PART, config, 3)
        return module._shift(season, "event")

    known = shift(splits, CalibrateConfig())
    assert known is not None
    assert shift(relabelled(splits, near), CalibrateConfig()) == known
    assert shift(splits, CalibrateConfig(season=False)) is None


def orders_of(n: int, days: int, lift: Sequence[range], seed: int = 0) -> list[Floats]:
    """Days on which each of ``n`` customers orders, at an own rate that doubles in ``lift``.

    New ones come all the time, and each is gone for good some day; most have been there for long.
    """
    rng = np.random.default_rng(seed)
    raised = np.ones(days)
    for some in lift:
        raised[some] = 2.0
    found = []
    for rate in rng.gamma(0.6, 1 / 90, n):
        here = (rng.uniform(-4000, days - 60), rng.exponential(4000.0))
        lives = (np.arange(days) >= here[0]) & (np.arange(days) < sum(here))
        found.append(np.flatnonzero(rng.random(days) < rate * raised * lives).astype(float))
    return found


def rows_of(orders: list[Floats], cutoffs: Sequence[int], length: int | None = None) -> Rows:
    """Recency, frequency and age of who ordered in the year before each cutoff.

    ``length``: days of data before the cutoff that can be seen; None: all there are. The label:
    nothing is ordered in the 60 days after it.
    """
    lines = []
    for t in cutoffs:
        for who, days in enumerate(orders):
            past = days[(days < t) & (days >= (0 if length is None else t - length))]
            if len(past) and past[-1] >= t - 365:
                absent = not ((days >= t) & (days < t + 60)).any()
                lines.append(
                    (t - past[-1], len(past) - 1, t - past[0], absent, who, BEGAN + t * DAY)
                )
    recency, frequency, age, absent, who, when = zip(*lines, strict=True)
    X = pd.DataFrame({"recency": recency, "frequency": frequency, "age": age}).astype(float)
    return Rows(
        X, np.array(absent, float), np.array(who), np.array(when, dtype="datetime64[us]")
    )  # fmt: skip


@pytest.mark.parametrize("lift", [[], [range(300, 360), range(665, 725)]])
def test_a_season_is_told_from_the_short_histories_of_young_data(lift: list[range]) -> None:
    """Seen in data of one length, the year before foretells the rate, whether or not it had one.

    Data begin 300 days before: by then even the most faithful have been seen for that long only,
    and are taken for new ones who come more often than such do.
    """
    orders = orders_of(3000, 800, lift)
    teaching, test = tuple(range(180, 606, 30)), 665
    first = teaching[-1] - 365
    when = {t: BEGAN + t * DAY for t in (*teaching, test, first, test - 365)}
    year_ago = {when[t]: when[t - 365] for t in (teaching[-1], test)}
    moments = Moments(tuple(map(when.get, teaching)), when[test], (when[teaching[-1]],), year_ago)
    young = Splits(rows_of(orders, sorted(when)), moments, 60 * DAY)
    alike = rows_of(orders, sorted(t for t in when if t >= first), first)
    splits = replace(young, of_one_length=alike)
    assert splits.first_season == when[first]
    config = CalibrateConfig(kinds=("expit",))
    rate = splits.test.y.mean()
    gaps = {
        name: abs(learned(some, chosen).predict(splits.test.X).mean() - rate)
        for name, some, chosen in (
            ("of one length", splits, config),
            ("young", young, config),
            ("no season", splits, CalibrateConfig(season=False)),
        )
    }
    assert gaps["of one length"] < 0.025, gaps
    assert gaps["young"] > 2 * gaps["of one length"], gaps
    if lift:
        assert gaps["no season"] > 3 * gaps["of one length"], gaps


def test_probabilities_keep_the_order_of_scores() -> None:
    """Whatever calibration is chosen, a higher score has no lower probability."""
    answer = learned(samples.splits())
    X = samples.splits().test.X
    scores = answer.model.score(X.to_numpy(np.float64))
    p = answer.predict(X)[np.argsort(scores, kind="stable")]
    assert (np.diff(p) >= 0).all()
    assert 0 < answer.threshold < 1


def test_older_rows_count_half_for_each_half_life() -> None:
    """The weights by hand; with a short half-life the oldest labels hardly matter."""
    splits = replace(samples.splits(), half_life_days=30.0)
    block = splits.shipped.last
    weights = block.weights
    assert weights is not None
    months = (block.taught.cutoffs.max() - block.taught.cutoffs) / np.timedelta64(30, "D")
    assert weights == pytest.approx(0.5**months)
    assert samples.splits().shipped.last.weights is None
    oldest = [splits.moments.teaching[0]]

    def moved(by: float | None) -> float:
        """How far turning the oldest labels round moves the scores."""
        own = replace(splits, half_life_days=by)
        X = own.test.X.to_numpy(np.float64)
        before, after = (
            module.fitted(PART, s.shipped.last, 3).score(X) for s in (own, relabelled(own, oldest))
        )
        return float(np.abs(before - after).mean())

    assert moved(10.0) < 0.1 * moved(None)

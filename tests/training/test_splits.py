"""Who may teach what: no label window of a teaching row reaches past the block it teaches."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.cutoffs import Cutoffs, Moments
from features.errors import ConfigError, DataError, PerennialError
from features.settings import Part, resolve
from features.snapshot import SETS
from features.tables import Tables
from tests.training.samples import BEGAN, DAY, rows_at
from tests.worlds import computed, line, random_world, tables, world
from training.splits import Splits, split
from training.tasks.churn import Churn, ChurnConfig

END = BEGAN + 900 * DAY


@st.composite
def cutoffs(draw: st.DrawFn) -> tuple[Cutoffs, int]:
    """Settings of cutoffs, many of which fit 900 days of data, and a gap."""
    gap = draw(st.integers(1, 120))
    test = gap + draw(st.integers(-5, 60))
    return Cutoffs(
        test=f"end-{max(test, 0)}d",
        latest=f"end-{max(test + gap + draw(st.integers(-5, 60)), 0)}d",
        every_days=draw(st.integers(1, 60)),
        count=draw(st.integers(2, 16)),
        folds=draw(st.integers(1, 4)),
        fold_steps=draw(st.integers(1, 4)),
        season_lag_days=draw(st.sampled_from([90, 200, 365])),
    ), gap  # fmt: skip


def resolved(config: Cutoffs) -> tuple[Moments | None, str]:
    """The moments, or why there are none."""
    try:
        return config.resolved(BEGAN, END), ""
    except ConfigError as error:
        return None, str(error)


@given(cutoffs(), st.integers(1, 30))
def test_no_label_window_reaches_past_the_block_it_teaches(
    case: tuple[Cutoffs, int], maturity: int
) -> None:
    """For any cutoffs, what teaches a block was over and known when the block began."""
    config, horizon = case
    moments, refused = resolved(config)
    if moments is None:
        assert "cutoffs." in refused
        return
    gap = timedelta(days=horizon + maturity)
    splits = Splits(rows_at(moments.all, 2), moments, gap)
    blocks = [*moments.folds, moments.test]
    for block in blocks:
        taught = splits.taught_by(block)
        assert (taught.cutoffs + np.timedelta64(gap) <= np.datetime64(block)).all()
        assert not np.isin(taught.cutoffs, np.datetime64(moments.test)).any()
        missed = [t for t in moments.teaching if t + gap <= block]
        assert len(taught) == 2 * len(missed)  # and nothing that may teach is left out
        season = splits.year_before(block)
        if season is None:
            continue
        assert season + gap <= block
        apart = splits.taught_by(block, apart_from=season)
        distance = np.abs(apart.cutoffs - np.datetime64(season))
        assert (distance >= np.timedelta64(gap)).all()
        assert set(apart.cutoffs) <= set(taught.cutoffs)
    assert set(moments.folds) <= set(moments.teaching)
    roles = splits.table().set_index("cutoff")["role"]
    assert roles[f"{moments.test:%Y-%m-%d}"] == "test"
    assert list(roles).count("test") == 1
    assert list(roles).count("validate and teach") == len(moments.folds)


@given(cutoffs())
def test_resolved_cutoffs_lie_in_the_data(case: tuple[Cutoffs, int]) -> None:
    """Every cutoff has its history before it and none lies after the end of the data."""
    config = case[0]
    moments, _ = resolved(config)
    if moments is None:
        return
    assert all(t - timedelta(days=config.history_days) >= BEGAN for t in moments.all)
    assert all(t <= END for t in moments.all)
    assert list(moments.all) == sorted(set(moments.all))
    for late, early in moments.year_ago.items():
        assert late - early == timedelta(days=config.season_lag_days)


# --- the whole of it, on tables -----------------------------------------------------------------


@dataclass(frozen=True)
class FakeStored:
    """Stored tables of a small world."""

    table: pa.Table
    end: datetime

    def open(self, sample: float = 1.0) -> Tables:
        """Connect to the table."""
        return tables(self.table).sampled(sample)


def divided(
    moments: Moments, horizon: int, end: datetime, table: pa.Table | None = None, **config: int
) -> Splits:
    """Split a small world for churn, with recency, frequency and value as features."""
    table = random_world(seed=3, customers=60) if table is None else table
    features = computed([resolve(SETS, Part(use="rfm.Rfm"))], table, moments.all).to_pandas()
    task = Churn(ChurnConfig(horizon_days=horizon, **config))
    stored: Any = FakeStored(table, end)
    return split(stored, features, task, moments)


HOUR = timedelta(hours=1)
WORLD_BEGAN = datetime(2009, 1, 1)
WORLD_END = WORLD_BEGAN + 900 * DAY


def moments_of(test: int, latest: int, every: int = 60, count: int = 4) -> Moments:
    """Cutoffs as days since the world began, two of them validating."""
    teaching = tuple(WORLD_BEGAN + (latest - every * k) * DAY for k in reversed(range(count)))
    return Moments(teaching, WORLD_BEGAN + test * DAY, teaching[-2:])


def test_rows_carry_their_customers_features_and_labels() -> None:
    """Each row is one customer at one cutoff; the label is what followed, the features what was."""
    moments = moments_of(test=600, latest=500)
    splits = divided(moments, 90, WORLD_END)
    rows = splits.rows
    keys = pd.DataFrame({"customer": rows.customers, "cutoff": rows.cutoffs})
    assert not keys.duplicated().any()
    assert set(rows.cutoffs) == {np.datetime64(t) for t in moments.all}
    assert list(rows.X.columns) == [k.name for k in resolve(SETS, Part(use="rfm.Rfm")).columns()]
    assert (rows.X["rfm__recency_days"] <= 365).all()
    # By hand for one cutoff: who ordered within [t, t + 90 d) and kept something is no churner.
    lines = random_world(seed=3, customers=60).to_pandas()
    window = (lines["event_time"] >= moments.test) & (
        lines["event_time"] < moments.test + 90 * DAY
    ) & (lines["known_time"] < moments.test + 90 * DAY)  # fmt: skip
    orders = lines[window].groupby(["customer_id", "order_ref"])
    kept = (orders["amount_minor"].sum() > 0) & ~orders["is_return"].min()
    buyers = set(kept[kept].reset_index()["customer_id"])
    test = splits.test
    assert 0 < test.y.mean() < 1
    assert test.y.tolist() == [float(k not in buyers) for k in test.customers]


@settings(max_examples=8)
@given(
    test=st.integers(500, 820),
    back=st.integers(20, 200),
    every=st.integers(15, 80),
    horizon=st.integers(10, 120),
    maturity=st.integers(0, 40),
)
def test_split_refuses_or_keeps_the_blocks_apart(
    test: int, back: int, every: int, horizon: int, maturity: int
) -> None:
    """Windows end within the data and before the test block, or there is an error."""
    moments = moments_of(test, test - back, every)
    gap = timedelta(days=horizon + maturity)
    refused = ""
    try:
        splits = divided(moments, horizon, WORLD_END, maturity_days=maturity)
    except PerennialError as error:
        refused = str(error)
    if refused:
        assert re.search("set cutoffs|use fewer folds|change the horizon", refused), refused
        return
    assert splits.gap == gap
    assert moments.test + gap <= WORLD_END
    assert all(t + gap <= moments.test for t in splits.moments.teaching)
    assert {*splits.moments.teaching, *splits.immature} == set(moments.teaching)
    for block in splits.moments.folds:
        assert len(np.unique(splits.taught_by(block).y)) == 2


def test_immature_cutoffs_are_dropped_and_counted() -> None:
    """A cutoff whose labels the test cutoff could not know teaches nothing, and is shown."""
    moments = moments_of(test=600, latest=560)
    splits = divided(moments, 90, WORLD_END)
    late = moments.teaching[-1]
    assert splits.moments.teaching == moments.teaching[:-1]
    assert splits.moments.folds == (moments.teaching[-2],)
    assert list(splits.immature) == [late]
    assert splits.immature[late] > 0
    assert not (splits.rows.cutoffs == np.datetime64(late)).any()
    shown = splits.table().set_index("cutoff").loc[f"{late:%Y-%m-%d}"]
    assert (shown["rows"], shown["dropped"]) == (0, splits.immature[late])
    assert "not known by the test cutoff" in shown["role"]
    # Of the others every row stays, and those who are asked are counted as they would be asked.
    assert splits.immature[late] == len(divided(moments, 30, WORLD_END).rows.at(late))


def test_cutoffs_that_are_all_immature_are_refused() -> None:
    """Where no validation cutoff is left nothing can be chosen; the message says what would do."""
    with pytest.raises(ConfigError) as caught:
        divided(moments_of(test=600, latest=590, every=5), 90, WORLD_END)
    assert "cutoffs.latest 2010-08-14 ends 2010-11-12, after cutoffs.test 2010-08-24" in str(
        caught.value
    )
    assert "set cutoffs.latest at least 90 days before cutoffs.test" in str(caught.value)


def test_a_label_window_past_the_end_is_refused() -> None:
    """The test cutoff's labels would not be complete; the message says which cutoff would do."""
    moments = moments_of(test=850, latest=700)
    with pytest.raises(ConfigError) as caught:
        divided(moments, 60, WORLD_END, maturity_days=10)
    assert "the label window of cutoffs.test 2011-05-01 ends 2011-07-10" in str(caught.value)
    assert "set cutoffs.test to end-70d or earlier" in str(caught.value)
    divided(moments, 30, WORLD_END, maturity_days=10)  # the remedy of a shorter window works


def test_both_problems_are_listed_at_once() -> None:
    """A window past the end and one into the test block are told together."""
    with pytest.raises(ConfigError) as caught:
        divided(moments_of(test=880, latest=860, every=10), 90, WORLD_END)
    assert str(caught.value).count("the label window of") == 2


def buying(days: range, customers: range = range(1, 6)) -> list[dict[str, Any]]:
    """Customers who order on each of ``days`` since the world began."""
    return [
        line(
            customer, WORLD_BEGAN + (day * 24 + customer) * timedelta(hours=1), f"{customer}-{day}"
        )
        for day in days
        for customer in customers
    ]


def test_one_class_only_is_refused() -> None:
    """Where everybody buys again nothing can be learned: block, rows and remedy are named."""
    table = world(buying(range(0, 900, 20)))
    with pytest.raises(DataError) as caught:
        divided(moments_of(test=600, latest=500), 90, WORLD_END, table)
    message = str(caught.value)
    assert "test: 5 rows, all with label 0; change the horizon or who is asked" in message
    assert "validation 2010-05-16: 5 rows, all with label 0" in message
    assert "rows that teach by 2010-05-16: 10 rows, all with label 0" in message


def test_an_empty_block_is_refused() -> None:
    """Where nobody is active nobody is asked; the message names every empty block and a remedy."""
    early, late = range(1, 5), range(5, 9)
    table = world([
        *buying(range(0, 200, 20), early),
        *buying(range(0, 320, 20), late),
        line(9, WORLD_BEGAN + 890 * DAY, "last"),
    ])  # fmt: skip
    with pytest.raises(DataError) as caught:
        divided(moments_of(test=800, latest=300, every=40), 60, WORLD_END, table)
    assert "test: no rows; use fewer folds or more cutoffs" in str(caught.value)


def test_features_that_lack_a_customer_are_refused() -> None:
    """An asked customer without a feature row is an error, never a row of missing values."""
    table = random_world(seed=3, customers=60)
    moments = moments_of(test=600, latest=500)
    features = computed([resolve(SETS, Part(use="rfm.Rfm"))], table, moments.all).to_pandas()
    stored: Any = FakeStored(table, WORLD_END)
    some = features[features["customer_id"] != features["customer_id"].iloc[0]]
    with pytest.raises(DataError, match="asked customers have no feature row; build the features"):
        split(stored, some, Churn(ChurnConfig()), moments)

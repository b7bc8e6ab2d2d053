"""Snapshots without a clock: nobody is answered by a model that saw him, and none is left out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import columns as c
from features.cutoffs import Moments, Snapshots
from features.errors import ConfigError, DataError
from features.settings import Part, validated
from features.snapshot import FeaturePlan
from tests.training.samples import BEGAN, DAY, customers
from tests.training.test_questions import question, table
from tests.worlds import BEGAN as EPOCH
from tests.worlds import line, tables, world
from training.calibrate import CalibrateConfig
from training.contract import matrix
from training.crossed import Crossed, cross, parts
from training.rows import Rows
from training.splits import Block, Round
from training.supervised.learn import Learned, Reported, learn
from training.tune import fitted

PART = Part(use="logistic.Logistic")


def rows_of(n: int, times: int = 1, seed: int = 0) -> Rows:
    """``n`` customers at each of ``times`` snapshots."""
    samples = [customers(n, seed + k) for k in range(times)]
    cutoffs = np.array([BEGAN + 30 * k * DAY for k in range(times)], dtype="datetime64[us]")
    return Rows(
        pd.concat([X for X, _, _ in samples], ignore_index=True),
        np.concatenate([y for _, y, _ in samples]),
        np.tile(np.random.default_rng(seed).permutation(n * 7)[:n], times),
        np.repeat(cutoffs, n),
    )


def crossed(
    n: int = 90, folds: int = 3, repeats: int = 2, inner: int = 2, times: int = 1, seed: int = 5
) -> Crossed:
    """A small division."""
    config = Snapshots(snapshots=("2024-01-01",), folds=folds, repeats=repeats, inner=inner)
    return Crossed(rows_of(n, times), config, seed)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(30, 120), folds=st.integers(2, 6), repeats=st.integers(1, 3),
    inner=st.integers(2, 4), times=st.integers(1, 3), seed=st.integers(0, 2**31),
)  # fmt: skip
def test_nobody_teaches_his_own_answer(
    n: int, folds: int, repeats: int, inner: int, times: int, seed: int
) -> None:
    """In every block of every round, those answered and those who teach are different people."""
    splits = crossed(n, folds, repeats, inner, times, seed)
    who = splits.rows.customers
    answered = np.zeros(len(splits.rows), int)
    for within in splits.judged:
        assert not set(who[within.last.held]) & set(who[within.last.teaching])
        assert (within.last.held | within.last.teaching).all()
        answered += within.last.held
        chosen = np.zeros(len(splits.rows), int)
        for block in within.folds:  # choices are made without a look at those to be answered
            assert not set(who[block.held]) & set(who[block.teaching])
            assert not set(who[block.held | block.teaching]) & set(who[within.last.held])
            chosen += block.held
        assert np.array_equal(chosen, within.last.teaching.astype(int))
    assert (answered == repeats).all()
    assert splits.shipped.last.teaching.all()
    assert not splits.shipped.last.held.any()
    assert sum(block.held for block in splits.shipped.folds).tolist() == [1] * len(splits.rows)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(20, 200), count=st.integers(2, 6), seed=st.integers(0, 2**31))
def test_parts_are_stratified_and_heed_no_key(n: int, count: int, seed: int) -> None:
    """Parts have equal numbers of each label, up to one, whatever customers are numbered."""
    rows = rows_of(n)
    found = parts(rows, count, seed)
    for label in (0.0, 1.0):
        sizes = np.bincount(found[rows.y == label], minlength=count)
        assert np.ptp(sizes) <= 1, sizes
    key = np.random.default_rng(seed).permutation(rows.customers.max() + 1)
    assert np.array_equal(parts(replace(rows, customers=key[rows.customers]), count, seed), found)


def test_repeats_divide_otherwise() -> None:
    """Two repeats and two seeds give different parts."""
    rows = rows_of(200)
    assert not np.array_equal(parts(rows, 5, 1), parts(rows, 5, 2))


def reported(splits: Crossed, part: Part = PART) -> Reported:
    """Calibrated answers out of fold."""

    def learned(within: Round) -> dict[str, Learned]:
        config = CalibrateConfig(kinds=("platt",))
        return {"candidate": learn(within, "event", part, config, 3, lambda: None)}

    return Reported.of(splits, learned(splits.shipped), learned)


def test_labels_of_a_fold_do_not_touch_its_answers() -> None:
    """Turned round, the labels of one outer fold leave the answers to it as they are."""
    splits = crossed(folds=3, repeats=1)
    first = splits.judged[0].last
    # Both labels of a pair change places, so that the strata, and with them the parts, stay.
    y = splits.rows.y.copy()
    ones, zeros = (np.flatnonzero(first.held & (y == label)) for label in (1.0, 0.0))
    swapped = min(len(ones), len(zeros))
    y[ones[:swapped]], y[zeros[:swapped]] = 0.0, 1.0

    def answers(labels: Any) -> Any:
        rows = Rows(splits.rows.X, labels, splits.rows.customers, splits.rows.cutoffs)
        blocks = [
            Block(b.name, rows, b.held, b.teaching)
            for b in (*splits.judged[0].folds, splits.judged[0].last)
        ]
        within = Round(tuple(blocks[:-1]), blocks[-1])
        learned = learn(within, "event", PART, CalibrateConfig(), 3, lambda: None)
        return learned.predict(within.last.answered.X), learned.threshold

    before, after = answers(splits.rows.y), answers(y)
    assert np.array_equal(before[0], after[0])
    assert before[1] == after[1]


def test_answers_out_of_fold_are_those_of_a_model_of_the_others() -> None:
    """Row by row: fitted by hand on the other folds, the order of customers is the same."""
    splits = crossed(n=120, folds=3, repeats=2)
    found = reported(splits)
    assert len(found.rows) == 2 * 120
    for within in splits.judged:
        here = found.blocks == within.last.name
        rows = within.last.answered
        assert np.array_equal(found.rows.customers[here], rows.customers)
        assert np.array_equal(found.rows.y[here], rows.y)
        model = fitted(PART, within.last, 3)
        scores = model.score(matrix(rows.X, model.columns))
        order = np.argsort(scores, kind="stable")
        assert (np.diff(found.given["candidate"][here][order]) >= 0).all()
        assert len(np.unique(found.thresholds["candidate"][here])) == 1


def test_reported_answers_survive_the_disk(tmp_path: Any) -> None:
    """What is judged is read as it was written."""
    found = reported(crossed(n=60, repeats=1))
    found.write(tmp_path)
    again = Reported.read(tmp_path, ["candidate"])
    pd.testing.assert_frame_equal(again.rows.X, found.rows.X)
    for a, b in (
        (again.rows.y, found.rows.y), (again.rows.customers, found.rows.customers),
        (again.rows.cutoffs, found.rows.cutoffs), (again.blocks, found.blocks),
        (again.given["candidate"], found.given["candidate"]),
        (again.thresholds["candidate"], found.thresholds["candidate"]),
    ):  # fmt: skip
        assert np.array_equal(a, b)


def test_chance_stays_chance() -> None:
    """Labels without a signal are answered no better than by their rate: nothing leaks."""
    splits = crossed(n=400, folds=4, repeats=1)
    y = np.random.default_rng(1).permutation(splits.rows.y)
    rows = Rows(splits.rows.X, y, splits.rows.customers, splits.rows.cutoffs)
    found = reported(Crossed(rows, splits.config, splits.seed))
    p = found.given["candidate"]
    y, rate = found.rows.y, found.rows.y.mean()
    loss = -np.mean(y * np.log(p) + (1 - y) * np.log1p(-p))
    constant = -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate))
    assert loss > constant - 0.01


# --- on tables ----------------------------------------------------------------------------------

T = EPOCH + 100 * DAY


class Snapshot:
    """Stored tables with a declared attribute and an outcome of each of ``n`` customers."""

    def __init__(self, n: int = 60, day: int = 110) -> None:
        rng = np.random.default_rng(0)
        values = (rng.random(n) < 0.4).astype(float)
        self.end = EPOCH + 120 * DAY
        self.world = {
            "order_lines": world([line(k, EPOCH + 5 * DAY, f"{k}-a") for k in range(1, n + 1)]),
            "outcomes": table("outcomes", *(
                {c.CUSTOMER: k, "day": day, "name": "left", "value": values[k - 1]}
                for k in range(1, n + 1)
            )),
        }  # fmt: skip
        self.features = pd.DataFrame({
            c.CUSTOMER: np.arange(1, n + 1), c.CUTOFF: np.datetime64(T, "us"),
            "attributes__age": rng.random(n),
        })  # fmt: skip

    def open(self, sample: float = 1.0) -> Any:
        """Connect to the tables."""
        return tables(self.world).sampled(sample)


def asked(horizon: int = 15) -> Any:
    """Who leaves."""
    return question("outcome.Outcome", outcome="left", horizon_days=horizon)


def crossing(stored: Any, task: Any) -> Any:
    """The division of a snapshot at ``T``."""
    config = Snapshots(snapshots=(f"{T:%Y-%m-%d}",), folds=3, inner=2)
    return cross(stored, stored.features, task, config, Moments((T,), T), (), 1.0, 7)


def test_a_snapshot_is_labelled_and_divided() -> None:
    """Every customer has a row with the label of the outcome after the snapshot."""
    stored = Snapshot()
    splits = crossing(stored, asked())
    assert len(splits.rows) == 60
    labels = stored.world["outcomes"].to_pandas().set_index(c.CUSTOMER)["value"]
    assert splits.rows.y.tolist() == labels[splits.rows.customers].tolist()
    told = splits.table()
    assert told.loc[told["role"] == "judge", "rows"].tolist() == [20, 20, 20]


def test_windows_beyond_the_data_or_beside_the_outcomes_are_refused() -> None:
    """The message says which horizon would do, and how many customers have no label."""
    with pytest.raises(ConfigError, match=r"ends 2009-06-01.*horizon_days to 21 or less"):
        crossing(Snapshot(), asked(51))
    with pytest.raises(DataError, match="60 customers are asked.*none has a label within 5 days"):
        crossing(Snapshot(), asked(5))


def test_too_few_of_a_class_are_refused() -> None:
    """With three parts, and two of each rest, rare labels cannot teach: each block is named."""
    stored = Snapshot(40)
    values = np.zeros(40)
    values[:2] = 1.0
    column = stored.world["outcomes"].column_names.index("value")
    stored.world["outcomes"] = stored.world["outcomes"].set_column(
        column, "value", pa.array(values)
    )
    with pytest.raises(DataError, match="cannot be learned from these data") as caught:
        crossing(stored, asked())
    assert "all with label 0" in str(caught.value)


def test_a_snapshot_lies_within_the_data() -> None:
    """Before the first row or after the last there is nothing to ask or to know."""
    config = Snapshots(snapshots=("2024-01-01", "2024-06-01"))
    with pytest.raises(ConfigError, match="2024-06-01: the data span"):
        config.resolved(BEGAN - DAY, BEGAN + timedelta(days=30))


def test_a_plan_says_snapshots_or_a_clock() -> None:
    """The keys decide which it is; unknown ones are refused by name."""
    plan = {"data": "telco_churn", "features": [{"use": "rfm.Rfm"}]}
    given = validated(FeaturePlan, {**plan, "cutoffs": {"snapshots": ["2019-06-02"]}}, "x")
    assert isinstance(given.cutoffs, Snapshots)
    clock = {"test": "end-90d", "latest": "end-180d"}
    assert not isinstance(
        validated(FeaturePlan, {**plan, "cutoffs": clock}, "x").cutoffs, Snapshots
    )
    with pytest.raises(ConfigError, match="fold_steps: unknown key"):
        validated(
            FeaturePlan, {**plan, "cutoffs": {"snapshots": ["2019-06-02"], "fold_steps": 1}}, "x"
        )
